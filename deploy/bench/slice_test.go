//go:build bench

package bench

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// slice is part of a fleet's day as ingest stores it. The simulated libdcgm is not used, as its activities follow from one another
// and stand still for seconds; here every sensor has noise of its own at its own resolution:
//
//   - power ± 20 W in mW, triangular, the mean of a second and the instant apart; ± 2 W at rest,
//   - activities ± 1 % of their level, each on its own, in steps of 1e-4,
//   - rates of PCIe and NVLink ± 1 %, each on its own, to the byte,
//   - temperatures in whole degrees and clocks in steps of 15 MHz, that wander.
//
// Levels are those of jobs of several tenants: training over whole nodes with a step's level a minute and checkpoints, inference with a
// wave and bursts, fine-tuning that comes and goes, and nothing.
type slice struct {
	seed             uint64
	nodes, perNode   int
	seconds          int
	jitter           unit.Micros // of the instants at which DCGM samples, both ways
	partition, count int32       // Kafka partitions, and nodes on each in a whole fleet
}

const sliceDay = int64(1_767_225_600_000_000) // 2026-01-01

const sliceSite = "fr-paris-1"

func nodeName(n int) string { return fmt.Sprintf("gpu-%04d", n) }

// sensors is the state of one device.
type sensors struct {
	r           *rand.Rand
	job         int
	level, heat float64
	until       int
	counters    []uint64
	rest        []uint64 // of each counter, below one unit
	power       uint64   // mW of the last second
	phase       float64  // part of a second by which the energy counter is older than the tick
	clock, fb   float64
	at          int64 // the last instant of DCGM's sampling
}

// jobs are the shapes: how the second's level comes about.
const (
	training = iota
	inference
	tuning
	nothing
)

func (d *sensors) next(second int) {
	switch d.job {
	case training:
		if second >= d.until {
			d.level, d.until = 0.91+0.06*d.r.Float64(), second+60
			if d.r.IntN(15) == 0 { // a checkpoint
				d.level, d.until = 0.25+0.15*d.r.Float64(), second+6+d.r.IntN(14)
			}
		}
	case inference:
		if second >= d.until {
			wave := 0.42 + 0.15*math.Sin(float64(second)/3600)
			d.level, d.until = wave+0.08*(d.r.Float64()-0.5), second+5
			if d.r.IntN(12) == 0 {
				d.level, d.until = d.level+0.18, second+30
			}
		}
	case tuning:
		if second >= d.until {
			d.level, d.until = 0.8+0.1*d.r.Float64(), second+300
			if d.r.IntN(3) == 0 {
				d.level, d.until = 0, second+120
			}
		}
	default:
		d.level = 0
	}
	d.heat += (d.level - d.heat) / 90
}

// shares of a level per job: occupancy, tensor, dram, fp32, fp16; then MB/s of PCIe out and in, NVLink out and in.
var sliceShares = [][9]float64{
	{0.52, 0.56, 0.61, 0.09, 0.07, 2400, 5200, 310000, 305000},
	{0.31, 0.24, 0.72, 0.06, 0.11, 3900, 6100, 64000, 62000},
	{0.40, 0.45, 0.50, 0.12, 0.05, 1500, 2500, 90000, 90000},
	{},
}

// noisy is a value with noise of ± 1 % of it.
func (d *sensors) noisy(v float64) float64 { return v * (1 + 0.01*(2*d.r.Float64()-1)) }

// watts is triangular noise of ± w.
func (d *sensors) watts(w float64) float64 { return w * (d.r.Float64() - d.r.Float64()) }

// add puts value × time into a counter and carries what is left of a unit, as the collector does.
func (d *sensors) add(i int, value float64, span, per uint64) {
	sum := uint64(math.Round(value))*span + d.rest[i]
	d.counters[i] += sum / per
	d.rest[i] = sum % per
}

// columns are the rows of some ticks, in the order in which they arrive.
type columns struct {
	site, node, device, run, boot, driver []string
	source                                []int8
	seq, energyTS                         []uint64
	tick, received                        []time.Time
	period                                []uint32
	partition                             []int32
	offset                                []int64
	counters                              [][]uint64
	gauges                                [][]float32
	codes                                 [][]uint32
}

