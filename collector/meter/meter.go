package meter

import (
	"math"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// GapPeriods is how many periods a mean may stand for. Beyond that the interval is a gap.
const GapPeriods = 3

// absentTime is the wire's value for a row without an energy reading.
const absentTime = ^uint64(0)

// Row is what one device contributes to one tick: the columns of record.Metrics by kind.
type Row struct {
	// EnergyAt is the energy counter's own time stamp, all ones when it has none.
	EnergyAt uint64
	Counters []uint64
	Gauges   []float32
	Codes    []uint32
}

// NewRow is a row with nothing in it.
func NewRow() *Row {
	return &Row{
		Counters: make([]uint64, len(record.Counters)),
		Gauges:   make([]float32, len(record.Gauges)),
		Codes:    make([]uint32, len(record.Codes)),
	}
}

func (r *Row) reset() {
	r.EnergyAt = absentTime
	for i := range r.Counters {
		r.Counters[i] = record.AbsentCounter
	}
	for i := range r.Gauges {
		r.Gauges[i] = float32(math.NaN())
	}
	for i := range r.Codes {
		r.Codes[i] = record.AbsentCode
	}
}

// Tally counts what was not taken at face value. Every count only rises.
type Tally struct {
	Stale     uint64 // values whose time stamp had not moved
	Backwards uint64 // values older than the one before
	Blank     uint64 // values of a supported field that were missing
	Clamped   uint64 // values outside their range, taken as its end
	Refused   uint64 // values no device can have, ignored
	Falls     uint64 // hardware counters that fell
	Gaps      uint64 // intervals of more than GapPeriods periods
	Still     uint64 // energy readings withheld because the counter stood still while power was drawn
}

// Sub is what was counted since an earlier tally.
func (t Tally) Sub(o Tally) Tally {
	return Tally{
		t.Stale - o.Stale, t.Backwards - o.Backwards, t.Blank - o.Blank, t.Clamped - o.Clamped, t.Refused - o.Refused,
		t.Falls - o.Falls, t.Gaps - o.Gaps, t.Still - o.Still,
	}
}

// column is one metric of the row with its state on this device.
type column struct {
	metric  record.Metric
	slot    Slot
	index   int // among the metrics of its kind
	sum     Integral
	last    uint64 // the counter or the value before
	at      unit.Micros
	started bool // last and at are meaningful
}

// Device meters one device. It is not safe for concurrent use: the loop that reads owns it.
type Device struct {
	period  unit.Micros
	energy  record.EnergySource
	slots   Set
	last    []unit.Micros // per slot, the newest time stamp seen
	edge    []unit.Micros // per slot, the time stamp of the last extra reading
	fresh   []bool        // per slot, within one Observe
	span    []unit.Micros // per fresh slot, since the time stamp before; 0 when there is none to integrate over
	columns []column
	// columned are the slots that have columns: those of now, and those that were supported once.
	columned Set

	expected, read uint64
	tally          Tally
	still          still
	epoch          uint32
	broken         Break
	elsewhere      Break // of energy that is counted in another way since; told with its next reading
}

// Break is the end of an epoch of the energy counter.
type Break struct {
	// Reason is fell, stuck, driver or source; empty means that there was none.
	Reason string
	// From is the last reading of the epoch that ended, Last its value in mJ, To the first reading of the next.
	From, To unit.Micros
	Last     uint64
}

// Occasion is why a device is read.
type Occasion uint8

// The occasions.
const (
	// Tick is a regular reading.
	Tick Occasion = iota
	// CatchUp is a tick that was missed and whose energy the source remembers.
	CatchUp
	// Edge is an extra reading, which no tick expects.
	Edge
)

// New meters a device from zero. slots are the fields the device supports; period is how often it is read.
func New(energy record.EnergySource, slots Set, period unit.Micros) *Device {
	d := &Device{
		period: period, energy: energy,
		last: make([]unit.Micros, len(Fields)), edge: make([]unit.Micros, len(Fields)), fresh: make([]bool, len(Fields)), span: make([]unit.Micros, len(Fields)),
	}
	d.Change(energy, slots)
	return d
}

// Change has the device read other fields from now on. What was counted stays counted: within a run counters only rise, also
// those of a field that goes and comes back. Energy that is counted in another way is another epoch.
func (d *Device) Change(energy record.EnergySource, slots Set) {
	if energy != d.energy {
		if last := d.LastEnergy(); last > 0 {
			d.nextEpoch()
			d.elsewhere = Break{Reason: "source", From: last, Last: d.still.value}
			if d.energy == record.EnergyIntegrated {
				d.elsewhere.Last, _ = d.drawn()
			}
		}
		d.energy, d.still = energy, still{}
	}
	added := slots &^ d.columned
	d.slots, d.columned = slots, d.columned|slots
	var n [4]int
	for _, m := range record.Metrics {
		i := n[m.Kind]
		n[m.Kind]++
		s, ok := SlotOf(m.Field)
		if !ok || !added.Has(s) || s == SlotXID {
			continue
		}
		d.columns = append(d.columns, column{metric: m, slot: s, index: i, sum: Integral{per: perOf(m.Derivation)}})
	}
}

func perOf(d record.Derivation) uint64 {
	switch d {
	case record.RatioTime:
		return perRatio
	case record.PercentTime:
		return perPercent
	case record.RateTime:
		return perRate
	case record.TrapezoidEnergy:
		return perEnergy
	default:
		return 1
	}
}

// Expect counts ticks at which the device should have been read, those the loop missed included.
func (d *Device) Expect(ticks uint64) { d.expected += ticks }

// Tally is what has been counted so far.
func (d *Device) Tally() Tally { return d.tally }

// LastEnergy is the newest time stamp of the energy counter, 0 before the first. It is 0 for a device without energy.
func (d *Device) LastEnergy() unit.Micros {
	switch d.energy {
	case record.EnergyHardware:
		return d.last[SlotEnergy]
	case record.EnergyIntegrated:
		return d.last[SlotPower]
	default:
		return 0
	}
}

// Observe takes one reading of every slot and fills the row. It says whether the device was read: whether any value
// was new. XID events do not come this way; the row's code for them is left absent.
func (d *Device) Observe(values []Value, row *Row, why Occasion) (read bool) {
	row.reset()
	d.broken = Break{}
	read = d.judge(values, why)
	for i := range d.columns {
		c := &d.columns[i]
		if !d.fresh[c.slot] {
			continue
		}
		v := values[c.slot]
		switch c.metric.Kind {
		case record.Gauge:
			row.Gauges[c.index] = float32(v.Float)
		case record.Code:
			if v.Int >= 0 && v.Int < math.MaxUint32 {
				row.Codes[c.index] = uint32(v.Int)
			}
		case record.Counter:
			d.count(c, v, row)
		}
	}
	d.settle(row)
	if read && why != Edge {
		d.read++
	}
	row.Counters[record.CTicksExpected] = d.expected
	row.Counters[record.CTicksRead] = d.read
	if d.energy != record.EnergyNone {
		row.Codes[record.CodeEnergyEpoch] = d.epoch
	}
	return read
}

// Break is the end of an epoch that the last Observe saw, if it saw one.
func (d *Device) Break() (Break, bool) { return d.broken, d.broken.Reason != "" }

// NewDriver begins a new epoch: a hardware counter counts from the loading of the driver, and one that was read before
// and after may not show it by falling.
func (d *Device) NewDriver() {
	if d.energy == record.EnergyHardware {
		d.still.driver = true
	}
}

// judge decides which values are new and over which time they count.
func (d *Device) judge(values []Value, why Occasion) (read bool) {
	for s := range values {
		d.fresh[s], d.span[s] = false, 0
		if !d.slots.Has(Slot(s)) || Slot(s) == SlotXID {
			continue
		}
		at, last := values[s].At, d.last[s]
		switch {
		case at <= 0:
			if why == Tick {
				d.tally.Blank++
			}
			continue
		case at == last:
			if why == Tick {
				d.tally.Stale++
			}
			continue
		case at < last && last == d.edge[s] && last-at <= GapPeriods*d.period:
			// An extra reading is ahead of what the source samples by itself: this was sampled before it.
			if why == Tick {
				d.tally.Stale++
			}
			continue
		case at < last:
			// The clock was set back. The value is shown with its time and integrated over nothing;
			// from here on time counts again.
			d.tally.Backwards++
		case last > 0:
			d.span[s] = at - last
			if d.span[s] > GapPeriods*d.period {
				d.tally.Gaps++
			}
		}
		d.last[s], d.fresh[s], read = at, true, true
		if why == Edge {
			d.edge[s] = at
		}
	}
	return read
}

// count turns one new value into its counter.
func (d *Device) count(c *column, v Value, row *Row) {
	switch c.metric.Derivation {
	case record.AsRead:
		d.asRead(c, v, row)
	case record.RatioTime:
		value, clamped, ok := ratio(v.Float)
		d.mean(c, value, clamped, ok, row)
	case record.PercentTime:
		value, clamped, ok := percent(v.Int)
		d.mean(c, value, clamped, ok, row)
	case record.RateTime:
		value, clamped, ok := rate(v.Int)
		d.mean(c, value, clamped, ok, row)
	case record.TrapezoidEnergy:
		d.trapezoid(c, v, row)
	case record.Ticks: // our own, filled by Observe
	}
}

// asRead passes a hardware counter on. A fall is counted and passed on too: it begins an epoch.
func (d *Device) asRead(c *column, v Value, row *Row) {
	if c.slot == SlotEnergy && d.energy != record.EnergyHardware {
		return
	}
	if v.Int < 0 || uint64(v.Int) == record.AbsentCounter {
		d.tally.Refused++
		return
	}
	value := uint64(v.Int)
	if c.slot == SlotEnergy {
		row.EnergyAt = uint64(v.At)
	}
	if c.slot != SlotEnergy && c.started && value < c.last { // of the energy settle decides
		d.tally.Falls++
	}
	row.Counters[c.index] = value
	c.last, c.started = value, true
}

// mean integrates a value that is a mean over the interval it ends.
func (d *Device) mean(c *column, value uint64, clamped, ok bool, row *Row) {
	if clamped {
		d.tally.Clamped++
	}
	span := d.span[c.slot]
	if span > GapPeriods*d.period {
		span = d.period
	}
	if !ok || !c.sum.Add(value, uint64(span)) {
		d.tally.Refused++
		return
	}
	row.Counters[c.index] = c.sum.Whole()
}

// trapezoid integrates power between two readings of it.
func (d *Device) trapezoid(c *column, v Value, row *Row) {
	value, clamped, ok := milliwatts(v.Float)
	if clamped {
		d.tally.Clamped++
	}
	if !ok {
		d.tally.Refused++
		return // the next good reading is joined to the last good one
	}
	if c.started && v.At > c.at && !c.sum.Add(c.last+value, uint64(v.At-c.at)) {
		d.tally.Refused++
	}
	c.last, c.at, c.started = value, v.At, true
	if d.energy == record.EnergyNone {
		return // the power of an instance is its GPU's
	}
	row.Counters[c.index] = c.sum.Whole()
	if d.energy == record.EnergyIntegrated {
		row.Counters[record.CEnergy] = c.sum.Whole()
		row.EnergyAt = uint64(v.At)
	}
}
