// Command testreport reads what `go test -json` writes and prints what a person wants to know: a line per package as it
// ends, the whole output of whatever failed, every skipped test with its reason, and the totals.
//
// With -bench it reads the text of `go test -bench` instead, passes it through and ends it with one JSON object.
//
// It promises that a failure is never left out, nor a skip passed off as a success. It exits with 1 when something
// failed, or when the input held no test at all. Running the tests is left to go test.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

func main() {
	read := summarise
	if slices.Contains(os.Args[1:], "-bench") {
		read = benchmarks
	}
	ok, err := read(os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
	}
	if !ok || err != nil {
		os.Exit(1)
	}
}

// event is one line of `go test -json`, as `go doc test2json` describes it.
type event struct {
	Action      string
	Package     string
	ImportPath  string // of build events
	Test        string
	Elapsed     float64
	Output      string
	FailedBuild string
}

type key struct{ pkg, test string }

// report is the state of one reading.
type report struct {
	w                       io.Writer
	output                  map[key][]string    // of what has not ended yet
	builds                  map[string][]string // compiler output by import path
	passed, failed, skipped int                 // tests
	packages, empty         int
	bad                     []string // packages and tests that failed, for the end
	skips                   []string
}

// summarise prints the report and says whether all is well.
func summarise(in io.Reader, w io.Writer) (ok bool, err error) {
	r := report{w: w, output: map[key][]string{}, builds: map[string][]string{}}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Fprintln(w, lines.Text()) // go test's own complaints are not JSON
			continue
		}
		r.add(e)
	}
	if err := lines.Err(); err != nil {
		return false, fmt.Errorf("read the test events: %w", err)
	}
	for _, s := range r.skips {
		fmt.Fprintln(w, "skipped", s)
	}
	for _, b := range r.bad {
		fmt.Fprintln(w, "FAILED ", b)
	}
	fmt.Fprintf(w, "%d tests passed, %d failed, %d skipped, in %d packages (%d more hold no tests)\n",
		r.passed, r.failed, r.skipped, r.packages, r.empty)
	if r.passed == 0 && len(r.bad) == 0 {
		return false, fmt.Errorf("no test ran: see the messages above")
	}
	return len(r.bad) == 0, nil
}

func (r *report) add(e event) {
	k := key{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		r.builds[e.ImportPath] = append(r.builds[e.ImportPath], e.Output)
	case "output":
		r.output[k] = append(r.output[k], e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			r.endPackage(k, e)
		} else {
			r.endTest(k, e)
		}
	}
}

func (r *report) endTest(k key, e event) {
	name := short(k.pkg) + " " + k.test
	switch e.Action {
	case "pass":
		r.passed++
	case "fail":
		r.failed++
		r.bad = append(r.bad, name)
		r.print(r.output[k])
	case "skip":
		r.skipped++
		r.skips = append(r.skips, name+": "+reason(r.output[k]))
	}
	delete(r.output, k)
}

func (r *report) endPackage(k key, e event) {
	switch e.Action {
	case "skip":
		r.empty++
		delete(r.output, k)
		return
	case "fail":
		r.bad = append(r.bad, short(k.pkg))
		r.print(r.builds[e.FailedBuild])
		r.print(r.output[k])
		for _, left := range r.unfinished(k.pkg) { // a test that never ended: a crash or a time-out
			r.bad = append(r.bad, short(left.pkg)+" "+left.test+" did not end")
			r.print(r.output[left])
			delete(r.output, left)
		}
	}
	r.packages++
	fmt.Fprintf(r.w, "%-4s %6.1fs  %s\n", e.Action, e.Elapsed, short(k.pkg))
	delete(r.output, k)
}

// unfinished returns the tests of a package that have begun and not ended, in the order of their names.
func (r *report) unfinished(pkg string) []key {
	var left []key
	for k := range r.output {
		if k.pkg == pkg && k.test != "" {
			left = append(left, k)
		}
	}
	slices.SortFunc(left, func(a, b key) int { return strings.Compare(a.test, b.test) })
	return left
}

func (r *report) print(output []string) {
	for _, s := range output {
		if !strings.HasPrefix(s, "=== ") {
			fmt.Fprint(r.w, s)
		}
	}
}

// reason picks the text of t.Skip out of a test's output.
func reason(output []string) string {
	for _, s := range output {
		s = strings.TrimSpace(s)
		if s != "" && !strings.HasPrefix(s, "=== ") && !strings.HasPrefix(s, "--- ") {
			return s
		}
	}
	return "no reason given"
}

// short drops the module's path, which every line would repeat.
func short(pkg string) string {
	const module = "github.com/wattledger/wattledger"
	if pkg == module {
		return "."
	}
	return strings.TrimPrefix(pkg, module+"/")
}
