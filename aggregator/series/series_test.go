package series_test

import (
	"cmp"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/aggregator/closing"
	"github.com/wattledger/wattledger/aggregator/series"
	"github.com/wattledger/wattledger/aggregator/window"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

const (
	second = unit.Second
	start  = 500_000 * unit.Hour
	end    = start + unit.Hour
)

// sample is a row as it was stored.
type sample struct {
	v  [series.Columns]int64
	id series.Identity
}

// play is a device's random life: it counts, stands still, falls, is rebooted, loses its clock, is read twice or late or not at all.
func play(t *rapid.T, source record.EnergySource, from unit.Micros) []sample {
	rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
	chance := func(oneIn int) bool { return rng.IntN(oneIn) == 0 }
	id := series.Identity{Run: "run", Boot: "boot", Driver: "580", Source: source, Period: 30 * second, Epoch: 0}
	v := [series.Columns]int64{series.Energy: rng.Int64N(1 << 30), series.Integral: rng.Int64N(1 << 30)}
	wild := rapid.SampledFrom([]int{4, 20, 1000}).Draw(t, "wild")
	var out []sample
	for tick := from; tick < end+5*60*second; tick += 30 * second {
		v[series.Tick] = int64(tick)
		v[series.At] = int64(tick) - rng.Int64N(30_000)
		v[series.Energy] += rng.Int64N(20_000_000)
		v[series.Integral] += rng.Int64N(20_000_000)
		v[series.Active] += rng.Int64N(30_000_000)
		v[series.Expected]++
		v[series.Read]++
		if chance(wild) {
			switch rng.IntN(12) {
			case 0:
				v[series.Energy] = rng.Int64N(1000)
			case 1:
				v[series.Energy] += 100_000_000_000
			case 2:
				id.Boot += "x"
			case 3:
				id.Driver = string(rune('a' + rng.IntN(3)))
			case 4:
				id.Run, v[series.Integral], v[series.Active], v[series.Expected], v[series.Read] = string(rune('a'+rng.IntN(20))), 0, 0, 0, 0
			case 5:
				id.Epoch = []int64{series.Absent, 0, 1, 2}[rng.IntN(4)]
			case 6:
				v[series.At] += []int64{-120_000_000, -30_000_000, 30_000_000, 0}[rng.IntN(4)]
			case 7:
				tick += unit.Micros(rng.Int64N(10)) * 30 * second
				continue
			case 8: // the counter's clock stands still
				if len(out) > 0 {
					v[series.At] = out[len(out)-1].v[series.At]
					if chance(2) {
						v[series.Energy] = out[len(out)-1].v[series.Energy]
					}
				}
			}
		}
		row := sample{v, id}
		if chance(wild) {
			row.v[[]int{series.Integral, series.Active, series.At, series.Energy}[rng.IntN(4)]] = series.Absent
		}
		if source == record.EnergyNone {
			row.v[series.At], row.v[series.Energy] = series.Absent, series.Absent
		}
		for range 1 + max(0, 2-rng.IntN(20)) {
			out = append(out, row)
		}
		if chance(wild) { // another reading of the same tick
			row.v[series.Energy]++
			out = append(out, row)
		}
	}
	return out
}

// load puts rows into columns, in pieces that are in order as parts of a table are, and sorts them.
func load(t *rapid.T, w *series.Workspace, rows []sample) series.Sorted {
	rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "storage"), 2))
	parts := make([][]sample, 1+rng.IntN(4))
	for _, r := range rows {
		p := rng.IntN(len(parts))
		parts[p] = append(parts[p], r)
	}
	var all series.Rows
	var ids []series.Identity
	var spans []series.Span
	rows = nil
	for _, p := range parts {
		slices.SortStableFunc(p, func(a, b sample) int { return cmp.Compare(a.v[series.Tick], b.v[series.Tick]) })
		if len(p) > 0 {
			spans = append(spans, series.Span{From: len(rows), To: len(rows) + len(p)})
		}
		rows = append(rows, p...)
	}
	rng.Shuffle(len(spans), func(i, j int) { spans[i], spans[j] = spans[j], spans[i] })
	all.Resize(len(rows))
	for i, r := range rows {
		for c := range r.v {
			all.Cols[c][i] = r.v[c]
		}
		k := slices.Index(ids, r.id)
		if k < 0 {
			k, ids = len(ids), append(ids, r.id)
		}
		all.Who[i] = int32(k)
	}
	return w.Sort(&all, spans, ids)
}

