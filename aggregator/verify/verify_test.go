package verify_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/aggregator/verify"
	"github.com/wattledger/wattledger/schemas/record"
)

func (f *fleet) recomputed() ([]record.Entry, error) {
	var lines []record.Entry
	for _, n := range f.nodes {
		of, err := verify.RecomputeNode(n, f.period(), true)
		if err != nil {
			return nil, err
		}
		lines = append(lines, of...)
	}
	return lines, verify.AddFacility(f.site, f.grid, lines)
}

// What closing books hour by hour from the readings around edges is what the design's statements give from all samples.
func TestTheLedgerIsItsRecomputation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		agree(t, newFleet(rapid.Uint64().Draw(t, "seed"), false))
	})
}

// The same with devices that are silent for longer than closing looks ahead.
func TestTheLedgerIsItsRecomputationOverLongSilences(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		agree(t, newFleet(rapid.Uint64().Draw(t, "seed"), true))
	})
}

func agree(t rapid.TB, f *fleet) {
	t.Helper()
	entries, _, err := f.booked()
	if err != nil {
		t.Fatal(err)
	}
	lines, err := f.recomputed()
	if err != nil {
		t.Fatal(err)
	}
	if c := verify.Compare(entries, lines); c.Entries != 0 {
		t.Fatalf("%d of %d entries differ, by %d mJ, %d device time, %d µg: %v", c.Entries, len(entries), c.RuleError, c.Time, c.Carbon, c.First)
	}
}
