package verify_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/aggregator/verify"
	"github.com/wattledger/wattledger/aggregator/verify/fleettest"
	"github.com/wattledger/wattledger/aggregator/verify/fleettest/books"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// audited is a fleet with its ledger and what is found against it.
type audited struct {
	fleet    *fleettest.Fleet
	entries  []record.Entry
	lines    []record.Entry
	metered  []verify.Metered
	devices  []record.Device
	samples  []verify.SampleID
	messages []verify.Message
}

func drawBooks(t *rapid.T) audited {
	b := audited{fleet: fleettest.New(rapid.Uint64().Draw(t, "seed"), fleettest.Short)}
	book, err := books.Once(b.fleet)
	if err != nil {
		t.Fatal(err)
	}
	b.entries = book.Entries
	if b.lines, _, err = recomputed(b.fleet, false); err != nil {
		t.Fatal(err)
	}
	for _, n := range b.fleet.Nodes {
		b.devices = append(b.devices, n.Devices...)
		rows := map[string]int64{}
		for _, d := range n.Devices {
			s := n.Series[d.UUID]
			of := map[verify.SampleID]bool{}
			for _, r := range s.Samples {
				// A message holds a minute of a node.
				id := verify.SampleID{Run: n.ID, Seq: uint64(r.Tick / (60 * unit.Second)), Device: d.UUID, Tick: r.Tick}
				if !of[id] {
					of[id] = true
					rows[fmt.Sprint(id.Seq)]++
					b.samples = append(b.samples, id)
				}
			}
		}
		for seq, count := range rows {
			var m verify.Message
			m.Run, m.Rows = n.ID, count
			if _, err := fmt.Sscan(seq, &m.Seq); err != nil {
				t.Fatal(err)
			}
			b.messages = append(b.messages, m, m) // delivered twice
		}
	}
	for _, l := range b.lines {
		b.metered = append(b.metered, verify.Metered{Energy: l.Measured})
	}
	return b
}

// clean says whether nothing is found against these entries.
func (b audited) clean(entries []record.Entry) bool {
	c := verify.Compare(entries, b.lines)
	energy := verify.BalanceEnergy(b.metered, entries)
	time := verify.BalanceTime(b.devices, b.fleet.Period(), entries)
	return c.Entries == 0 && c.RuleError == 0 && c.Time == 0 && c.Carbon == 0 && energy.Residual == 0 && time.Residual == 0
}

// A proof that cannot fail proves nothing: an entry dropped, doubled, moved or changed by one unit shows (design §10).
func TestAChangedEntryShows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := drawBooks(t)
		if !b.clean(b.entries) {
			t.Fatal("something is found against a right ledger")
		}
		i := rapid.IntRange(0, len(b.entries)-1).Draw(t, "entry")
		e := b.entries[i]
		if e.DeviceTime == 0 && e.Total() == 0 {
			return // it says nothing
		}
		f := func(what string, entries []record.Entry) {
			t.Helper()
			if b.clean(entries) {
				t.Fatalf("%s of entry %d goes unnoticed: %+v", what, i, e)
			}
		}
		change := func(edit func(*record.Entry)) []record.Entry {
			out := slices.Clone(b.entries)
			edit(&out[i])
			return out
		}
		f("a drop", slices.Delete(slices.Clone(b.entries), i, i+1))
		f("a double", append(slices.Clone(b.entries), e))
		f("a move to another hour", change(func(e *record.Entry) { e.Hour = "2026-01-01T00:00:00Z" }))
		f("a move to another device", change(func(e *record.Entry) { e.Device = "GPU-elsewhere" }))
		f("a move to another tenant", change(func(e *record.Entry) { e.Tenant = "tenant-elsewhere" }))
		f("one mJ of a component", change(func(e *record.Entry) { e.GPU++ }))
		f("one mJ from measured to estimated", change(func(e *record.Entry) { e.Measured--; e.Estimated++ }))
		f("one unit of time", change(func(e *record.Entry) { e.DeviceTime++ }))
		f("one microgram", change(func(e *record.Entry) { e.Carbon-- }))
	})
}

// The balances alone notice what changes sums, without the recomputation.
func TestBalancesNoticeWhatChangesSums(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := drawBooks(t)
		i := rapid.IntRange(0, len(b.entries)-1).Draw(t, "entry")
		f := func(what string, entries []record.Entry) {
			t.Helper()
			energy := verify.BalanceEnergy(b.metered, entries)
			time := verify.BalanceTime(b.devices, b.fleet.Period(), entries)
			if (energy.Residual == 0) != (b.entries[i].Measured == 0) || (time.Residual == 0) != (b.entries[i].DeviceTime == 0) {
				t.Fatalf("%s of %+v leaves residuals of %d mJ and %d", what, b.entries[i], energy.Residual, time.Residual)
			}
		}
		f("a drop", slices.Delete(slices.Clone(b.entries), i, i+1))
		f("a double", append(slices.Clone(b.entries), b.entries[i]))
	})
}

// A sample dropped, doubled or moved to another device of its tick, or to another message, shows in a count.
func TestAChangedSampleShows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := drawBooks(t)
		right := verify.Count(b.samples, b.messages)
		if right.Repeated != 0 || right.Mismatched != 0 || right.Stored != right.Declared || right.Stored != int64(len(b.samples)) {
			t.Fatalf("%+v", right)
		}
		i := rapid.IntRange(0, len(b.samples)-1).Draw(t, "sample")
		s := b.samples[i]
		f := func(what string, samples []verify.SampleID) {
			t.Helper()
			if c := verify.Count(samples, b.messages); c.Mismatched == 0 && c.Repeated == 0 {
				t.Fatalf("%s of %+v goes unnoticed: %+v", what, s, c)
			}
		}
		f("a drop", slices.Delete(slices.Clone(b.samples), i, i+1))
		f("a double", append(slices.Clone(b.samples), s))
		moved := slices.Clone(b.samples)
		moved[i].Seq++
		f("a move to another message", moved)
		for _, o := range b.samples {
			if o.Run == s.Run && o.Seq == s.Seq && o.Tick == s.Tick && o.Device != s.Device {
				moved := slices.Clone(b.samples)
				moved[i].Device = o.Device
				f("a move to another device", moved)
			}
		}
	})
}

// A reading whose counter is changed changes the recomputation, whenever an edge or an end of the counter depends on it.
func TestAChangedCounterShows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := drawBooks(t)
		n := b.fleet.Nodes[0]
		s := n.Series[n.Devices[0].UUID]
		times := map[unit.Micros]int{}
		for _, r := range s.Samples {
			times[r.At]++
		}
		from := max(fleettest.Begin, n.Devices[0].From)
		i := slices.IndexFunc(s.Samples, func(r verify.Sample) bool {
			return r.At != verify.Absent && times[r.At] == 1 && r.At > from && r.At < fleettest.Begin+unit.Hour && (n.To == 0 || r.At < n.To)
		})
		if i < 0 {
			return
		}
		s.Samples[i].Energy = 1 << 50 // a leap and a fall: with no limit it is believed, else energy is missed on both sides
		lines, _, err := recomputed(b.fleet, false)
		if err != nil {
			t.Fatal(err)
		}
		if verify.Compare(b.entries, lines).RuleError == 0 {
			t.Fatal("a reading changed by terajoules goes unnoticed")
		}
	})
}