// everything is what closing would be handed if nothing were left out.
func everything(rows []sample, from unit.Micros, instance bool) ([]window.Point, []int64, []closing.Work) {
	type reading struct {
		window.Point
		tick int64
		work closing.Work
	}
	var list []reading
	delivered := map[sample]bool{}
	for _, r := range rows {
		if delivered[r] {
			continue // a reading at which a clock stepped would count as often as it came
		}
		delivered[r] = true
		at, c, boot := r.v[series.At], r.v[series.Energy], r.id.Boot
		if r.id.Source == record.EnergyNone {
			at, c = r.v[series.Tick], 0
		}
		if r.v[series.Tick] < int64(from) || at == series.Absent || c == series.Absent {
			continue
		}
		if r.id.Source == record.EnergyIntegrated {
			boot += " " + r.id.Run
		}
		list = append(list, reading{
			window.Point{T: unit.Micros(at), C: unit.Millijoules(c), Boot: boot, Driver: r.id.Driver, Run: r.id.Run, Integral: unit.Millijoules(r.v[series.Integral]), Seen: r.id.Epoch},
			r.v[series.Tick],
			closing.Work{T: unit.Micros(at), Run: r.id.Run, SMActive: unit.Micros(r.v[series.Active]), Expected: r.v[series.Expected], Read: r.v[series.Read]},
		})
	}
	slices.SortFunc(list, func(a, b reading) int {
		return cmp.Or(cmp.Compare(a.T, b.T), cmp.Compare(a.Boot, b.Boot), cmp.Compare(a.Driver, b.Driver), cmp.Compare(a.C, b.C), cmp.Compare(a.Integral, b.Integral),
			cmp.Compare(a.Run, b.Run), cmp.Compare(a.Seen, b.Seen), cmp.Compare(a.tick, b.tick), cmp.Compare(a.work.SMActive, b.work.SMActive))
	})
	var points []window.Point
	var ticks []int64
	var work []closing.Work
	for _, r := range list {
		if n := len(points); n > 0 && points[n-1].T >= end && !instance {
			break
		}
		points, ticks = append(points, r.Point), append(ticks, r.tick)
		if r.work.SMActive >= 0 {
			work = append(work, r.work)
		}
	}
	return points, ticks, work
}

func edges(t *rapid.T) (list []unit.Micros, allocations []record.Allocation) {
	list = []unit.Micros{start, end}
	at := start - 60*second
	for i := range rapid.IntRange(0, 5).Draw(t, "holders") {
		a := record.Allocation{ID: string(rune('a' + i)), Tenant: "t", Share: unit.Thousandths(rapid.SampledFrom([]int64{1000, 333}).Draw(t, "share"))}
		a.Start = at + unit.Micros(rapid.Int64Range(0, 700).Draw(t, "gap"))*second
		a.End = a.Start + unit.Micros(rapid.Int64Range(1, 1200).Draw(t, "length"))*second
		at = a.End
		allocations, list = append(allocations, a), append(list, a.Start, a.End)
	}
	slices.Sort(list)
	return list, allocations
}

func stored(t *rapid.T) *record.Cut {
	if !rapid.Bool().Draw(t, "stored") {
		return nil
	}
	c := &record.Cut{T: start, T0: start - 15*second, C0: 1 << 20, C: 1<<20 + 1000, T1: start + 15*second, C1: 1<<20 + 9000, Epoch: start - unit.Hour, Boot: "boot", Driver: "580", Run: "run", Integral0: 5}
	c.Low, c.High = c.C, c.C
	if rapid.Bool().Draw(t, "open") {
		c.Open, c.T1, c.C1, c.C = true, 0, 0, c.C0
		c.Low, c.High = c.C, c.C
	}
	return c
}

