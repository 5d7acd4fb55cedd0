package closer

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wattledger/wattledger/aggregator/adjusting"
	"github.com/wattledger/wattledger/aggregator/closing"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

func changedAt(hours ...int) (out []Changed) {
	for _, h := range hours {
		out = append(out, Changed{Hour: hour0 + unit.Micros(h)*unit.Hour, Causes: []adjusting.Cause{{Word: "late_data", About: fmt.Sprint("n", h)}}})
	}
	return out
}

// progressed is a ledger that has closed so many hours of each site and may close one more.
func progressed(l *ledgerOf, hours int) {
	l.last = hour0 + unit.Micros(hours)*unit.Hour
	for _, site := range []string{"a", "b"} {
		for h := range hours {
			l.seals = append(l.seals, record.Seal{Site: site, Batch: uint64(h), Hour: hour0 + unit.Micros(h)*unit.Hour, Root: "r"})
		}
	}
}

// A batch takes so many hours, the oldest first; what is left over, and what lies too far back, is noted in the next batch's sidecar.
func TestABatchTakesSomeHoursAndNotesTheOthers(t *testing.T) {
	l := &ledgerOf{changed: changedAt(0, 70, 71, 69, 73)}
	c := closerOver(t, l)
	progressed(l, 75)
	if _, err := c.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	in, err := ParseInputs(l.batches[0].Seal.Inputs)
	if err != nil {
		t.Fatal(err)
	}
	if want := changedAt(71, 73); !reflect.DeepEqual(in.Pending, want) {
		t.Errorf("pending %+v, want %+v", in.Pending, want)
	}
	if want := changedAt(0); !reflect.DeepEqual(in.Old, want) {
		t.Errorf("too old %+v, want %+v", in.Old, want)
	}
	if want := []unit.Micros{hour0 + 69*unit.Hour, hour0 + 70*unit.Hour}; !reflect.DeepEqual(l.reloaded[:2], want) {
		t.Errorf("evaluated %v anew, want %v", l.reloaded, want)
	}
	if got := testutil.ToFloat64(c.reevaluated); got != 4 { // two of each site
		t.Errorf("%v hours counted as evaluated anew, want 4", got)
	}
	if got := testutil.ToFloat64(c.pending.WithLabelValues("a")); got != 2 {
		t.Errorf("%v hours pending, want 2", got)
	}
	if got := testutil.ToFloat64(c.old.WithLabelValues("a")); got != 1 {
		t.Errorf("%v hours too old, want 1", got)
	}
}

// Hours closed by older rules are not evaluated anew by themselves: their entries would change by the rules.
func TestHoursOfOlderRulesWaitForAPerson(t *testing.T) {
	c := closerOver(t, &ledgerOf{})
	f := func(p Progress, want unit.Micros) {
		t.Helper()
		if got := c.automatic(p); got != want {
			t.Errorf("from %v on, want %v", got.Time(), want.Time())
		}
	}
	next := hour0 + 100*unit.Hour
	f(Progress{Next: next, RulesSince: hour0}, next-48*unit.Hour)
	f(Progress{Next: next, RulesSince: next - 3*unit.Hour}, next-3*unit.Hour)
	f(Progress{Next: next}, next)
	c.cfg.AdjustWithin = 0
	f(Progress{Next: next, RulesSince: hour0}, next)
}

// What differs is booked in the batch that closes the next hour, before its closings, and counted by reason.
func TestAdjustmentsRideWithTheNextHour(t *testing.T) {
	l := &ledgerOf{changed: changedAt(1)}
	l.booked = adjusting.Hour{Root: "root", Lines: []adjusting.Booked{{ID: "was", Entry: record.Entry{
		Site: "a", Hour: (hour0 + unit.Hour).Time().Format(time.RFC3339), Kind: record.Closing, Account: record.AccountUnallocated, Node: "n",
		Device: "GPU-0", GPU: 10, Measured: 10,
	}}}}
	c := closerOver(t, l)
	l.sites = l.sites[1:]
	progressed(l, 2)
	if n, err := c.Once(t.Context()); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	seal := l.batches[0].Seal
	if seal.Adjustments != 1 || seal.Entries != 1 || seal.Hour != hour0+2*unit.Hour || seal.Measured != -10 {
		t.Errorf("sealed %+v", seal)
	}
	if e := l.batches[0].Lines[0]; e.Corrects != "was" || e.Reason != "late_data n1" || e.GPU != -10 {
		t.Errorf("booked %+v", e)
	}
	if got := testutil.ToFloat64(c.adjusted.WithLabelValues("late_data")); got != 1 {
		t.Errorf("%v adjustments counted, want 1", got)
	}
}

