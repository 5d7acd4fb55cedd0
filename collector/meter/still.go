package meter

import (
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// still follows the hardware energy counter from one movement to the next.
type still struct {
	started bool
	at      unit.Micros // of the last reading that moved
	value   uint64      // in mJ
	// integral is that of power at that reading, in mJ; known says that there was one.
	integral uint64
	known    bool
	withheld bool // since then
	driver   bool // the driver was loaded anew since then
}

// A counter is not believed to stand still before power of minDrawn mJ was drawn and minStill has passed: counters move in
// steps of about 100 ms, and a reading right beside a step may find none.
const (
	minDrawn = 1000
	minStill = 500 * unit.Millisecond
)

// settle judges the energy reading of a row against the integral of power, which is a second opinion.
//
// A counter that stands still while power is drawn has not been read: its value is withheld, so that nobody takes the
// energy for none. When it moves again it has either caught up, and then it counted all along, or it goes on from where it
// stood, and then nobody counted: the epoch ends. Less than three quarters of the integral is taken for the latter: read
// at even times, a counter that goes on has seen half of it at most. What no counter
// saw is for the aggregator to estimate.
func (d *Device) settle(row *Row) {
	if row.EnergyAt == absentTime {
		return
	}
	if d.elsewhere.Reason != "" {
		d.broken, d.elsewhere = d.elsewhere, Break{}
		d.broken.To = unit.Micros(row.EnergyAt)
	}
	if d.energy != record.EnergyHardware {
		return
	}
	s := &d.still
	value, at := row.Counters[record.CEnergy], unit.Micros(row.EnergyAt)
	integral, known := d.drawn()
	var drawn uint64
	if s.started && s.known && known && integral > s.integral {
		drawn = integral - s.integral
	}
	switch {
	case !s.started:
	case s.driver:
		d.breaks("driver", at)
	case value < s.value:
		d.tally.Falls++
		d.breaks("fell", at)
	case value == s.value && at > s.at && at-s.at < minStill:
		return
	case value == s.value && at > s.at && drawn >= minDrawn:
		d.tally.Still++
		s.withheld = true
		row.Counters[record.CEnergy], row.EnergyAt = record.AbsentCounter, absentTime
		return
	case s.withheld && value-s.value < drawn/4*3:
		d.breaks("stuck", at)
	}
	*s = still{started: true, at: at, value: value, integral: integral, known: known}
}

// drawn is the integral of power so far; known says that power was read.
func (d *Device) drawn() (mj uint64, known bool) {
	for i := range d.columns {
		if c := &d.columns[i]; c.metric.Derivation == record.TrapezoidEnergy {
			return c.sum.Whole(), c.started
		}
	}
	return 0, false
}

// breaks ends the epoch.
func (d *Device) breaks(reason string, at unit.Micros) {
	d.broken = Break{Reason: reason, From: d.still.at, To: at, Last: d.still.value}
	d.nextEpoch()
}

func (d *Device) nextEpoch() {
	if d.epoch++; d.epoch == record.AbsentCode {
		d.epoch = 0
	}
}
