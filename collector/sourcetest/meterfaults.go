package sourcetest

import (
	"testing"

	"github.com/wattledger/wattledger/collector/nodemeter"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// meterJudges say what must have come of each fault.
var meterJudges = map[Fault]func(t *testing.T, m *meterPlay){
	Blank: silence("missing", true),
	NotPermitted: func(t *testing.T, m *meterPlay) {
		silence(nodemeter.Forbidden, true)(t, m)
	},
	Zero: silence(nodemeter.Zero, true),
	Lost: silence("", true),
	Away: func(t *testing.T, m *meterPlay) {
		silence("", false)(t, m)
		for _, s := range m.ticks {
			if m.during(s.at) == (s.err == nil) {
				t.Errorf("at %v the whole source says %v", s.at.Time(), s.err)
			}
		}
	},
	Falls: func(t *testing.T, m *meterPlay) {
		falls := 0
		var last uint64
		m.each(m.c.Meter, func(_ meterTick, _ nodemeter.Meter, v nodemeter.Value) {
			if v.At != 0 && v.Count < last {
				falls++
			}
			last = v.Count
		})
		if got := m.told(m.c.Meter); falls != 1 || len(got) != 1 || (got[0] != "epoch fell" && got[0] != "epoch renewed") {
			t.Errorf("the counter fell %d times, and what was told is %q: a source passes it on as it is, once", falls, got)
		}
	},
	Wraps: func(t *testing.T, m *meterPlay) {
		wraps := 0
		var last, sum uint64
		var first *uint64
		m.each(m.c.Meter, func(_ meterTick, meter nodemeter.Meter, v nodemeter.Value) {
			if first == nil {
				first = &v.Count
			}
			if v.Count < last {
				wraps++
				sum += meter.Range
			}
			last = v.Count
		})
		r := m.readings[m.c.Meter]
		if len(r) < 2 || wraps == 0 || len(m.told(m.c.Meter)) != 0 {
			t.Fatalf("%d readings, %d wraps, told: %q", len(r), wraps, m.told(m.c.Meter))
		}
		per := max(m.ticks[0].meters[0].PerMillijoule, 1)
		if got, want := r[len(r)-1].Value-r[0].Value, int64((sum+last)/per-*first/per); got != want {
			t.Errorf("the counter rose by %d mJ, want %d", got, want)
		}
	},
	Frozen: func(t *testing.T, m *meterPlay) {
		still := 0
		var last uint64
		m.each(m.c.Meter, func(tick meterTick, _ nodemeter.Meter, v nodemeter.Value) {
			if m.during(tick.at) && m.during(tick.at-m.c.Period) && v.At != 0 && v.Count == last {
				still++
			}
			last = v.Count
		})
		if still == 0 || len(m.told(m.c.Meter)) != 0 {
			t.Errorf("the counter stood still at %d ticks, and what was told is %q: a source extrapolates nothing", still, m.told(m.c.Meter))
		}
	},
	Stale: func(t *testing.T, m *meterPlay) {
		var first nodemeter.Value
		m.each(m.c.Meter, func(tick meterTick, _ nodemeter.Meter, v nodemeter.Value) {
			if !m.during(tick.at) || v.At == 0 {
				return
			}
			if first.At == 0 {
				first = v
			}
			if v != first {
				t.Errorf("at %v a value that was not measured again went from %+v to %+v", tick.at.Time(), first, v)
			}
		})
	},
	ClockBack: func(t *testing.T, m *meterPlay) {
		r := m.readings[m.c.Meter]
		back := 0
		for i := 1; i < len(r); i++ {
			if r[i].FromUs < r[i-1].FromUs {
				back++
			}
			if r[i].Value <= r[i-1].Value || r[i].Epoch != r[i-1].Epoch {
				t.Errorf("over a step of the clock the counter goes from %v to %v", r[i-1], r[i])
			}
		}
		if back != 1 || len(m.told(m.c.Meter)) != 0 {
			t.Errorf("time went back %d times in %d readings, want once; told: %q", back, len(r), m.told(m.c.Meter))
		}
	},
}

// silence judges a meter that says nothing during the fault: it has no reading then, has one before and after, and the gap
// is told with bounds that hold the fault. With alone, the other meters are not silent.
func silence(why nodemeter.Reason, alone bool) func(t *testing.T, m *meterPlay) {
	return func(t *testing.T, m *meterPlay) {
		t.Helper()
		r := m.readings[m.c.Meter]
		var before, after int
		for _, x := range r {
			switch at := unit.Micros(x.FromUs); {
			case m.during(at):
				t.Errorf("during the fault comes %v", x)
			case at < m.c.From:
				before++
			default:
				after++
			}
		}
		if m.c.Until != 0 && after == 0 || m.c.From > m.c.Start && before == 0 {
			t.Errorf("%d readings before the fault, %d after", before, after)
		}
		m.each(m.c.Meter, func(tick meterTick, _ nodemeter.Meter, v nodemeter.Value) {
			if m.during(tick.at) && tick.err == nil && why != "" && (v.At != 0 || (v.Why != why && (why != nodemeter.Missing || v.Why != ""))) {
				t.Errorf("at %v the meter says %+v, want nothing because of %q", tick.at.Time(), v, why)
			}
		})
		gaps := 0
		for _, i := range m.incidents {
			if i.Kind != record.IncidentGap {
				continue
			}
			if i.Device == m.c.Meter {
				gaps++
				if i.From > m.c.From || i.To < m.c.Until || why != "" && i.Reason != string(why) {
					t.Errorf("the gap is told as %+v", i)
				}
			} else if alone {
				t.Errorf("a gap of another meter: %+v", i)
			}
		}
		if gaps != 1 {
			t.Errorf("%d gaps were told of %s, want one: %+v", gaps, m.c.Meter, m.incidents)
		}
	}
}
