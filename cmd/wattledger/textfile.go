package main

import (
	"bytes"
	"fmt"
	"strconv"
	"time"

	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/internal/reference"
)

// What a check of the ledger leaves for Prometheus. It runs from a timer and ends, so that nobody can scrape it; node_exporter's
// textfile collector shows the file.
var verifyMetrics = []reference.Metric{
	{Name: "wattledger_ledger_verify_duration_seconds", Help: "How long the last check of the ledger took."},
	{Name: "wattledger_ledger_verify_timestamp_seconds", Help: "When the last check of the ledger ended, whatever it found; seconds since 1970."},
	{Name: "wattledger_ledger_verify_wrong", Help: "Things that the last check of the ledger found wrong."},
}

// writeVerified replaces the file in one step: who reads it never sees a part.
func writeVerified(name string, wrong int, took float64, now time.Time) error {
	var page bytes.Buffer
	for i, v := range []float64{took, float64(now.Unix()), float64(wrong)} {
		m := verifyMetrics[i]
		fmt.Fprintf(&page, "# HELP %s %s\n# TYPE %s gauge\n%s %s\n", m.Name, m.Help, m.Name, m.Name, strconv.FormatFloat(v, 'f', -1, 64))
	}
	return process.WriteFile(name, page.Bytes(), 0o644)
}
