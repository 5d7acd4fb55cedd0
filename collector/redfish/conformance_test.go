package redfish

import (
	"fmt"
	"testing"

	"github.com/wattledger/wattledger/collector/sourcetest"
	"github.com/wattledger/wattledger/schemas/unit"
)

// kilowatts is what a BMC with a counter says: 5 kW since long ago.
func kilowatts(to unit.Micros) string {
	return fmt.Sprintf(`{"PowerWatts": {"Reading": 5000}, "EnergyJoules": {"Reading": %d}}`, 1_000_000+int64(to-start)*5/1000)
}

func subject(b *bmc, say func(to unit.Micros) string) sourcetest.MeterSubject {
	return sourcetest.MeterSubject{
		Open:    func(t *testing.T) sourcetest.MeterSource { return b.open(t, nil, nil) },
		Advance: func(_ *testing.T, to unit.Micros) { b.put(map[string]string{tray: say(to)}) },
		Start:   start, Period: period,
	}
}

func TestConformanceOfEnergy(t *testing.T) {
	open := func(t *testing.T) *bmc { return newBMC(t, trayTree(kilowatts(start))) }
	sourcetest.RunMeters(t, subject(open(t), kilowatts), func(t *testing.T, f sourcetest.Fault) (sourcetest.MeterCase, string) {
		b := open(t)
		from, until := start+3*period, start+9*period
		during := func(to unit.Micros) bool { return to >= from && to < until }
		c := sourcetest.MeterCase{MeterSubject: subject(b, kilowatts), From: from, Until: until, Meter: "n1/bmc"}
		answer := func(status int) func(t *testing.T, to unit.Micros) {
			return func(_ *testing.T, to unit.Micros) {
				b.put(map[string]string{tray: kilowatts(to)})
				b.set(func() {
					if b.status[tray] = 0; during(to) {
						b.status[tray] = status
					}
				})
			}
		}
		switch f {
		case sourcetest.Blank:
			c.MeterSubject = subject(b, func(to unit.Micros) string {
				if during(to) {
					return `{"PowerWatts": {"Reading": null}, "EnergyJoules": {"Reading": null}}`
				}
				return kilowatts(to)
			})
		case sourcetest.NotPermitted:
			c.Advance = answer(403)
		case sourcetest.Falls: // the BMC was updated
			c.Until = 0
			c.MeterSubject = subject(b, func(to unit.Micros) string {
				if to < from {
					return kilowatts(to)
				}
				return kilowatts(start - 200*unit.Second + to - from)
			})
		case sourcetest.Frozen:
			c.MeterSubject = subject(b, func(to unit.Micros) string { return kilowatts(min(to, from)) })
		case sourcetest.Lost: // the resource is gone, and comes back
			c.Advance = answer(404)
		case sourcetest.Away:
			c.Advance = func(_ *testing.T, to unit.Micros) {
				b.put(map[string]string{tray: kilowatts(to)})
				b.set(func() {
					if b.statusAll = 0; during(to) {
						b.statusAll = 500
						clear(b.tokens) // it starts again, and knows nobody
					}
				})
			}
		case sourcetest.ClockBack:
			c.Until = from
		case sourcetest.Zero:
			return sourcetest.MeterCase{}, "0 is a counter's first value; see the conformance of power"
		case sourcetest.Wraps:
			return sourcetest.MeterCase{}, "no BMC says at which value its counter begins anew: it has no range, and a fall ends its epoch"
		case sourcetest.Stale:
			return sourcetest.MeterCase{}, "a BMC's times are not believed: an old value cannot be told from a steady one"
		}
		return c, ""
	})
}

func TestConformanceOfPower(t *testing.T) {
	watts := func(w string) string { return `{"PowerWatts": {"Reading": ` + w + `}, "EnergykWh": {"Reading": 12.5}}` }
	steady := func(unit.Micros) string { return watts("5000") }
	open := func(t *testing.T) *bmc { return newBMC(t, trayTree(watts("5000"))) }
	sourcetest.RunMeters(t, subject(open(t), steady), func(t *testing.T, f sourcetest.Fault) (sourcetest.MeterCase, string) {
		b := open(t)
		c := sourcetest.MeterCase{MeterSubject: subject(b, steady), From: start + 3*period, Until: start + 9*period, Meter: "n1/bmc"}
		during := func(w string) {
			c.MeterSubject = subject(b, func(to unit.Micros) string {
				if to >= c.From && to < c.Until {
					return watts(w)
				}
				return watts("5000")
			})
		}
		switch f {
		case sourcetest.Blank:
			during("null")
		case sourcetest.Zero:
			during("0")
		case sourcetest.ClockBack:
			c.Until = c.From
		case sourcetest.Falls, sourcetest.Wraps, sourcetest.Frozen:
			return sourcetest.MeterCase{}, "the counter is too coarse to be read; see the conformance of energy"
		default:
			return sourcetest.MeterCase{}, "as for energy: the same code asks"
		}
		return c, ""
	})
}
