package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// benchmark is one line of figures, by the units that go test names: ns/op, B/op, and those a benchmark reports itself.
type benchmark struct {
	Package string             `json:"package"`
	Name    string             `json:"name"`
	Runs    int                `json:"runs"`
	Figures map[string]float64 `json:"figures"`
}

// benchmarks passes the text of `go test -bench` through and ends it with one JSON object.
func benchmarks(in io.Reader, w io.Writer) (ok bool, err error) {
	var pkg, cpu string
	ok = true
	all := []benchmark{}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		line := lines.Text()
		switch fields := strings.Fields(line); {
		case len(fields) == 0:
		case fields[0] == "pkg:":
			pkg = strings.TrimSpace(strings.TrimPrefix(line, "pkg:"))
		case fields[0] == "cpu:":
			cpu = strings.TrimSpace(strings.TrimPrefix(line, "cpu:"))
		case fields[0] == "FAIL" || fields[0] == "---" && fields[1] == "FAIL:":
			ok = false
		case strings.HasPrefix(fields[0], "Benchmark") && len(fields) >= 4:
			if b, isFigures := parseBenchmark(fields); isFigures {
				b.Package = short(pkg)
				all = append(all, b)
			}
		case len(fields) >= 4 && strings.Contains(line, "[no test files]"):
			continue
		}
		fmt.Fprintln(w, line)
	}
	if err := lines.Err(); err != nil {
		return false, fmt.Errorf("read the benchmarks: %w", err)
	}
	return ok, json.NewEncoder(w).Encode(map[string]any{"cpu": cpu, "ok": ok, "benchmarks": all})
}

// parseBenchmark reads a name, a count of runs, and pairs of figure and unit.
func parseBenchmark(fields []string) (b benchmark, ok bool) {
	runs, err := strconv.Atoi(fields[1])
	if err != nil || len(fields)%2 != 0 {
		return b, false
	}
	b = benchmark{Name: strings.TrimPrefix(fields[0], "Benchmark"), Runs: runs, Figures: map[string]float64{}}
	for i := 2; i < len(fields); i += 2 {
		figure, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return b, false
		}
		b.Figures[fields[i+1]] = figure
	}
	return b, true
}
