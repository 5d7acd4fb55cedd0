package main

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/wattledger/wattledger/internal/process"
)

// execute runs a command line as main would.
func execute(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var grammar commands
	var stdout, stderr bytes.Buffer
	code = program.Execute(t.Context(), args, nil, &stdout, &stderr, &grammar, &grammar.Flags)
	return code, stdout.String(), stderr.String()
}

// leaves are the commands that do something, by their path.
func leaves(t *testing.T) [][]string {
	t.Helper()
	parser, err := kong.New(&commands{}, kong.Name("wattledger"))
	if err != nil {
		t.Fatal(err)
	}
	var out [][]string
	for _, leaf := range parser.Model.Leaves(true) {
		var path []string
		for n := leaf; n.Type != kong.ApplicationNode; n = n.Parent {
			path = append([]string{n.Name}, path...)
		}
		out = append(out, path)
	}
	return out
}

func TestEveryCommandHelpsWithExamples(t *testing.T) {
	all := leaves(t)
	for _, path := range all {
		name := strings.Join(path, " ")
		code, out, _ := execute(t, append(path, "--help")...)
		if code != process.ExitDone {
			t.Errorf("%s --help ends with %d", name, code)
		}
		if _, examples, ok := strings.Cut(out, "Example"); !ok || !strings.Contains(examples, "wattledger "+name) {
			t.Errorf("%s --help has no example of it:\n%s", name, out)
		}
		if !strings.Contains(out, "--json") {
			t.Errorf("%s has no --json", name)
		}
	}
	if len(all) < 11 {
		t.Errorf("only %d commands: %v", len(all), all)
	}
}

// The examples of the help can be typed: each is parsed by the grammar, up to the files that are not here.
func TestExamplesParse(t *testing.T) {
	for _, path := range leaves(t) {
		_, help, _ := execute(t, append(path, "--help")...)
		_, examples, _ := strings.Cut(help, "Example")
		for line := range strings.Lines(examples) {
			command, ok := strings.CutPrefix(strings.TrimSpace(line), "wattledger ")
			if !ok || strings.Contains(command, "`") {
				continue
			}
			command, _, _ = strings.Cut(command, " > ")
			args := strings.Fields(strings.ReplaceAll(command, `"NVIDIA A100"`, "NVIDIA_A100"))
			parser, err := kong.New(&commands{}, kong.Name("wattledger"), kong.Vars{"version": ""})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := parser.Parse(args); err != nil && !strings.Contains(err.Error(), "no such file") {
				t.Errorf("%s: %v", command, err)
			}
		}
	}
}

func TestExitCodesAndLastLine(t *testing.T) {
	f := func(want int, key string, args ...string) {
		t.Helper()
		code, out, errs := execute(t, append(args, "--json")...)
		if code != want {
			t.Errorf("%v: exit code %d, want %d: %s", args, code, want, errs)
		}
		lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
		var object map[string]any
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &object); err != nil {
			t.Errorf("%v: the last line is %q: %v", args, lines[len(lines)-1], err)
		}
		if _, ok := object[key]; !ok {
			t.Errorf("%v: the last line %v has no %s", args, object, key)
		}
	}
	empty := t.TempDir()
	f(process.ExitDone, "version", "version")
	f(process.ExitDone, "checked", "embedded", "kafka", "--check", "--data", empty)
	f(process.ExitUsage, "error", "no-such-command")
	f(process.ExitUsage, "error", "demo", "--hours", "0")
	f(process.ExitUsage, "error", "demo", "--trace", "openb")
	f(process.ExitUsage, "error", "demo", "--start", "2026-01-01T00:30:00Z")
	f(process.ExitUsage, "error", "report", "nonsense")
	f(process.ExitUsage, "error", "report", "diff", "--tenant", "a")
	f(process.ExitUsage, "error", "report", "diff", "--against", "s=1")
	f(process.ExitUsage, "error", "report", "usage", "--against", "s=1")
	f(process.ExitUsage, "error", "status", "--set", "no.such=key")
	f(process.ExitUsage, "error", "replay", "nvidia-smi", "main_test.go", "--tenant", "t", "--timezone", "Nowhere/Land")
	f(process.ExitUsage, "error", "replay", "nvidia-smi", "main_test.go", "--tenant", "t", "--zone", "XX")
	f(process.ExitUsage, "error", "import", "allocations", filepath.Join(empty, "absent.csv"), "--site", "s")
	f(process.ExitUsage, "error", "retire", "node")
	f(process.ExitUsage, "error", "retire", "node", "n", "--drain", "--at", "2026-01-01T00:00:00Z")
	f(process.ExitUsage, "error", "return", "device", "d", "--at", "soon")
	f(process.ExitFailed, "error", "replay", "nvidia-smi", "main_test.go", "--tenant", "t") // no log of nvidia-smi
}

// A second run on one folder goes on with it or says why not; nothing of somebody else's is removed.
func TestClaim(t *testing.T) {
	data := t.TempDir()
	noon := time.Date(2026, 3, 1, 12, 34, 0, 0, time.UTC)
	day := demoCmd{Seed: 1, Hours: 24}
	f, err := day.fleet(noon, nil)
	if err != nil {
		t.Fatal(err)
	}
	folder, p, err := claim(data, true, f)
	if err != nil || folder != data || p.Complete {
		t.Fatalf("an empty folder: %s, %+v, %v", folder, p, err)
	}
	p.Complete, p.Sent = true, 7
	if err := p.save(data); err != nil {
		t.Fatal(err)
	}
	if _, again, err := claim(data, true, f); err != nil || again != p {
		t.Errorf("the same day again: %+v, %v; want %+v", again, err, p)
	}
	day.Seed = 2
	if f, err = day.fleet(noon, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := claim(data, true, f); err == nil || !strings.Contains(err.Error(), "--data") {
		t.Errorf("another day in the same folder: %v", err)
	}
}

// The schema is printed for one server or for a cluster, and nothing is reached for it.
func TestSchemaIsPrinted(t *testing.T) {
	f := func(want, unwanted string, args ...string) {
		t.Helper()
		code, out, errs := execute(t, append([]string{"schema"}, args...)...)
		if code != process.ExitDone || !strings.Contains(out, want) || strings.Contains(out, unwanted) {
			t.Errorf("schema %v ends with %d, want %q and no %q:\n%s%.500s", args, code, want, unwanted, errs, out)
		}
	}
	f("CREATE TABLE samples\n", "CLUSTER")
	f("CREATE TABLE samples_local ON CLUSTER 'main'\n", "ENGINE = MergeTree", "--cluster", "main")
	f(`{"cluster":"main","migrations":[{"name":"00001_samples.sql"`, "ENGINE = MergeTree", "--cluster", "main", "--json")
}
