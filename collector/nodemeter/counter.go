package nodemeter

import (
	"encoding/hex"
	"math"
	"strconv"

	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
)

// maxPower is beyond any node: 10 MW.
const maxPower unit.Milliwatts = 10_000_000_000

// counter makes one meter's values into a counter in mJ. It reads no clock.
type counter struct {
	meter  Meter
	run    [wire.RunBytes]byte
	period unit.Micros

	started bool
	last    Value
	steady  unit.Micros // when last was true, in time that only passes
	total   int64       // mJ, as last read out

	integral meter.Integral
	passed   uint64 // counts of the ranges that the counter went through in this epoch

	number int    // epochs that we had to name ourselves
	epoch  string // of the last reading
	doubt  bool   // the meter's own word for its epochs has been wrong
	anew   bool   // the first reading ends an epoch that the meter had when it was read in another way
}

func newCounter(m Meter, run [wire.RunBytes]byte, period unit.Micros) *counter {
	m.PerMillijoule = max(m.PerMillijoule, 1)
	return &counter{meter: m, run: run, period: period}
}

// replace is the same meter read in another way. The epochs that it has used stay used.
func (c *counter) replace(m Meter) *counter {
	n := newCounter(m, c.run, c.period)
	n.number, n.doubt, n.last, n.total, n.anew = c.number, c.doubt, c.last, c.total, c.started || c.anew
	return n
}

// outcome is what became of a value.
type outcome struct {
	// reading is valid when why is empty.
	reading record.Reading
	why     Reason
	// ended is why an epoch ended with this reading; empty when it goes on. before is its last reading.
	ended  Reason
	before int64
	// wrapped says that the counter went through its range, backwards that the value's time did not rise.
	wrapped, backwards bool
}

// observe takes a value that was true at steady.
func (c *counter) observe(v Value, steady unit.Micros) outcome {
	switch {
	case v.At <= 0 && v.Why == "":
		return outcome{why: Missing}
	case v.At <= 0:
		return outcome{why: v.Why}
	case c.started && v.At == c.last.At:
		return outcome{why: Stale}
	case !c.meter.Counter && (v.Power < 0 || v.Power > maxPower), c.meter.Counter && v.Count > math.MaxInt64:
		return outcome{why: Refused}
	}
	first := !c.started
	o := outcome{before: c.total, backwards: c.started && v.At < c.last.At}
	if c.meter.Counter {
		c.count(v, steady, &o)
	} else {
		c.integrate(v, steady, &o)
	}
	if first && c.anew {
		o.ended = Renewed
	}
	c.started, c.anew, c.last, c.steady = true, false, v, steady
	method := record.MethodIntegral
	if c.meter.Counter {
		method = record.MethodCounter
	}
	o.reading = record.Reading{
		Meter: c.meter.Name, Quantity: c.meter.Quantity, Unit: record.ReadingUnits[c.meter.Quantity], From: v.At, To: v.At,
		Value: c.total, Counter: true, Node: c.meter.Node, Method: method, Epoch: c.epoch,
	}
	return o
}

// integrate joins the power to the power before by a trapezoid.
func (c *counter) integrate(v Value, steady unit.Micros, o *outcome) {
	span := steady - c.steady
	switch {
	case !c.started:
		c.begin("")
	case span > meter.GapPeriods*c.period:
		o.ended = Gap
		c.begin("")
	case span <= 0: // an older value than the last: over no time there is no energy
	case !c.integral.Add(uint64(c.last.Power+v.Power), uint64(span)) || c.integral.Whole() > math.MaxInt64:
		o.ended = Refused // a sum no counter can hold: what is in it is lost, and said to be
		c.begin("")
	}
	c.total = int64(c.integral.Whole())
}

// count passes a hardware counter on, unwrapped.
func (c *counter) count(v Value, steady unit.Micros, o *outcome) {
	if !c.started {
		c.begin(v.Epoch)
	} else {
		o.ended, o.wrapped = c.judge(v, steady-c.steady)
	}
	switch {
	case o.ended == Renewed:
		c.begin(v.Epoch)
	case o.ended != "":
		c.doubt = c.doubt || v.Epoch != ""
		c.begin("")
	case o.wrapped:
		c.passed += c.meter.Range
	}
	c.total = int64((c.passed + v.Count) / c.meter.PerMillijoule)
}

// judge compares a counter with the reading before.
func (c *counter) judge(v Value, span unit.Micros) (ended Reason, wrapped bool) {
	if c.meter.Range == 0 && !c.doubt && v.Epoch != "" && v.Epoch != c.last.Epoch {
		return Renewed, false
	}
	most, known := c.most(span)
	fell := v.Count < c.last.Count
	switch {
	case c.meter.Range > 0 && known && most >= c.meter.Range:
		return Unsure, false
	case fell && c.meter.Range > 0 && !known:
		return Unsure, false
	case fell && c.meter.Range > c.last.Count && c.meter.Range-c.last.Count+v.Count <= most:
		return "", true
	case fell:
		return Fell, false
	case known && v.Count-c.last.Count > most:
		return Jumped, false
	default:
		return "", false
	}
}

// most is the largest rise that the limit allows in a span, with a twentieth on top.
func (c *counter) most(span unit.Micros) (counts uint64, known bool) {
	limit := int64(min(c.meter.Limit, maxPower))
	if limit <= 0 {
		return 0, false
	}
	if span <= 0 {
		return 0, true
	}
	counted, err := unit.FloorMulDiv(limit+limit/20, int64(span), 1_000_000)
	if err != nil || uint64(counted) > math.MaxInt64/c.meter.PerMillijoule {
		return math.MaxInt64, true
	}
	return (uint64(counted) + 1) * c.meter.PerMillijoule, true
}

// begin starts an epoch: own is the meter's word for it, which is taken unless it has been wrong.
func (c *counter) begin(own string) {
	c.integral, c.passed = meter.NewEnergyIntegral(), 0
	if own != "" && !c.doubt && c.meter.Range == 0 {
		c.epoch = own
		return
	}
	c.epoch = hex.EncodeToString(c.run[:]) + "-" + strconv.Itoa(c.number)
	c.number++
}
