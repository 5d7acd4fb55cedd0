package fleet

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/wattledger/wattledger/schemas/unit"
)

const (
	// minDutyValues is how many values a container must have to lend its series: four hours of minutes.
	minDutyValues = 240
	// maxDutySteps bounds a series: two weeks of minutes.
	maxDutySteps = 20_160
)

// duty is utilisation for pods: series of containers, or nothing, and then constants.
type duty struct {
	step   int64 // seconds
	values [][]float32
	taken  []bool // series that a load names
	sum    [sha256.Size]byte
}

// dutyPoint is one value of a container, in hundredths of a per cent.
type dutyPoint struct {
	second int64
	value  int32
}

// readDuty reads duty cycles by container: value (0 to 100), timestamp_anon (seconds) and container_ip. Containers with enough
// values give one series each on a common grid, whose step is the most frequent distance between two values; a gap repeats the
// value before it. Of too many containers a hash chooses.
func readDuty(opts OpenBOptions, rep *OpenBReport) (*duty, error) {
	d := &duty{}
	if opts.Duty == nil {
		return d, nil
	}
	points := map[string][]dutyPoint{}
	bad, sum, err := readTable(opts.DutyName, opts.Duty, []string{"value", "timestamp_anon", "container_ip"}, func(r *tableRow) {
		v, err := strconv.ParseFloat(r.values[0], 64)
		if err != nil || !(v >= 0 && v <= 100) {
			r.refuse(0, "value is %s; write a per cent from 0 to 100", shown(r.values[0]))
		}
		t, err := strconv.ParseFloat(r.values[1], 64)
		if err != nil || !(t >= 0 && t <= maxOpenBSecond) {
			r.refuse(1, "timestamp_anon is %s; write seconds from 0 to %d", shown(r.values[1]), int64(maxOpenBSecond))
		}
		id := r.name(2)
		if r.first == nil {
			points[id] = append(points[id], dutyPoint{int64(t), int32(math.Round(v * 100))})
		}
	})
	rep.Bad = append(rep.Bad, bad...)
	if err != nil {
		return nil, err
	}
	d.sum = sum
	var ids []string
	first, last := int64(math.MaxInt64), int64(0)
	for id, p := range points {
		if len(p) < minDutyValues {
			continue
		}
		ids = append(ids, id)
		slices.SortStableFunc(p, func(a, b dutyPoint) int { return cmp.Compare(a.second, b.second) })
		first, last = min(first, p[0].second), max(last, p[len(p)-1].second)
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("%s: no container has %d values: give another file, or none for constant loads", opts.DutyName, minDutyValues)
	}
	rep.Containers = len(ids)
	slices.Sort(ids)
	d.step = dutyStep(ids, points)
	steps := (last-first)/d.step + 1
	if steps > maxDutySteps {
		return nil, fmt.Errorf("%s: %d steps of %d s from first to last value: cut it to %d", opts.DutyName, steps, d.step, maxDutySteps)
	}
	if len(ids) > opts.MaxSeries {
		slices.SortStableFunc(ids, func(a, b string) int {
			return cmp.Compare(openbHash(opts.Seed, "series", a), openbHash(opts.Seed, "series", b))
		})
		ids = ids[:opts.MaxSeries]
		slices.Sort(ids)
	}
	for _, id := range ids {
		d.values = append(d.values, gridDuty(points[id], first, d.step, int(steps)))
	}
	d.taken = make([]bool, len(d.values))
	rep.DutyStep = unit.Micros(d.step) * unit.Second
	return d, nil
}

// dutyStep is the most frequent distance between two values of a container, the smallest of equals.
func dutyStep(ids []string, points map[string][]dutyPoint) int64 {
	count := map[int64]int{}
	for _, id := range ids {
		p := points[id]
		for i := 1; i < len(p); i++ {
			if by := p[i].second - p[i-1].second; by > 0 {
				count[by]++
			}
		}
	}
	best := int64(60)
	for by, n := range count {
		if n > count[best] || n == count[best] && by < best {
			best = by
		}
	}
	return best
}

// gridDuty lays values on a grid. Several values in a step give their mean; before the first value the first one holds.
func gridDuty(p []dutyPoint, first, step int64, steps int) []float32 {
	out := make([]float32, steps)
	held, at := p[0].value, 0
	for i := range out {
		sum, n := int64(0), int64(0)
		for ; at < len(p) && (p[at].second-first)/step <= int64(i); at++ {
			sum += int64(p[at].value)
			n++
		}
		if n > 0 {
			held = int32(sum / n)
		}
		out[i] = float32(held) / 10_000
	}
	return out
}

// kind is what a pod does: its series by hash, or a constant by hash where there are no series.
func (d *duty) kind(seed uint64, pod string) string {
	h := openbHash(seed, "load", pod)
	if len(d.values) == 0 {
		return fmt.Sprintf("const:0.%02d", 5+h%91)
	}
	i := int(h % uint64(len(d.values)))
	d.taken[i] = true
	return "loop:" + dutyName(i)
}

func dutyName(i int) string { return fmt.Sprintf("duty-%03d", i) }

// used are the series that loads name, from the play's start on.
func (d *duty) used(start unit.Micros) []Series {
	var out []Series
	for i, v := range d.values {
		if d.taken[i] {
			out = append(out, Series{Name: dutyName(i), Start: start, Step: unit.Micros(d.step) * unit.Second, Values: v})
		}
	}
	return out
}