// Of samples that are gone nothing is taken back: such an hour is left alone and counted, and who asks for it is told.
func TestAnHourWhoseSamplesAreGoneIsLeftAlone(t *testing.T) {
	l := &ledgerOf{changed: changedAt(1), booked: adjusting.Hour{Root: "root", SampleRows: 9, Lines: []adjusting.Booked{{ID: "was", Entry: record.Entry{GPU: 7, Measured: 7}}}}}
	c := closerOver(t, l)
	l.sites = l.sites[1:]
	progressed(l, 2)
	if n, err := c.Once(t.Context()); n != 1 || err != nil || l.batches[0].Seal.Adjustments != 0 {
		t.Errorf("%d closed, %v", n, err)
	}
	if got := testutil.ToFloat64(c.unfit); got != 1 {
		t.Errorf("%v hours counted as refused, want 1", got)
	}
	l.last += unit.Hour
	if _, err := c.Adjust(t.Context(), l.sites[0], nil); err != nil {
		t.Error(err)
	}
	if got := testutil.ToFloat64(c.unfit); got != 2 {
		t.Errorf("%v hours counted as refused with a batch of adjustments alone, want 2", got)
	}
	if _, err := c.Adjust(t.Context(), l.sites[0], []unit.Micros{hour0}); err == nil || !strings.Contains(err.Error(), "of the 9 samples it was closed from 0 are left") {
		t.Errorf("asked for: %v", err)
	}
}

// A batch that is full leaves hours to the next one, however many it might take; what a person asked for stands in one.
func TestAFullBatchLeavesHoursToTheNext(t *testing.T) {
	l := &ledgerOf{changed: changedAt(1, 2)}
	l.booked = adjusting.Hour{Root: "root", Lines: []adjusting.Booked{{ID: "was", Entry: record.Entry{
		Site: "a", Hour: (hour0 + unit.Hour).Time().Format(time.RFC3339), Kind: record.Closing, Account: record.AccountUnallocated, Node: "n",
		Device: "GPU-0", GPU: 10, Measured: 10,
	}}}}
	c := closerOver(t, l)
	c.full = 1
	l.sites = l.sites[1:]
	progressed(l, 3)
	if n, err := c.Once(t.Context()); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	in, err := ParseInputs(l.batches[0].Seal.Inputs)
	if err != nil || !reflect.DeepEqual(in.Pending, changedAt(2)) || l.batches[0].Seal.Adjustments != 1 {
		t.Errorf("%d adjustments, pending %+v, %v", l.batches[0].Seal.Adjustments, in.Pending, err)
	}
	if a, err := c.Pending(t.Context(), l.sites[0], nil); err != nil || len(a.Pending) != 0 || len(a.Hours) != 2 {
		t.Errorf("shown %+v, %v", a, err)
	}
}