// play calls put with the rows of each minute.
func (s slice) play(put func(*columns) error) error {
	devices := make([]sensors, s.nodes*s.perNode)
	for i := range devices {
		d := &devices[i]
		d.r = rand.New(rand.NewPCG(s.seed, uint64(i)))
		// Five nodes in ten train, three serve, one tunes, one is empty; one GPU in eight of a serving node is free.
		d.job = []int{training, training, training, training, training, inference, inference, inference, tuning, nothing}[i/s.perNode%10]
		if d.job == inference && i%8 == 7 {
			d.job = nothing
		}
		d.counters, d.rest = make([]uint64, len(record.Counters)), make([]uint64, len(record.Counters))
		for k := range d.counters {
			// Those that the collector integrates from ratios began at 0 and grow by steps of 100 µs while intervals are exact.
			d.counters[k] = d.r.Uint64N(1<<34) * 10_000
		}
		d.counters[record.CTicksExpected], d.counters[record.CTicksRead] = 1_000_000, 1_000_000
		d.phase, d.fb, d.clock, d.at = float64(d.r.IntN(100))/1000, 3, 1965, sliceDay-1_000_000
		if d.job != nothing {
			d.fb = 120 + 50*d.r.Float64()
		}
		d.heat = 0.5
	}
	offsets := make([]int64, s.partition)
	names := rand.New(rand.NewPCG(s.seed, 1<<32))
	uuid := func() string {
		a, b := names.Uint64(), names.Uint64()
		return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", a>>32, a>>16&0xffff, a&0xffff, b>>48, b&0xffffffffffff)
	}
	uuids, runs, boots := make([]string, len(devices)), make([]string, s.nodes), make([]string, s.nodes)
	for i := range uuids {
		uuids[i] = "GPU-" + uuid()
	}
	for n := range runs {
		runs[n], boots[n] = fmt.Sprintf("%016x%016x", names.Uint64(), names.Uint64()), fmt.Sprintf("%016x%016x", names.Uint64(), names.Uint64())
	}
	var c *columns
	for second := range s.seconds {
		if second%60 == 0 {
			c = &columns{counters: make([][]uint64, len(record.Counters)), gauges: make([][]float32, len(record.Gauges)), codes: make([][]uint32, len(record.Codes))}
		}
		tick := sliceDay + int64(second)*1_000_000
		for n := range s.nodes {
			p := n % int(s.partition)
			offsets[p] += int64(s.count) + names.Int64N(7) - 3 // those of the nodes between us
			received := time.UnixMilli(tick/1000 + 20 + names.Int64N(30))
			for g := range s.perNode {
				i := n*s.perNode + g
				c.row(&devices[i], second, tick, s.jitter)
				c.site, c.node = append(c.site, sliceSite), append(c.node, nodeName(n))
				c.device, c.run, c.boot, c.driver = append(c.device, uuids[i]), append(c.run, runs[n]), append(c.boot, boots[n]), append(c.driver, "580.95.05")
				c.source, c.seq, c.period = append(c.source, 1), append(c.seq, uint64(second)), append(c.period, 1000)
				c.tick, c.received = append(c.tick, time.UnixMicro(tick)), append(c.received, received)
				c.partition, c.offset = append(c.partition, int32(p)), append(c.offset, offsets[p])
			}
		}
		if second%60 == 59 || second == s.seconds-1 {
			if err := put(c); err != nil {
				return err
			}
		}
	}
	return nil
}

// row plays one second of one device and appends it.
func (c *columns) row(d *sensors, second int, tick int64, jitter unit.Micros) {
	d.next(second)
	at := tick
	if jitter > 0 {
		at += d.r.Int64N(2*int64(jitter)+1) - int64(jitter)
	}
	span := uint64(at - d.at) // µs that a mean stands for
	d.at = at
	share := sliceShares[d.job]
	ratio := func(level float64) float64 { return math.Round(min(1, d.noisy(level)) * 10_000) }
	on := 0.0
	if d.level > 0 {
		on = 1
	}
	sm, dram, noise := ratio(d.level), ratio(d.level*share[2]), 20.0
	if d.level == 0 {
		noise = 2
	}
	watts := min(1000, 140+0.086*sm*(1+0.03*d.heat)+d.watts(noise))
	before := d.power
	d.power = uint64(math.Round(watts * 1000))
	if second == 0 {
		before = d.power
	}
	d.add(record.CEnergy, float64(d.power)*(1-d.phase)+float64(before)*d.phase, 1, 1) // as of the counter's own time
	d.add(record.CPowerIntegral, float64(before+d.power), span, 2_000_000)
	for k, v := range []float64{ratio((d.level + on) / 2), sm, ratio(d.level * share[0]), ratio(d.level * share[1]), dram, 0, ratio(d.level * share[3]), ratio(d.level * share[4])} {
		d.add(record.CGrEngineActive+k, v, span, 10_000)
	}
	for k := range 4 {
		d.add(10+k, d.noisy(d.level*share[5+k]*1e6), span, 1_000_000)
	}
	d.add(14, math.Round((sm/10_000+on)/2*100), span, 100)
	d.add(15, math.Round(dram/100), span, 100)
	d.add(record.CTicksExpected, 1, 1, 1)
	d.add(record.CTicksRead, 1, 1, 1)
	capped := watts > 985
	if capped {
		d.counters[16] += uint64(d.r.IntN(10)) * 100_000_000 // a tenth of a second each
	}
	if d.r.IntN(200_000) == 0 {
		d.counters[19]++ // a memory error, corrected
	}
	for k, v := range d.counters {
		c.counters[k] = append(c.counters[k], v)
	}
	c.energyTS = append(c.energyTS, uint64(at-int64(d.phase*1e6)))
	temp := math.Round(29 + 38*d.heat + d.watts(0.7))
	switch {
	case on == 0:
		d.clock = 120
	case capped:
		d.clock = 1965 - 15*float64(d.r.IntN(6))
	default:
		d.clock = 1965
	}
	if d.job == inference && second%5 == 0 {
		d.fb += d.watts(0.3) // the cache of requests
	}
	used := math.Round(d.fb * 1024)
	for k, v := range []float64{
		watts, watts + d.watts(noise), temp, temp + 5 + math.Round(d.watts(0.7)), d.clock, 3996, used, 183359 - used, 1000,
	} {
		c.gauges[k] = append(c.gauges[k], float32(math.Round(v*1000)/1000))
	}
	reasons := uint32(0)
	switch {
	case on == 0:
		reasons = 1
	case capped:
		reasons = 4
	}
	for k, v := range []uint32{reasons, 0, 0, 0} {
		c.codes[k] = append(c.codes[k], v)
	}
}

// into appends the columns to a batch in the order of the table samples.
func (c *columns) into(b driver.Batch) error {
	data := []any{c.site, c.node, c.device, c.run, c.seq, c.boot, c.driver, c.source, c.tick, c.energyTS, c.period, c.received, c.partition, c.offset}
	for _, v := range c.counters {
		data = append(data, v)
	}
	for _, v := range c.gauges {
		data = append(data, v)
	}
	for _, v := range c.codes {
		data = append(data, v)
	}
	for i, v := range data {
		if err := b.Column(i).Append(v); err != nil {
			return fmt.Errorf("column %d: %w", i, err)
		}
	}
	return b.Send()
}
