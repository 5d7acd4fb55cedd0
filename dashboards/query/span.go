package query

import (
	"maps"
	"slices"
	"time"
)

const (
	day         = 24 * time.Hour
	maxSpan     = 3700 * day
	mostPoints  = 11_000
	usualPoints = 1_000
	wholePoints = 100
)

// steps are the times that two points can be apart. Each is a multiple of the width of the level it is read from, and from a day on it
// begins at midnight of the span's zone.
var steps = []time.Duration{
	time.Second, 2 * time.Second, 5 * time.Second,
	10 * time.Second, 20 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
	day, 7 * day,
}

// shortRaw is the longest range in which single samples are read where nothing limits the devices.
const shortRaw = 15 * time.Minute

// checked fills in what is left open, and refuses what is no range.
func (s Span) checked() (Span, error) {
	if s.From.IsZero() || s.To.IsZero() || !s.From.Before(s.To) {
		return s, refuse(ReasonSpan, "the range %s to %s is empty: it must end after it begins", stamp(s.From), stamp(s.To))
	}
	if s.To.Sub(s.From) > maxSpan || s.From.Year() < 1971 || s.To.Year() > 2105 {
		return s, refuse(ReasonSpan, "the range %s to %s is too long: ten years at most, between 1971 and 2105", stamp(s.From), stamp(s.To))
	}
	if s.MaxPoints <= 0 {
		s.MaxPoints = usualPoints
	}
	s.MaxPoints = min(s.MaxPoints, mostPoints)
	if s.Zone == nil {
		s.Zone = time.UTC
	}
	return s, nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// step is the smallest of the steps, from least on, by which there are no more points than MaxPoints, and none closer than Interval.
// Beyond the largest it goes on in whole weeks.
func (s Span) step(least time.Duration) time.Duration {
	length := s.To.Sub(s.From)
	need := max(length/time.Duration(s.MaxPoints), s.Interval, least)
	for _, step := range steps {
		if step >= need && slots(length, step) <= s.MaxPoints {
			return step
		}
	}
	const week = 7 * day
	n := max(int64((need+week-1)/week), 1)
	for slots(length, time.Duration(n)*week) > s.MaxPoints && s.MaxPoints > 1 {
		n++
	}
	return time.Duration(n) * week
}

// whole is the span of a figure over all of it, which the width of a panel must not move. What is read then begins with the bucket that the
// range begins in, which is before it by a hundredth of its length at most.
func (s Span) whole() Span {
	s.MaxPoints, s.Interval = wholePoints, 0
	return s
}

// slots is how many slots a range of that length can touch.
func slots(length, step time.Duration) int { return int((length + step - 1) / step) }

// Grid is where the slots of a series begin. Under a day they lie on multiples of the step since 1970, from a day on at midnight of a
// zone, so that one may be 23 or 25 hours long.
type Grid struct {
	Step time.Duration
	// Starts are the begins of the slots that the range touches, in seconds since 1970, rising.
	Starts []int64
	zone   *time.Location
}

func (s Span) grid(step time.Duration) Grid {
	g := Grid{Step: step, zone: s.Zone}
	if step < day {
		width := int64(step / time.Second)
		for t := floor(s.From.Unix(), width); t < ceil(s.To); t += width {
			g.Starts = append(g.Starts, t)
		}
		return g
	}
	days := int(step / day)
	from := s.From.In(s.Zone)
	d := time.Date(from.Year(), from.Month(), from.Day(), 0, 0, 0, 0, s.Zone)
	if days%7 == 0 { // weeks begin on Monday
		d = d.AddDate(0, 0, -(int(d.Weekday())+6)%7)
	}
	for d.After(s.From) { // midnight that does not exist or exists twice
		d = d.AddDate(0, 0, -1)
	}
	for d.Before(s.To) {
		g.Starts = append(g.Starts, d.Unix())
		d = time.Date(d.Year(), d.Month(), d.Day()+days, 0, 0, 0, 0, s.Zone)
	}
	return g
}

// From is the begin of the first slot.
func (g Grid) from() int64 { return g.Starts[0] }

// slot is the begin of the slot that a moment lies in; seconds is an expression of whole seconds since 1970.
func (g Grid) slot(a *args, seconds string) string {
	if g.Step < day {
		width := a.whole(int64(g.Step / time.Second))
		return "intDiv(" + seconds + ", " + width + ") * " + width
	}
	// What lies before all bounds roundDown puts into the first: one more keeps it out of the range.
	before := g.Starts[0] - int64(g.Step/time.Second)
	return "roundDown(toInt64(" + seconds + "), " + a.wholes(append([]int64{before}, g.Starts...)) + ")"
}

func floor(t, step int64) int64 { return t - ((t%step)+step)%step }

// ceil is the first whole second at or after t.
func ceil(t time.Time) int64 {
	n := t.Unix()
	if t.Nanosecond() > 0 {
		n++
	}
	return n
}

// level is a table of the telemetry by time.
type level struct {
	name   string
	width  int64 // seconds; 1 of samples
	coarse string
}

// levels from the finest on. The first is samples.
var levels = []level{
	{"samples", 1, "toStartOfHour"},
	{"10s", 10, "toStartOfHour"},
	{"1m", 60, "toStartOfDay"},
	{"1h", 3600, "toStartOfMonth"},
}

// Kept is for how long levels are kept; 0 is for ever. What is older is read from a coarser level.
type Kept struct{ Samples, S10, M1, H1 time.Duration }

func (k Kept) of(l int) time.Duration { return []time.Duration{k.Samples, k.S10, k.M1, k.H1}[l] }

// reach is the coarsest level that has points as close as step, or the finest that still has the begin of the range.
func (k Kept) reach(step time.Duration, from, now time.Time, finest int) (int, time.Duration) {
	at := finest
	for l := finest; l < len(levels); l++ {
		if time.Duration(levels[l].width)*time.Second <= step {
			at = l
		}
	}
	for at < len(levels)-1 && k.of(at) > 0 && from.Before(now.Add(-k.of(at))) {
		at++
	}
	return at, max(step, time.Duration(levels[at].width)*time.Second)
}

// segment is a stretch of time read from one level, in seconds since 1970.
type segment struct {
	level    int
	from, to int64
}

// segments cover [from, to) by the level as far as it is complete, and what is later by finer ones. of is what the names of the levels begin
// with: nothing for those of devices, node_ for the sums of nodes.
func (s State) segments(of string, at int, from, to int64) []segment {
	var out []segment
	for l := at; l > 0 && from < to; l-- {
		st, ok := s.Levels[of+levels[l].name]
		if !ok {
			continue
		}
		end := min(floor(st.Complete.Unix(), levels[l].width), to)
		if end > from {
			out = append(out, segment{l, from, end})
			from = end
		}
	}
	if from < to {
		out = append(out, segment{0, from, to})
	}
	return out
}

// Fill spreads points over the grid: each slot between the first and the last of the range has a time, and what was not known is Absent. Where
// points lie further apart as a rule, as those of a slow collector do, a time stands between two of them only where one is missing.
func (g Grid) Fill(times []int64, values []float64) ([]time.Time, []float64) {
	n := min(len(times), len(values))
	known := make(map[int64]float64, n)
	for i := range n {
		known[times[i]] = values[i]
	}
	sorted := slices.Sorted(maps.Keys(known))
	usual := 1
	if len(sorted) > 2 {
		index := make(map[int64]int, len(g.Starts))
		for i, t := range g.Starts {
			index[t] = i
		}
		var apart []int
		for i := 1; i < len(sorted); i++ {
			apart = append(apart, index[sorted[i]]-index[sorted[i-1]])
		}
		slices.Sort(apart)
		usual = max(apart[(len(apart)-1)/2], 1)
	}
	out, vs := make([]time.Time, 0, len(g.Starts)), make([]float64, 0, len(g.Starts))
	missing := 0
	for _, t := range g.Starts {
		v, ok := known[t]
		switch {
		case ok:
			missing = 0
		case usual > 1:
			if missing++; missing != usual {
				continue
			}
			v = Absent
		default:
			v = Absent
		}
		out, vs = append(out, time.Unix(t, 0).UTC()), append(vs, v)
	}
	return out, vs
}
