package closing

import (
	"cmp"
	"math"
	"slices"

	"github.com/wattledger/wattledger/aggregator/window"
	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// quality writes a line for every GPU and CPU that is there in the hour, and for the node's meter.
func (c *nodeCloser) quality() error {
	books := map[string]*book{}
	for _, b := range c.books {
		books[b.dev.UUID] = b
	}
	for _, d := range c.node.Devices {
		from, to := c.hour.span(d.From, d.To)
		if d.Kind == record.KindMIG || from == to {
			continue
		}
		line, err := c.deviceHour(d, from, to)
		if err != nil {
			return err
		}
		if b := books[d.UUID]; b != nil {
			for _, h := range b.held {
				line.Allocated += h.entry.DeviceTime
			}
			line.Unallocated, line.Unavailable = b.rest.DeviceTime-b.rest.Unavailable, b.rest.Unavailable
			if slices.Contains(line.Flags, flagSecondOpinion) {
				b.each(func(e *record.Entry) { flag(e, flagSecondOpinion) })
			}
		}
		slices.Sort(line.Flags)
		c.res.DeviceHours = append(c.res.DeviceHours, line)
	}
	if c.line != nil {
		c.res.DeviceHours = append(c.res.DeviceHours, *c.line)
	}
	return nil
}

// second is how much, besides a share of it, the integral may be from the counter before that says something: 1 Wh.
const second unit.Millijoules = 3_600_000

func (c *nodeCloser) deviceHour(d Device, from, to unit.Micros) (record.DeviceHour, error) {
	m := c.meters[d.UUID]
	total, err := m.Total(c.hour.Start, c.hour.End())
	if err != nil {
		return record.DeviceHour{}, err
	}
	line := record.DeviceHour{
		Site: c.hour.Site.ID, Hour: c.hour.hour(), Node: c.node.ID, Device: d.UUID, Kind: d.Kind.String(), Model: d.Model,
		Counter: total.Measured, Estimated: total.Estimated, Interpolated: total.Interpolated, BoundLow: total.Low, BoundHigh: total.High,
		Present: to - from, Covered: m.Covered(from, to), Resets: m.Steps.Resets, ClockSteps: m.Steps.ClockSteps, Sensor: c.sensorOf(d),
	}
	var e record.Entry // flags and ticks, told as of an entry
	c.energy(&e, d, total, total.Sub(total))
	c.work(&e, d, from, to, 1, 1)
	line.TicksExpected, line.TicksRead, line.Flags = e.TicksExpected, e.TicksRead, e.Flags
	line.Integral, err = integral(d, c.hour.Start, c.hour.End(), func(a, b unit.Micros) unit.Micros { return m.Covered(max(a, from), min(b, to)) })
	if err != nil || line.Integral == record.NoIntegral {
		return line, err
	}
	off := max(line.Counter-line.Integral, line.Integral-line.Counter)
	share, err := unit.FloorMulDiv(int64(line.Counter), c.hour.Limits.SecondOpinion, 1000)
	if c.hour.Limits.SecondOpinion > 0 && off > second && int64(off) > share {
		line.Flags = flagged(line.Flags, flagSecondOpinion)
	}
	return line, err
}

// sensorOf is the class of what measures a device.
func (c *nodeCloser) sensorOf(d Device) string {
	switch {
	case d.Energy == record.EnergyIntegrated:
		return factor.SensorIntegrated
	case d.Kind == record.KindCPU:
		return factor.SensorCPUCounter
	}
	return factor.SensorGPUCounter
}

// integral is what the collector's own integral of power rose by over [from, to), run by run and cut at the edges as counters
// are. It is not known when a part of what the counter covers lies outside the readings of every run.
func integral(d Device, from, to unit.Micros, covered func(a, b unit.Micros) unit.Micros) (unit.Millijoules, error) {
	left := unit.Micros(math.MinInt64)
	var series []run
	add := func(name string, t unit.Micros, v unit.Millijoules) {
		if v == window.NoIntegral {
			return
		}
		i := len(series) - 1 // most often it is the run of the reading before
		if i < 0 || series[i].name != name {
			if i = slices.IndexFunc(series, func(r run) bool { return r.name == name }); i < 0 {
				series, i = append(series, run{name: name, marks: make([]mark, 0, len(d.Points)+1)}), len(series)
			}
		}
		series[i].marks = append(series[i].marks, mark{t, v})
	}
	if d.Stored != nil {
		left = d.Stored.T0 // what lies before is of the hours before
		add(d.Stored.Run, d.Stored.T0, d.Stored.Integral0)
	}
	for _, p := range d.Points {
		if p.T > left {
			add(p.Run, p.T, p.Integral)
		}
	}
	var sum unit.Millijoules
	var spans [][2]unit.Micros
	for _, r := range series {
		slices.SortFunc(r.marks, func(a, b mark) int { return cmp.Or(cmp.Compare(a.t, b.t), cmp.Compare(a.v, b.v)) })
		spans = append(spans, [2]unit.Micros{r.marks[0].t, r.marks[len(r.marks)-1].t})
		a, err := r.at(from)
		if err != nil {
			return 0, err
		}
		b, err := r.at(to)
		if err != nil {
			return 0, err
		}
		sum += b - a
	}
	slices.SortFunc(spans, func(a, b [2]unit.Micros) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) })
	at := from // up to here all that the counter covers is in a run
	for _, s := range spans {
		if s[0] > at && covered(at, min(s[0], to)) > 0 {
			return record.NoIntegral, nil
		}
		at = max(at, s[1])
	}
	if at < to && covered(at, to) > 0 {
		return record.NoIntegral, nil
	}
	if len(spans) == 0 {
		return record.NoIntegral, nil
	}
	return sum, nil
}

// run is the integral of power in one run of the collector.
type run struct {
	name  string
	marks []mark // in order of time
}

type mark struct {
	t unit.Micros
	v unit.Millijoules
}

// at is the integral at t on the line between the readings around it, held at the outer ones. Of two readings at one instant the
// first counts.
func (r run) at(t unit.Micros) (unit.Millijoules, error) {
	i, exact := slices.BinarySearchFunc(r.marks, t, func(m mark, t unit.Micros) int { return cmp.Compare(m.t, t) })
	switch {
	case exact || i == 0:
		return r.marks[i].v, nil
	case i == len(r.marks):
		return r.marks[i-1].v, nil
	}
	a, b := r.marks[i-1], r.marks[i]
	return window.Value(a.t, b.t, a.v, b.v, t)
}