// Closing makes of what is kept exactly what it makes of everything.
func TestKeptCloseAsAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		source := rapid.SampledFrom([]record.EnergySource{record.EnergyHardware, record.EnergyIntegrated}).Draw(t, "source")
		cut := stored(t)
		from := start - 10*60*second
		if cut != nil {
			from = start
		}
		rows := play(t, source, start-15*60*second)
		list, allocations := edges(t)
		var w series.Workspace
		limit := rapid.SampledFrom([]unit.Milliwatts{0, 1_000_000}).Draw(t, "limit")
		kept := load(t, &w, rows).Keep(series.Purpose{From: from, End: end, Stored: cut, Limit: limit, Edges: list})
		points, _, work := everything(rows, from, false)
		device := closing.Device{
			Device: record.Device{UUID: "GPU", Kind: record.KindGPU, LimitMilliwatts: limit, Energy: source}, Stored: cut, Period: 30 * second, Allocations: allocations,
		}
		same(t, device, points, work, kept)
		if n := len(kept.Points); len(rows) > 0 && n > len(points) {
			t.Fatalf("%d points kept of %d", n, len(points))
		}
	})
}

func same(t *rapid.T, d closing.Device, points []window.Point, work []closing.Work, kept series.Kept) {
	t.Helper()
	closed := func(points []window.Point, work []closing.Work, packed *closing.Packed) closing.Result {
		d.Points, d.Work, d.Packed = points, work, packed
		res, err := closing.Close(hour(d))
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	want := closed(points, work, nil)
	for what, got := range map[string]closing.Result{
		"kept": closed(kept.Points, kept.Work, nil), "packed": closed(nil, nil, closing.Pack(kept.Points, kept.Work)),
	} {
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%s:\ngot  %+v\nwant %+v\nof %d points %d, of %d works %d", what, got, want, len(points), len(kept.Points), len(work), len(kept.Work))
		}
	}
}

func hour(devices ...closing.Device) closing.Hour {
	return closing.Hour{
		Site: record.Site{ID: "s", PUEThousandths: 1200}, Start: start,
		Nodes: []closing.Node{{Node: record.Node{ID: "n", RestMilliwatts: 900_000}, Devices: devices}},
	}
}

// The digest is of what was read: repeats and the order of storage do not change it, any value does.
func TestTheLeafDependsOnContent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := play(t, record.EnergyHardware, start)
		leaf := func(rows []sample) [32]byte {
			var w series.Workspace
			s := load(t, &w, rows)
			return s.Leaf("GPU", s.Within(start, end))
		}
		want := leaf(rows)
		if leaf(append(slices.Clone(rows), rows[:len(rows)/2]...)) != want {
			t.Fatal("repeats changed the digest")
		}
		inside := slices.IndexFunc(rows, func(r sample) bool { return r.v[series.Tick] < int64(end) })
		if inside < 0 {
			return
		}
		changed := slices.Clone(rows)
		was := changed[inside]
		for i := range changed { // every delivery of it
			if changed[i] == was {
				changed[i].v[rapid.IntRange(1, series.Columns-1).Draw(t, "column")]++
			}
		}
		if leaf(changed) == want {
			t.Fatal("another value has the same digest")
		}
	})
}

func TestSortPutsEachSampleOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := play(t, record.EnergyHardware, start)
		var w series.Workspace
		s := load(t, &w, rows)
		want := slices.Clone(rows)
		slices.SortFunc(want, func(a, b sample) int {
			return cmp.Or(slices.Compare(a.v[:], b.v[:]), cmp.Compare(a.id.Run, b.id.Run), cmp.Compare(a.id.Boot, b.id.Boot), cmp.Compare(a.id.Driver, b.id.Driver), cmp.Compare(a.id.Epoch, b.id.Epoch))
		})
		want = slices.Compact(want)
		if s.Len() != len(want) {
			t.Fatalf("%d samples, want %d", s.Len(), len(want))
		}
		for i, r := range want {
			for c := range r.v {
				if s.Cols[c][i] != r.v[c] {
					t.Fatalf("column %d of sample %d is %d, want %d", c, i, s.Cols[c][i], r.v[c])
				}
			}
		}
	})
}
