package smilog

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// Publisher takes batches off our hands, in order. The batch is ours again on return.
type Publisher interface {
	Publish(ctx context.Context, batch *wl.SampleBatch) error
}

// Replay reads the log again and publishes it. The same log with the same options publishes the same messages.
func (l *Log) Replay(ctx context.Context, to Publisher) (*Summary, error) {
	s, err := l.replay(ctx, to)
	if err != nil {
		return nil, fmt.Errorf("replay %s: %w", l.name, err)
	}
	return s, nil
}

func (l *Log) replay(ctx context.Context, to Publisher) (*Summary, error) {
	if _, last := l.Span(); l.opt.CompleteUpTo != 0 && l.opt.CompleteUpTo < last {
		return nil, fmt.Errorf("it is to be complete up to %s but its last row is at %s; write a later instant, or none",
			iso(l.opt.CompleteUpTo), iso(last))
	}
	if _, err := l.r.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	// A log that is still being written ends where it ended when it was opened.
	file := &counted{r: io.LimitReader(l.r, l.size), hash: sha256.New()}
	scan, track, p := newScanner(file), newTracker(l.opt.Timezone), newPlayer(l, to)
	for n := 0; ; n++ {
		if n%4096 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		r, bad, err := scan.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if bad == nil {
			bad, err = p.play(ctx, track, r)
		}
		if err == nil && bad != nil {
			err = p.refuse(bad)
		}
		if err != nil {
			return nil, err
		}
	}
	if !bytes.Equal(file.hash.Sum(nil), l.digest[:]) {
		return nil, errors.New("the file was changed while it was read; replay it again")
	}
	if err := p.flush(ctx, max(p.complete(), l.opt.CompleteUpTo)); err != nil {
		return nil, err
	}
	return p.summary(track), nil
}

// meterState is one device while it is replayed.
type meterState struct {
	device *device
	index  int // in the device table
	meter  *meter.Device
	values []meter.Value

	energy  energy
	power   int64       // the last power read
	powerAt unit.Micros // and when; 0 before the first
	covered unit.Micros // time that trapezoids span
	gaps    uint64

	tick, energyAt unit.Micros // of the last row in a message
	rows, powered  uint64      // in messages
}

// player turns rows into messages.
type player struct {
	log      *Log
	to       Publisher
	states   []*meterState
	by       map[string]*meterState
	msg      *wl.SampleBatch
	rows     []outRow
	n        int
	refused  map[Reason]uint64
	firstBad *BadRow
	messages uint64
}

// outRow is a row that waits for its message.
type outRow struct {
	tick   unit.Micros
	device int
	row    *meter.Row
}

func newPlayer(l *Log, to Publisher) *player {
	run, boot := l.ids()
	p := &player{
		log: l, to: to, by: map[string]*meterState{}, refused: map[Reason]uint64{}, rows: make([]outRow, l.opt.BatchRows),
		msg: &wl.SampleBatch{
			SchemaVersion: wire.SchemaVersion, Site: l.opt.Site, Node: l.opt.Node, Run: run, BootId: boot,
			DriverVersion: l.devices[0].Driver, PeriodMs: uint32(min(l.period/unit.Millisecond, 1<<32-1)), Source: Source,
		},
	}
	for i, d := range l.devices {
		s := &meterState{device: d, index: i, meter: meter.New(record.EnergyIntegrated, l.slots, l.period), values: make([]meter.Value, len(meter.Fields))}
		p.states = append(p.states, s)
		p.by[d.gpu.key] = s
		p.msg.Devices = append(p.msg.Devices, &wl.DeviceRef{
			Uuid: d.UUID, Kind: wl.DeviceKind(d.Kind), EnergySource: wl.EnergySource(d.Energy),
		})
	}
	return p
}

func (p *player) refuse(b *BadRow) error {
	p.refused[b.Reason]++
	if p.firstBad == nil && b.Reason != ReasonTimeBack {
		p.firstBad = b
	}
	if p.log.opt.Bad == nil {
		return nil
	}
	if err := p.log.opt.Bad(b); err != nil {
		return fmt.Errorf("keep the bad row on line %d: %w", b.Line, err)
	}
	return nil
}

// play takes one readable row. It gives the row back as bad when it has no place.
func (p *player) play(ctx context.Context, track *tracker, r *reading) (*BadRow, error) {
	g, bad := track.find(r)
	if bad != nil {
		return bad, nil
	}
	at, bad := track.instant(g, r)
	if bad != nil {
		return bad, nil
	}
	before := g.last
	where := track.put(g, at, r, r.have[p.log.power])
	s := p.by[g.key]
	if s == nil { // the first pass saw the same rows, unless the file is another one now
		return nil, errors.New("the file was changed while it was read; replay it again")
	}
	if where == placeBack {
		return &BadRow{
			r.line, r.timeAt, ReasonTimeBack,
			fmt.Sprintf("the row is at %s, before the row at %s that is already accounted; time is accounted once, so it is left out", iso(at), iso(before)), r.text,
		}, nil
	}
	s.integrate(at, r, p.log)
	if where == placeSame {
		return nil, nil
	}
	if p.n == len(p.rows) {
		if err := p.flush(ctx, p.complete()); err != nil {
			return nil, err
		}
	}
	p.add(s, at, before, r)
	return nil, nil
}

