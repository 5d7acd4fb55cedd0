package verify_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/aggregator/closing"
	"github.com/wattledger/wattledger/aggregator/verify"
	"github.com/wattledger/wattledger/aggregator/verify/fleettest"
	"github.com/wattledger/wattledger/aggregator/verify/fleettest/books"
	"github.com/wattledger/wattledger/schemas/record"
)

func recomputed(f *fleettest.Fleet, settled bool) ([]record.Entry, []record.DeviceHour, error) {
	p := f.Period()
	p.Settled = settled
	return verify.Recompute(f.Site, f.Nodes, p, true)
}

// What closing books hour by hour from the readings around edges is what the design's statements give from all samples.
func TestTheLedgerIsItsRecomputation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		once(t, fleettest.New(rapid.Uint64().Draw(t, "seed"), fleettest.Short))
	})
}

// The same where the collector was away for longer than closing looks ahead, so that hours closed on open cuts.
func TestTheLedgerIsItsRecomputationOverLongSilences(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		once(t, fleettest.New(rapid.Uint64().Draw(t, "seed"), fleettest.CollectorAway))
	})
}

// The same with meters of nodes and of the site, and with factors that move from hour to hour.
func TestTheLedgerOfMetersIsItsRecomputation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		once(t, fleettest.NewWith(rapid.Uint64().Draw(t, "seed"), fleettest.Options{Meters: true, Factors: true}))
	})
}

// The same with instances that are still stated when others have taken their slices: some are left out.
func TestTheLedgerOfCrowdedGPUsIsItsRecomputation(t *testing.T) {
	crowded := false
	rapid.Check(t, func(t *rapid.T) {
		f := fleettest.NewWith(rapid.Uint64().Draw(t, "seed"), fleettest.Options{Crowded: true, Meters: true})
		b, err := books.Once(f)
		if err != nil {
			t.Fatal(err)
		}
		agree(t, f, b, false)
		crowded = crowded || slices.ContainsFunc(b.Findings, func(f closing.Finding) bool { return f.Kind == closing.FindingLayout })
	})
	if !crowded {
		t.Error("no GPU had more instances than it has room for")
	}
}

// What came late is booked as adjustments, after which the ledger is what it would be had all been known in time.
func TestTheAdjustedLedgerIsItsRecomputation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := fleettest.NewWith(rapid.Uint64().Draw(t, "seed"), fleettest.Options{Meters: true, Factors: true, Late: true})
		b, err := books.Settled(f)
		if err != nil {
			t.Fatal(err)
		}
		agree(t, f, b, true)
	})
}

func once(t rapid.TB, f *fleettest.Fleet) {
	t.Helper()
	b, err := books.Once(f)
	if err != nil {
		t.Fatal(err)
	}
	agree(t, f, b, false)
}

func agree(t rapid.TB, f *fleettest.Fleet, b *books.Book, settled bool) {
	t.Helper()
	lines, quality, err := recomputed(f, settled)
	if err != nil {
		t.Fatal(err)
	}
	if c := verify.Compare(b.Entries, lines); c.Entries != 0 {
		t.Fatalf("%d of %d entries differ, by %d mJ, %d device time, %d µg, %d µl: %v", c.Entries, len(b.Entries), c.RuleError, c.Time, c.Carbon, c.Water, c.First)
	}
	if c := verify.CompareQuality(b.DeviceHours, quality); c.Quality != 0 {
		t.Fatalf("%d device-hours differ: %v", c.Quality, c.First)
	}
}
