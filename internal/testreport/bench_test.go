package main

import (
	"strings"
	"testing"
)

func TestBenchmarks(t *testing.T) {
	f := func(in string, wantOK bool, wantLast string) {
		t.Helper()
		var out strings.Builder
		ok, err := benchmarks(strings.NewReader(in), &out)
		if ok != wantOK || err != nil {
			t.Errorf("ok = %v, %v, want %v", ok, err, wantOK)
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if last := lines[len(lines)-1]; last != wantLast {
			t.Errorf("last line is\n%s\nwant\n%s", last, wantLast)
		}
	}
	f("pkg: github.com/wattledger/wattledger/schemas/wire\ncpu: Grace\nBenchmarkDecode-2 \t 100\t 12.5 ns/op\t 7 rows/op\nPASS\n", true,
		`{"benchmarks":[{"package":"schemas/wire","name":"Decode-2","runs":100,"figures":{"ns/op":12.5,"rows/op":7}}],"cpu":"Grace","ok":true}`)
	f("BenchmarkLog says 3 things\n--- FAIL: BenchmarkX\nFAIL\n", false, `{"benchmarks":[],"cpu":"","ok":false}`)
	f("", true, `{"benchmarks":[],"cpu":"","ok":true}`)
}
