package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// The file is what Prometheus' own parser reads, and holds what was found.
func TestVerifyTextfile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "wattledger.prom")
	if err := writeVerified(name, 3, 12.5, time.Unix(1_790_000_000, 0)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	p := expfmt.NewTextParser(model.LegacyValidation)
	found, err := p.TextToMetricFamilies(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{
		"wattledger_ledger_verify_wrong": 3, "wattledger_ledger_verify_timestamp_seconds": 1_790_000_000, "wattledger_ledger_verify_duration_seconds": 12.5,
	} {
		if f := found[name]; f == nil || f.GetMetric()[0].GetGauge().GetValue() != want {
			t.Errorf("%s is %v, want %v, in\n%s", name, f, want, text)
		}
	}
	if err := (&ledgerVerifyCmd{Textfile: "wattledger.txt"}).Validate(); err == nil || !strings.Contains(err.Error(), ".prom") {
		t.Errorf("a file that node_exporter does not read: %v", err)
	}
}
