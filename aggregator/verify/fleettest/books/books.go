// Package books keeps the ledger of a made-up fleet in memory, as the aggregator keeps that of a real one.
//
// It closes hour after hour with what was known by then, and before each closing looks at the earlier hours again and books what
// has changed as adjustments. It is for tests and programs that set a ledger against its recomputation.
package books

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/wattledger/wattledger/aggregator/adjusting"
	"github.com/wattledger/wattledger/aggregator/carbon"
	"github.com/wattledger/wattledger/aggregator/closing"
	"github.com/wattledger/wattledger/aggregator/verify"
	"github.com/wattledger/wattledger/aggregator/verify/fleettest"
	"github.com/wattledger/wattledger/aggregator/window"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Book is a ledger.
type Book struct {
	// Entries are all that was booked, Adjustments how many of them correct others.
	Entries     []record.Entry
	Adjustments int
	// Cuts and DeviceHours are the newest of each hour.
	Cuts        []record.Cut
	DeviceHours []record.DeviceHour
	// Findings are what was wrong with the input, as the last look at each hour found it.
	Findings []closing.Finding

	fleet *fleettest.Fleet
	once  bool
	// read are the readings of each counter in order, work what was counted at each tick: sorted once, looked at in every hour.
	read  map[string][]verify.Sample
	work  map[string]map[unit.Micros]verify.Sample
	hours map[unit.Micros]closing.Result
}

// never is the instant at which all is known.
const never unit.Micros = 1 << 62

func newBook(f *fleettest.Fleet) *Book {
	b := &Book{
		fleet: f, hours: map[unit.Micros]closing.Result{}, read: map[string][]verify.Sample{}, work: map[string]map[unit.Micros]verify.Sample{},
	}
	for _, n := range f.Nodes {
		for uuid, s := range n.Series {
			b.read[uuid], b.work[uuid] = inOrder(s), byTick(s)
		}
	}
	return b
}

// inOrder are the readings of a counter in order of time; deliveries that came twice are there once.
func inOrder(s verify.Series) []verify.Sample {
	var out []verify.Sample
	for _, r := range s.Samples {
		if r.At != verify.Absent {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b verify.Sample) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Energy, b.Energy), cmp.Compare(a.Tick, b.Tick), cmp.Compare(a.Identity, b.Identity))
	})
	return slices.Compact(out)
}

// byTick are the samples in which activity was read.
func byTick(s verify.Series) map[unit.Micros]verify.Sample {
	out := map[unit.Micros]verify.Sample{}
	for _, r := range s.Samples {
		if have, ok := out[r.Tick]; r.Activity != verify.Absent && (!ok || r.Activity < have.Activity) {
			out[r.Tick] = r
		}
	}
	return out
}

// Once closes every hour once, with what was known of devices a quarter of an hour after its end, and all that meters say.
func Once(f *fleettest.Fleet) (*Book, error) {
	b := newBook(f)
	b.once = true
	for h := f.Period().From; h < f.Period().To; h += unit.Hour {
		if err := b.close(h, h+unit.Hour+verify.Lookahead); err != nil {
			return nil, err
		}
	}
	b.gather()
	return b, nil
}

// AllKnown closes every hour once, when all is known.
func AllKnown(f *fleettest.Fleet) (*Book, error) {
	b := newBook(f)
	for h := f.Period().From; h < f.Period().To; h += unit.Hour {
		if err := b.close(h, never); err != nil {
			return nil, err
		}
	}
	b.gather()
	return b, nil
}

// Settled closes every hour as it ends, looks at the earlier ones again each time, and once more when all is known.
func Settled(f *fleettest.Fleet) (*Book, error) {
	b := newBook(f)
	for h := f.Period().From; h < f.Period().To; h += unit.Hour {
		now := h + unit.Hour + verify.Lookahead
		if err := b.again(h, now); err != nil {
			return nil, err
		}
		if err := b.close(h, now); err != nil {
			return nil, err
		}
	}
	if err := b.again(f.Period().To, never); err != nil {
		return nil, err
	}
	b.gather()
	return b, nil
}

func (b *Book) close(h, now unit.Micros) error {
	res, err := closing.Close(b.hour(h, now))
	if err != nil {
		return err
	}
	b.hours[h] = res
	b.Entries = append(b.Entries, res.Entries...)
	return nil
}

// again closes the hours before end anew, in order, and books the differences.
func (b *Book) again(end, now unit.Micros) error {
	for h := b.fleet.Period().From; h < end; h += unit.Hour {
		res, err := closing.Close(b.hour(h, now))
		if err != nil {
			return err
		}
		corrections := adjusting.Adjust(b.booked(h), res.Entries, []adjusting.Cause{{Word: "late_data", About: "of a made-up fleet"}})
		b.hours[h] = res
		b.Entries = append(b.Entries, corrections...)
		b.Adjustments += len(corrections)
	}
	return nil
}