// integrate adds the trapezoid from the last power to this one. At equal times nothing is added and the later power
// is the one to go on from.
func (s *meterState) integrate(at unit.Micros, r *reading, l *Log) {
	if !r.have[l.power] {
		return
	}
	power := r.value[l.power]
	if s.powerAt > 0 {
		if span := at - s.powerAt; span <= l.maxGap {
			s.energy.add(s.power, power, span)
			s.covered += span
		} else {
			s.gaps++
		}
	}
	s.power, s.powerAt = power, at
}

// add meters a row and keeps it for the message.
func (p *player) add(s *meterState, at, before unit.Micros, r *reading) {
	out := &p.rows[p.n]
	p.n++
	if out.row == nil {
		out.row = meter.NewRow()
	}
	out.tick, out.device = at, s.index
	for _, m := range metered {
		v := meter.Value{}
		if r.have[m.column] {
			raw := r.value[m.column]
			v = meter.Value{At: at, Int: raw, Float: float64(raw) / 1e6}
			if columns[m.column].form == formNumber {
				v.Int = (raw + 500_000) / 1_000_000
			}
		}
		s.values[m.slot] = v
	}
	s.meter.Expect(p.log.ticks(before, at))
	s.meter.Observe(s.values, out.row, meter.Tick)

	// The meter joins power over any distance; here a gap is a gap, and the column is the one asked for.
	out.row.Counters[record.CEnergy], out.row.Counters[record.CPowerIntegral] = record.AbsentCounter, record.AbsentCounter
	out.row.EnergyAt = wire.AbsentTime
	s.tick = at
	s.rows++
	if r.have[p.log.power] {
		mj := s.energy.millijoules()
		out.row.Counters[record.CEnergy], out.row.Counters[record.CPowerIntegral] = mj, mj
		out.row.EnergyAt = uint64(at)
		s.energyAt = at
		s.powered++
	}
}

// ticks is how many rows should have come after the one before, this one included.
func (l *Log) ticks(before, at unit.Micros) uint64 {
	if before == 0 || at-before <= meter.GapPeriods*l.period {
		return 1
	}
	return uint64((at - before) / l.period)
}

// complete is the instant before which no row to come has a bearing: the least, over the devices with rows to come,
// of the last power read, since the next one settles the time in between. Once all rows are out it is the last of them.
func (p *player) complete() unit.Micros {
	var least, newest unit.Micros
	for _, s := range p.states {
		g := s.device.gpu
		newest = max(newest, s.tick)
		var at unit.Micros
		switch {
		case s.rows == g.rows:
			continue // this device has ended
		case s.rows == 0:
			at = g.first
		case s.powered == 0 && g.powered > 0:
			at = g.first // its first power is still to come
		case s.powered < g.powered:
			at = s.energyAt
		default:
			at = s.tick
		}
		if least == 0 || at < least {
			least = at
		}
	}
	if least == 0 {
		return newest
	}
	return least
}

// flush publishes the rows that wait, in the order of (tick, device).
func (p *player) flush(ctx context.Context, complete unit.Micros) error {
	rows := p.rows[:p.n]
	slices.SortFunc(rows, func(a, b outRow) int {
		return cmp.Or(cmp.Compare(a.tick, b.tick), cmp.Compare(a.device, b.device))
	})
	m := p.msg
	m.Device, m.TickUs, m.EnergyTsUs = m.Device[:0], m.TickUs[:0], m.EnergyTsUs[:0]
	for i := range rows {
		m.Device = append(m.Device, uint32(rows[i].device))
		m.TickUs = append(m.TickUs, int64(rows[i].tick))
		m.EnergyTsUs = append(m.EnergyTsUs, rows[i].row.EnergyAt)
	}
	fill(wire.Counters(m), record.Counters, rows, p.log.offers, func(r *meter.Row) []uint64 { return r.Counters })
	fill(wire.Gauges(m), record.Gauges, rows, p.log.offers, func(r *meter.Row) []float32 { return r.Gauges })
	fill(wire.Codes(m), record.Codes, rows, p.log.offers, func(r *meter.Row) []uint32 { return r.Codes })
	m.CompleteUpToUs = int64(complete)
	m.Sequence = p.messages
	if err := wire.ValidateSamples(m); err != nil {
		return fmt.Errorf("message %d: %w", m.Sequence, err)
	}
	if err := p.to.Publish(ctx, m); err != nil {
		return fmt.Errorf("publish message %d: %w", m.Sequence, err)
	}
	p.messages++
	p.n = 0
	return nil
}

// offers says whether any device of the log has the metric.
func (l *Log) offers(m record.Metric) bool {
	slot, ok := meter.SlotOf(m.Field)
	return m.Derivation == record.Ticks || m.Derivation == record.TrapezoidEnergy || m.Field == 156 || (ok && l.slots.Has(slot))
}

// fill lays the rows out in columns.
func fill[T any](columns []*[]T, metrics []record.Metric, rows []outRow, offers func(record.Metric) bool, of func(*meter.Row) []T) {
	for i, c := range columns {
		*c = (*c)[:0]
		if !offers(metrics[i]) {
			continue
		}
		for j := range rows {
			*c = append(*c, of(rows[j].row)[i])
		}
	}
}

func iso(t unit.Micros) string { return t.Time().Format("2006-01-02T15:04:05.000000Z") }
