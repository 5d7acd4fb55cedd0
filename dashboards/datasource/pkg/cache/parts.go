package cache

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wattledger/wattledger/dashboards/query"
)

// part is an answer to a stretch of slots: of each series a value per slot.
type part struct {
	from   int64
	slots  int
	series []series
	about  about
}

// series is one line without its times, which follow from the slots.
type series struct {
	frame  string // its name
	column query.Column
	by     string // what tells it from others
	values []float64
}

// about is what an answer says besides figures.
type about struct {
	times   query.Column // the column of times, without them
	source  string
	notices []string
	asOf    map[string]uint64
}

// parts answers a question of chunks that are kept, chunks that are asked, and the end that moves.
func (c *Cache) parts(ctx context.Context, p plan) ([]query.Frame, error) {
	length, now := p.slots*p.step, c.now()
	held := map[int64]part{}
	var runs [][2]int64 // stretches of chunks that are missing
	for at := p.first; at < p.beyond; at += length {
		if e, ok := c.store.get(p.key(chunk, at), now); ok {
			held[at] = e.part
			continue
		}
		if n := len(runs); n > 0 && runs[n-1][1] == at {
			runs[n-1][1] = at + length
		} else {
			runs = append(runs, [2]int64{at, at + length})
		}
	}
	c.metrics.hits.WithLabelValues(chunk).Add(float64(len(held)))
	asked := make([]part, len(runs)+1)
	group, ctx := errgroup.WithContext(ctx)
	for i, run := range runs {
		c.metrics.misses.WithLabelValues(chunk).Add(float64((run[1] - run[0]) / length))
		group.Go(func() (err error) {
			asked[i], err = c.stretch(ctx, p, run[0], time.Unix(run[1], 0), c.ask)
			return err
		})
	}
	if tail := p.beyond; tail < p.to {
		group.Go(func() (err error) {
			asked[len(runs)], err = c.stretch(ctx, p, tail, p.span.To, c.whole)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for i, run := range runs {
		for at := run[0]; at < run[1]; at += length {
			held[at] = asked[i].cut(at, int(p.slots), p.step)
			c.store.put(p.key(chunk, at), entry{part: held[at]}, p.keptFor(at+length), now)
		}
	}
	var all []part
	for _, at := range slices.Sorted(maps.Keys(held)) {
		all = append(all, held[at])
	}
	if tail := asked[len(runs)]; tail.slots > 0 {
		all = append(all, tail)
	}
	return p.join(all)
}

// stretch asks for some slots.
func (c *Cache) stretch(ctx context.Context, p plan, from int64, to time.Time, ask func(context.Context, question) ([]query.Frame, error)) (part, error) {
	slots := int((ceil(to, p.step) - from) / p.step)
	some := p.question
	some.span = query.Span{From: time.Unix(from, 0).UTC(), To: to.UTC(), MaxPoints: max(slots, 1), Interval: time.Duration(p.step) * time.Second, Zone: p.span.Zone}
	got, err := ask(ctx, some)
	if err != nil {
		return part{}, err
	}
	out := part{from: from, slots: slots}
	firm := 0
	for _, f := range got {
		if len(f.Columns) != 2 || f.Columns[0].Type != query.Time || f.Columns[1].Type != query.Number || f.Step != time.Duration(p.step)*time.Second {
			return part{}, errUnfit
		}
		times, numbers := f.Columns[0], f.Columns[1]
		s := series{frame: f.Name, by: identify(f), values: absent(slots)}
		for i, t := range times.Times {
			at := t.Unix() - from
			if at%p.step != 0 || at < 0 || at/p.step >= int64(slots) {
				return part{}, errUnfit // of another grid
			}
			s.values[at/p.step] = numbers.Numbers[i]
		}
		times.Times, numbers.Numbers = nil, nil
		s.column = numbers
		out.series = append(out.series, s)
		if !numbers.Provisional {
			firm++
		}
		out.about = out.about.and(about{times, f.Source, f.Notices, f.AsOf})
	}
	// Where the largest so many were chosen, those of a part are not those of the whole.
	if len(p.q.By) > 0 && firm >= p.drawn.Limit {
		return part{}, errUnfit
	}
	return out, nil
}

// identify is what tells a series from others.
func identify(f query.Frame) string {
	var b strings.Builder
	b.WriteString(f.Name + "\x00" + f.Columns[1].Name)
	for _, k := range slices.Sorted(maps.Keys(f.Columns[1].Labels)) {
		b.WriteString("\x00" + k + "\x00" + f.Columns[1].Labels[k])
	}
	return b.String()
}

func absent(n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = query.Absent
	}
	return out
}

func (a about) and(b about) about {
	if a.times.Name == "" {
		a.times, a.source = b.times, b.source
	}
	for _, n := range b.notices {
		if !slices.Contains(a.notices, n) {
			a.notices = append(slices.Clone(a.notices), n)
		}
	}
	if b.asOf != nil {
		a.asOf = b.asOf
	}
	return a
}

// cut is a chunk of a part. Its values are its own, so that a chunk that is kept does not keep its neighbours.
func (p part) cut(from int64, slots int, step int64) part {
	out := part{from: from, slots: slots, about: p.about}
	at := int((from - p.from) / step)
	for _, s := range p.series {
		values := slices.Clone(s.values[at : at+slots])
		if !slices.ContainsFunc(values, present) {
			continue
		}
		s.values = values
		out.series = append(out.series, s)
	}
	return out
}

func present(v float64) bool { return !math.IsNaN(v) }

// join makes one answer of parts, in the order in which the engine gives one: the largest mean first, then by name.
func (p plan) join(parts []part) ([]query.Frame, error) {
	slots := int((p.to - p.from) / p.step)
	var all []*series
	index := map[string]*series{}
	var said about
	for _, part := range parts {
		said = said.and(part.about)
		for _, s := range part.series {
			whole := index[s.by]
			if whole == nil {
				made := s
				made.values = absent(slots)
				whole = &made
				index[s.by] = whole
				all = append(all, whole)
			}
			for i, v := range s.values {
				if at := (part.from-p.from)/p.step + int64(i); at >= 0 && at < int64(slots) && present(v) {
					whole.values[at] = v
				}
			}
		}
	}
	all = slices.DeleteFunc(all, func(s *series) bool { return !slices.ContainsFunc(s.values, present) })
	firm := 0
	for _, s := range all {
		if !s.column.Provisional {
			firm++
		}
	}
	if len(p.q.By) > 0 && firm > p.drawn.Limit {
		return nil, errUnfit
	}
	means := make(map[*series]float64, len(all))
	for _, s := range all {
		means[s] = mean(s.values)
	}
	slices.SortStableFunc(all, func(a, b *series) int {
		if a.column.Provisional != b.column.Provisional {
			if a.column.Provisional {
				return 1
			}
			return -1
		}
		if c := cmp.Compare(means[b], means[a]); c != 0 {
			return c
		}
		for _, d := range p.q.By {
			if c := strings.Compare(a.column.Labels[string(d)], b.column.Labels[string(d)]); c != 0 {
				return c
			}
		}
		return strings.Compare(a.by, b.by)
	})
	grid := query.Grid{Step: time.Duration(p.step) * time.Second, Starts: make([]int64, slots)}
	for i := range grid.Starts {
		grid.Starts[i] = p.from + int64(i)*p.step
	}
	out := make([]query.Frame, len(all))
	for i, s := range all {
		t, n := said.times, s.column
		t.Times, n.Numbers = fill(grid, s.values)
		out[i] = query.Frame{Name: s.frame, Columns: []query.Column{t, n}, Source: said.source, Step: grid.Step, AsOf: said.asOf}
		if i == 0 {
			out[i].Notices = said.notices
		}
	}
	return out, nil
}

// fill gives the points of a series the times and gaps that the engine gives them: where readings lie further apart than slots, those
// between two are no gaps.
func fill(g query.Grid, values []float64) ([]time.Time, []float64) {
	var at []int64
	var known []float64
	for i, v := range values {
		if present(v) {
			at, known = append(at, g.Starts[i]), append(known, v)
		}
	}
	return g.Fill(at, known)
}

func mean(values []float64) float64 {
	sum, n := 0.0, 0
	for _, v := range values {
		if present(v) {
			sum += v
			n++
		}
	}
	return sum / float64(n)
}
