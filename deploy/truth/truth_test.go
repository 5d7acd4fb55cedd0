package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// A few fleets of each kind keep every limit, and the last line says so.
func TestTruth(t *testing.T) {
	var out, progress bytes.Buffer
	if code := run([]string{"-fleets", "6", "-seed", "1"}, &out, &progress); code != 0 {
		t.Fatalf("exit code %d: %s%s", code, out.String(), progress.String())
	}
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]float64{"fleets": 6, "rule_error_mj": 0, "residual_mj": 0, "outside_stated_bound": 0} {
		if line[key] != want {
			t.Errorf("%s is %v, want %v", key, line[key], want)
		}
	}
	if ppm, ok := line["max_tenant_error_ppm"].(float64); !ok || ppm > limitPPM {
		t.Errorf("max_tenant_error_ppm is %v", line["max_tenant_error_ppm"])
	}
}

func TestWrongUse(t *testing.T) {
	for _, args := range [][]string{{"-fleets", "0"}, {"-fleet", "1"}, {"more"}, {"-workers", "0"}} {
		var out, help bytes.Buffer
		if code := run(args, &out, &help); code != 2 || out.Len() != 0 || help.Len() == 0 {
			t.Errorf("%v: exit code %d, %q", args, code, out.String())
		}
	}
}

// Every limit that is broken is a fault in words.
func TestFaults(t *testing.T) {
	f := func(words string, edit func(*Result)) {
		t.Helper()
		r := Result{seed: 7, lossless: true}
		edit(&r)
		if got := strings.Join(r.faults(), "\n"); !strings.Contains(got, "seed 7") || !strings.Contains(got, words) {
			t.Errorf("%q, want %q", got, words)
		}
	}
	f("lines are not their recomputation", func(r *Result) { r.rules.Entries, r.rules.First = 1, []string{"x"} })
	f("device-hours are not", func(r *Result) { r.quality.Quality, r.quality.First = 1, []string{"x"} })
	f("sums are off", func(r *Result) { r.residual = 1 })
	f("sums are off", func(r *Result) { r.time = 1 })
	f("cuts are not", func(r *Result) { r.cuts.Cuts = 1 })
	f("stated bounds", func(r *Result) { r.truth.Outside = 1 })
	f("ppm from the truth", func(r *Result) { r.truth.MaxTenantPPM = limitPPM + 0.1 })
	if r := (Result{lossless: true}); len(r.faults()) != 0 {
		t.Error("a right fleet has faults")
	}
	r := Result{} // with losses there is no limit but the stated bounds
	r.truth.MaxTenantPPM = 1000
	if len(r.faults()) != 0 {
		t.Error("losses are held against a fleet that has them")
	}
}
