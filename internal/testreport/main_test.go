package main

import (
	"strings"
	"testing"
)

func TestSummarise(t *testing.T) {
	f := func(wantOK bool, wants []string, events ...string) {
		t.Helper()
		var out strings.Builder
		ok, err := summarise(strings.NewReader(strings.Join(events, "\n")), &out)
		if ok != wantOK {
			t.Errorf("ok = %v (%v), want %v, for\n%s", ok, err, wantOK, out.String())
		}
		for _, want := range wants {
			if !strings.Contains(out.String(), want) {
				t.Errorf("report lacks %q:\n%s", want, out.String())
			}
		}
	}
	const (
		pass    = `{"Action":"pass","Package":"p","Test":"TestA"}`
		passPkg = `{"Action":"pass","Package":"p","Elapsed":1.5}`
		failPkg = `{"Action":"fail","Package":"p","Elapsed":1.5}`
	)
	f(true, []string{"pass    1.5s  p", "1 tests passed, 0 failed, 0 skipped, in 1 packages (1 more hold no tests)"},
		pass, passPkg, `{"Action":"skip","Package":"empty"}`)
	f(false, []string{"a.go:3: 1 is not 2", "FAILED  p TestB", "1 tests passed, 1 failed"},
		pass, `{"Action":"output","Package":"p","Test":"TestB","Output":"a.go:3: 1 is not 2\n"}`,
		`{"Action":"fail","Package":"p","Test":"TestB"}`, failPkg)
	f(true, []string{"skipped p TestC: a_test.go:9: no traces beside the repository", "1 skipped"},
		pass, `{"Action":"output","Package":"p","Test":"TestC","Output":"=== RUN TestC\n"}`,
		`{"Action":"output","Package":"p","Test":"TestC","Output":"    a_test.go:9: no traces beside the repository\n"}`,
		`{"Action":"skip","Package":"p","Test":"TestC"}`, passPkg)
	f(false, []string{"undefined: x", "FAILED  p"}, // does not compile
		`{"ImportPath":"p [p.test]","Action":"build-output","Output":"a.go:1: undefined: x\n"}`,
		`{"Action":"fail","Package":"p","FailedBuild":"p [p.test]"}`)
	f(false, []string{"panic: oh", "p TestD did not end"}, // dies in the middle
		`{"Action":"output","Package":"p","Test":"TestD","Output":"panic: oh\n"}`, failPkg)
	f(false, []string{"go: no such package", "0 tests passed"}, "go: no such package")
}
