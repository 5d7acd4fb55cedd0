package verify_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/aggregator/verify"
	"github.com/wattledger/wattledger/aggregator/verify/fleettest"
	"github.com/wattledger/wattledger/schemas/record"
)

func recomputed(f *fleettest.Fleet) ([]record.Entry, error) {
	var lines []record.Entry
	for _, n := range f.Nodes {
		of, err := verify.RecomputeNode(n, f.Period(), true)
		if err != nil {
			return nil, err
		}
		lines = append(lines, of...)
	}
	return lines, verify.AddFacility(f.Site, f.Grid, lines)
}

// What closing books hour by hour from the readings around edges is what the design's statements give from all samples.
func TestTheLedgerIsItsRecomputation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		agree(t, fleettest.New(rapid.Uint64().Draw(t, "seed"), fleettest.Short))
	})
}

// The same where the collector was away for longer than closing looks ahead, so that hours closed on open cuts.
func TestTheLedgerIsItsRecomputationOverLongSilences(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		agree(t, fleettest.New(rapid.Uint64().Draw(t, "seed"), fleettest.CollectorAway))
	})
}

func agree(t rapid.TB, f *fleettest.Fleet) {
	t.Helper()
	entries, _, err := booked(f)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := recomputed(f)
	if err != nil {
		t.Fatal(err)
	}
	if c := verify.Compare(entries, lines); c.Entries != 0 {
		t.Fatalf("%d of %d entries differ, by %d mJ, %d device time, %d µg: %v", c.Entries, len(entries), c.RuleError, c.Time, c.Carbon, c.First)
	}
}