// booked is what the ledger holds of an hour, line by line.
func (b *Book) booked(h unit.Micros) adjusting.Hour {
	out := adjusting.Hour{Root: "made-up"}
	at := map[adjusting.Line]int{}
	name := h.Time().Format(time.RFC3339)
	for i, e := range b.Entries {
		if e.Hour != name {
			continue
		}
		l := adjusting.LineOf(e)
		k, ok := at[l]
		if !ok {
			at[l] = len(out.Lines)
			out.Lines = append(out.Lines, adjusting.Booked{Entry: e, ID: fmt.Sprint(i)})
			continue
		}
		out.Lines[k] = adjusting.Booked{Entry: adjusting.Sum(e, out.Lines[k].Entry), ID: fmt.Sprint(i)}
	}
	return out
}

func (b *Book) gather() {
	for _, h := range slices.Sorted(maps.Keys(b.hours)) {
		b.Cuts = append(b.Cuts, b.hours[h].Cuts...)
		b.DeviceHours = append(b.DeviceHours, b.hours[h].DeviceHours...)
		b.Findings = append(b.Findings, b.hours[h].Findings...)
	}
}

// hour is what closing the hour at h needs, of what is known at an instant.
func (b *Book) hour(h, now unit.Micros) closing.Hour {
	f := b.fleet
	stored := map[string]record.Cut{}
	for _, c := range b.hours[h-unit.Hour].Cuts {
		if have, ok := stored[c.Device]; c.T == h && (!ok || c.Epoch > have.Epoch) {
			stored[c.Device] = c
		}
	}
	hour := closing.Hour{
		Site: f.Site.Site, Start: h, Limits: closing.DefaultLimits(), Factors: carbon.Factors(f.Factors(h, now)), Readings: b.readings(f.Site.Readings, h, now),
	}
	for _, n := range f.Nodes {
		if exists(n.From, n.To, h) {
			hour.Nodes = append(hour.Nodes, closing.Node{
				Node: n.Node, Devices: b.devices(n, h, now, stored), Readings: b.readings(n.Readings, h, now),
			})
		}
	}
	return hour
}

// readings are those around the hour that are known.
func (b *Book) readings(all []record.Reading, h, now unit.Micros) []record.Reading {
	var out []record.Reading
	for _, r := range all {
		if r.To >= h-verify.Around && r.From <= h+unit.Hour+verify.Around && (b.once || b.fleet.Late.Known(r.Meter, r.To) < now) {
			out = append(out, r)
		}
	}
	return out
}

func exists(from, to, hour unit.Micros) bool {
	return from < hour+unit.Hour && (to == 0 || to > hour)
}

func (b *Book) devices(n verify.Node, h, now unit.Micros, stored map[string]record.Cut) []closing.Device {
	var out []closing.Device
	for _, d := range n.Devices {
		if !exists(d.From, d.To, h) {
			continue
		}
		dev := closing.Device{Device: d, Period: n.Series[d.UUID].Interval}
		for _, a := range n.Allocations[d.UUID] {
			if a.Start < h+unit.Hour && b.fleet.Late.Allocations[a.ID] < now {
				dev.Allocations = append(dev.Allocations, a)
			}
		}
		if c, ok := stored[d.UUID]; ok {
			dev.Stored = &c
		}
		gpu := d.UUID
		if d.Kind == record.KindMIG {
			gpu = d.Parent
		}
		if d.Kind != record.KindMIG {
			s := n.Series[d.UUID]
			for _, r := range b.known(d.UUID, h-verify.Lookahead, h+unit.Hour, now) {
				id := s.Identities[r.Identity]
				if d.Energy == record.EnergyIntegrated {
					id.Boot += " " + id.Run // a counter of the collector's own begins anew with each of its runs
				}
				dev.Points = append(dev.Points, window.Point{
					T: r.At, C: r.Energy, Boot: id.Boot, Driver: id.Driver, Run: id.Run, Integral: r.Integral, Seen: r.Seen,
				})
			}
		}
		dev.Work = b.worked(d.UUID, n.Series[d.UUID], b.known(gpu, 0, h+unit.Hour, now))
		out = append(out, dev)
	}
	return out
}

// known are the readings of a counter from an instant on and the first at or after the hour's end, as far as they are known.
func (b *Book) known(device string, from, end, now unit.Micros) []verify.Sample {
	var rows []verify.Sample
	for _, r := range b.read[device] {
		if r.Tick < from || r.Tick >= now || b.fleet.Late.Known(device, r.Tick) >= now {
			continue
		}
		rows = append(rows, r)
		if r.At >= end {
			break
		}
	}
	return rows
}

// worked puts what was counted at a tick at the time stamp of the energy reading of that tick.
func (b *Book) worked(device string, s verify.Series, energy []verify.Sample) []closing.Work {
	var out []closing.Work
	for _, e := range energy {
		r, ok := b.work[device][e.Tick]
		if !ok {
			continue
		}
		w := closing.Work{T: e.At, Run: s.Identities[r.Identity].Run, SMActive: r.Activity, Expected: r.Read, Read: r.Read}
		if n := len(out); n > 0 && out[n-1].T == w.T && out[n-1].Run == w.Run {
			continue
		}
		out = append(out, w)
	}
	return out
}