// Alone, adjustments are a batch of their own that closes no hour; nothing is made where nothing differs.
func TestAdjustmentsAlone(t *testing.T) {
	l := &ledgerOf{}
	c := closerOver(t, l)
	l.sites = l.sites[1:]
	progressed(l, 2)
	site := l.sites[0]
	if a, err := c.Adjust(t.Context(), site, []unit.Micros{hour0}); err != nil || a.Seal.Root != "" || len(l.batches) != 0 {
		t.Errorf("nothing differs: %+v, %v", a, err)
	}
	l.booked = adjusting.Hour{Root: "root", Lines: []adjusting.Booked{{ID: "was", Entry: record.Entry{
		Site: "a", Hour: hour0.Time().Format(time.RFC3339), Kind: record.Closing, Account: record.AccountUnallocated, Node: "n", Device: "GPU-0", DeviceTime: 7,
	}}}}
	dry, err := c.Pending(t.Context(), site, []unit.Micros{hour0})
	if err != nil || len(dry.Hours) != 1 || len(dry.Hours[0].Entries) != 1 || len(l.batches) != 0 {
		t.Errorf("shown %+v, %v", dry, err)
	}
	a, err := c.Adjust(t.Context(), site, []unit.Micros{hour0})
	if err != nil || a.Seal.Closing != "adjustment" || a.Seal.Hour != hour0+unit.Hour || a.Seal.Batch != 2 || a.Seal.Root == "" {
		t.Errorf("sealed %+v, %v", a.Seal, err)
	}
	if _, err := c.Adjust(t.Context(), site, []unit.Micros{hour0 + 2*unit.Hour}); err == nil || !strings.Contains(err.Error(), "not a closed one") {
		t.Errorf("an open hour: %v", err)
	}
}

// A closer that is not sure to be the one seals nothing and ends; one whose batch another has sealed counts it and goes on.
func TestALostRightEndsClosing(t *testing.T) {
	l := &ledgerOf{last: hour0}
	c := closerOver(t, l)
	c.Held = func() error { return errors.New("another generation") }
	if err := c.Run(t.Context()); !errors.Is(err, ErrFenced) || len(l.seals) != 0 {
		t.Errorf("ended with %v after %d seals", err, len(l.seals))
	}
	c.Held = nil
	l.rival = fmt.Errorf("batch 0: %w", ErrSealed)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	for testutil.ToFloat64(c.rivals) < 2 {
		time.Sleep(time.Millisecond)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// The idle power of a MIG GPU's closed hour is the one its entries name, of its instances' where it has none of its own.
func TestIdlePowerOfAClosedHourStays(t *testing.T) {
	hour := func() closing.Hour {
		gpu := closing.Device{Device: record.Device{UUID: "GPU", Kind: record.KindGPU, IdleMilliwatts: 1}, IdleBasis: "measured now"}
		in := closing.Device{Device: record.Device{UUID: "MIG", Parent: "GPU", Kind: record.KindMIG}}
		return closing.Hour{Nodes: []closing.Node{{Devices: []closing.Device{in, gpu}}}}
	}
	f := func(device, split string, power unit.Milliwatts, basis string) {
		t.Helper()
		h := hour()
		KeepIdle(&h, adjusting.Hour{Lines: []adjusting.Booked{{Entry: record.Entry{Device: device, Split: split}}}})
		if d := h.Nodes[0].Devices[1]; d.IdleMilliwatts != power || d.IdleBasis != basis {
			t.Errorf("%d mW, %q; want %d, %q", d.IdleMilliwatts, d.IdleBasis, power, basis)
		}
	}
	f("GPU", "mig P_idle=140000mW measured 2026-11-03T04:00:00Z", 140000, "measured 2026-11-03T04:00:00Z")
	f("MIG", "mig P_idle=150000mW model", 150000, "model")
	f("GPU", "slots", 1, "measured now")
	f("other", "mig P_idle=150000mW model", 1, "measured now")
}

func TestInputsSurviveTheirText(t *testing.T) {
	in := Inputs{Stated: 7, Factors: 3, Pending: changedAt(1), Old: changedAt(0)}
	in.See(Line{"t", 1, 5, 50})
	in.See(Line{"t", 0, 9, 90})
	in.See(Line{"t", 1, 4, 60})
	text, err := in.Text()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseInputs(text)
	if err != nil || !reflect.DeepEqual(got, in) || !reflect.DeepEqual(got.Lines, []Line{{"t", 0, 9, 90}, {"t", 1, 5, 60}}) {
		t.Errorf("%+v, %v; want %+v", got, err, in)
	}
	if _, err := ParseInputs("{"); err == nil {
		t.Error("half a sidecar is read")
	}
}
