package closing

import (
	"testing"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Two runs of the collector in one hour: the ticks between them were expected and are unread, to the one.
func TestDeadTimeIsExpectedAndUnread(t *testing.T) {
	d := Device{Period: unit.Second}
	run := func(name string, from, to, dead int64) {
		for i := from; i <= to; i++ {
			n := i - from + 1
			d.Work = append(d.Work, Work{
				T: start + unit.Micros(i)*unit.Second, Run: name, SMActive: unit.Micros(n-1) * unit.Second / 2, Expected: n + dead, Read: n,
			})
		}
	}
	run("a", -10, 1200, 0)
	run("b", 1801, 3700, 600)
	f := func(what string, from, to, expected, read int64, active unit.Micros) {
		t.Helper()
		var e record.Entry
		var c nodeCloser
		c.work(&e, d, start+unit.Micros(from)*unit.Second, start+unit.Micros(to)*unit.Second, 1, 1)
		if e.TicksExpected != expected || e.TicksRead != read || e.SMActive != active {
			t.Errorf("%s: %d of %d ticks read, active %v; want %d of %d and %v", what, e.TicksRead, e.TicksExpected, e.SMActive, read, expected, active)
		}
	}
	f("the hour", 0, 3600, 3600, 3000, (1200+1799)*unit.Second/2)
	f("before", 0, 1200, 1200, 1200, 600*unit.Second)
	f("the dead time", 1200, 1801, 601, 1, 0)
	f("half of it", 1200, 1500, 300, 0, 0)
	f("after", 1801, 3600, 1799, 1799, 1799*unit.Second/2)

	d.Work = nil
	run("a", -10, 1200, 0)
	run("b", 1201, 3700, 0)
	f("at once", 0, 3600, 3600, 3600, (1200+2399)*unit.Second/2)

	// The first messages are lost, and so are readings, but no tick.
	d.Work = append(d.Work[:1211:1211], d.Work[1311:]...)
	f("without the first messages", 0, 3600, 3600, 3600, (1200+2399)*unit.Second/2)

	// A run that began an hour before beside the other has not counted all of that here.
	d.Work = nil
	run("a", -10, 1200, 0)
	run("b", -3600, 3700, 0)
	d.Work = append(d.Work[:1211:1211], d.Work[1211+3600+1201:]...)
	f("side by side", 0, 3600, 1200+2399, 1200+2399, (1200+2399)*unit.Second/2)
}
