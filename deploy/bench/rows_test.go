//go:build bench

package bench

import (
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// gpus is how many a node has.
const gpus = 8

// node plays one node of GPUs under load: power moves by ±20 W and activity by ±1 % from second to second, in the steps the
// sensors have; what is integrated follows from them.
type node struct {
	msg  *wl.SampleBatch
	rng  *rand.Rand
	load [gpus]float64    // 0 to 1
	sums [gpus][]uint64   // counters
	hold [gpus][2]float32 // memory in use, clock: they change when the work does
}

func newNode(seed uint64, index int) *node {
	n := &node{rng: rand.New(rand.NewPCG(seed, uint64(index)))}
	run, boot := make([]byte, wire.RunBytes), make([]byte, wire.RunBytes)
	for i := range run {
		run[i], boot[i] = byte(n.rng.Uint32()), byte(n.rng.Uint32())
	}
	n.msg = &wl.SampleBatch{
		SchemaVersion: 1, Site: "bench", Node: fmt.Sprintf("node-%04d", index), Run: run, BootId: boot, DriverVersion: "580.65.06",
		PeriodMs: 1000, Source: "dcgm",
	}
	for g := range gpus {
		a, b := n.rng.Uint64(), n.rng.Uint64()
		n.msg.Devices = append(n.msg.Devices, &wl.DeviceRef{
			Uuid: fmt.Sprintf("GPU-%08x-%04x-%04x-%04x-%012x", a>>32, a>>16&0xffff, a&0xffff, b>>48, b&(1<<48-1)),
			Kind: wl.DeviceKind_DEVICE_KIND_GPU, EnergySource: wl.EnergySource_ENERGY_SOURCE_HARDWARE,
		})
		n.load[g] = 0.3 + 0.6*n.rng.Float64()
		n.sums[g] = make([]uint64, len(record.Counters))
		for c := range n.sums[g] {
			n.sums[g][c] = n.rng.Uint64N(1 << 36)
		}
		n.work(g)
	}
	return n
}

// work begins anew on a device.
func (n *node) work(g int) {
	n.load[g] = 0.2 + 0.75*n.rng.Float64()
	n.hold[g] = [2]float32{float32(20_000 + n.rng.IntN(150_000)), float32(1200 + 15*n.rng.IntN(50))}
}

// message reads so many ticks, the first at from, and makes a message of them, which lasts until the next call.
func (n *node) message(seq uint64, from, period unit.Micros, ticks int) *wl.SampleBatch {
	m := n.msg
	m.Sequence, m.PeriodMs = seq, uint32(period/unit.Millisecond)
	m.CompleteUpToUs = int64(from) + int64(ticks-1)*int64(period)
	m.Device, m.TickUs, m.EnergyTsUs = m.Device[:0], m.TickUs[:0], m.EnergyTsUs[:0]
	counters, gauges, codes := wire.Counters(m), wire.Gauges(m), wire.Codes(m)
	for _, c := range counters {
		*c = (*c)[:0]
	}
	for _, c := range gauges {
		*c = (*c)[:0]
	}
	for _, c := range codes {
		*c = (*c)[:0]
	}
	seconds := float64(period) / float64(unit.Second)
	for t := range ticks {
		at := from + unit.Micros(t)*period
		for g := range gpus {
			if n.rng.IntN(600) == 0 {
				n.work(g)
			}
			m.Device = append(m.Device, uint32(g))
			m.TickUs = append(m.TickUs, int64(at))
			m.EnergyTsUs = append(m.EnergyTsUs, uint64(at)-stamp(g))
			watts := math.Round(1000*(150+800*n.load[g]+40*n.rng.Float64()-20)) / 1000
			n.count(g, watts, seconds)
			for i, c := range counters {
				*c = append(*c, n.sums[g][i])
			}
			for i, v := range [...]float32{
				float32(watts), float32(watts + math.Round(4*n.rng.Float64()-2)), float32(45 + int(30*n.load[g]) + n.rng.IntN(2)), float32(55 + int(30*n.load[g]) + n.rng.IntN(2)),
				n.hold[g][1], 3996, n.hold[g][0], 183_359 - n.hold[g][0], 1000,
			} {
				*gauges[i] = append(*gauges[i], v)
			}
			for i, v := range [...]uint32{0, 0, 0, 1} {
				*codes[i] = append(*codes[i], v)
			}
		}
	}
	return m
}

// stamp is how much older than the tick the energy counter's own time stamp is, in microseconds.
func stamp(g int) uint64 { return uint64(3000 + 7000*g) }

// count moves the counters of a device by one tick.
func (n *node) count(g int, watts, seconds float64) {
	sums := n.sums[g]
	sums[record.CEnergy] += uint64(1000 * watts * seconds)
	sums[record.CPowerIntegral] += uint64(1000 * (watts + n.rng.Float64() - 0.5) * seconds)
	active := func(share float64) uint64 { // microseconds, of a ratio rounded to 1e-4
		ratio := min(1, max(0, share*n.load[g]+0.02*n.rng.Float64()-0.01))
		return uint64(math.Round(1e4*ratio) * 100 * seconds)
	}
	for i, share := range [...]float64{1, 0.95, 0.6, 0.7, 0.5, 0, 0.1, 0.2} { // gr_engine_active to fp16_active
		if share > 0 {
			sums[record.CGrEngineActive+i] += active(share)
		}
	}
	for i, gigabytes := range [...]float64{4, 6, 120, 120} { // pcie and nvlink
		sums[10+i] += uint64(1e9 * gigabytes * n.load[g] * (0.99 + 0.02*n.rng.Float64()) * seconds)
	}
	for i := range 2 { // gpu_util, mem_copy_util
		sums[14+i] += uint64(math.Round(100*n.load[g]) * 10_000 * seconds)
	}
	if n.rng.IntN(100) == 0 {
		sums[16] += n.rng.Uint64N(1e8) // power_violation_ns
	}
	sums[record.CTicksExpected]++
	sums[record.CTicksRead]++
}

// rowColumn is a column of a row-wise message, as the Kafka engine's table has it.
type rowColumn struct{ name, protobuf, sql string }

// rowColumns are the columns of samples but those that Kafka itself knows.
var rowColumns = func() []rowColumn {
	word := func(name string) rowColumn { return rowColumn{name, "string", "LowCardinality(String)"} }
	out := []rowColumn{
		word("site"), word("node"), word("device"), word("run"),
		{"seq", "uint64", "UInt64"},
		word("boot"), word("driver"),
		{"energy_source", "uint32", "Int8"},
		{"tick", "sfixed64", "Int64"},
		{"energy_ts", "fixed64", "UInt64"},
		{"period_ms", "uint32", "UInt32"},
	}
	for _, m := range record.Counters {
		out = append(out, rowColumn{m.Name, "fixed64", "UInt64"})
	}
	for _, m := range record.Gauges {
		out = append(out, rowColumn{m.Name, "float", "Float32"})
	}
	for _, m := range record.Codes {
		out = append(out, rowColumn{m.Name, "fixed32", "UInt32"})
	}
	return out
}()

// rowSchema is the Protobuf message of a row.
func rowSchema() string {
	var s strings.Builder
	s.WriteString("syntax = \"proto3\";\nmessage Row {\n")
	for i, c := range rowColumns {
		fmt.Fprintf(&s, "  %s %s = %d;\n", c.protobuf, c.name, i+1)
	}
	s.WriteString("}\n")
	return s.String()
}

// rowEncoder writes the rows of a message one by one.
type rowEncoder interface {
	begin()
	word(name, value string)
	integer(name, protobuf string, value uint64)
	float(name string, value float32)
	end()
	bytes() []byte
}

// encodeRows writes all of a message's rows.
func encodeRows(m *wl.SampleBatch, to rowEncoder) []byte {
	run, boot := hex.EncodeToString(m.Run), hex.EncodeToString(m.BootId)
	counters, gauges, codes := wire.Counters(m), wire.Gauges(m), wire.Codes(m)
	for row := range m.TickUs {
		d := m.Devices[m.Device[row]]
		to.begin()
		to.word("site", m.Site)
		to.word("node", m.Node)
		to.word("device", d.Uuid)
		to.word("run", run)
		to.integer("seq", "uint64", m.Sequence)
		to.word("boot", boot)
		to.word("driver", m.DriverVersion)
		to.integer("energy_source", "uint32", uint64(d.EnergySource))
		to.integer("tick", "sfixed64", uint64(m.TickUs[row]))
		to.integer("energy_ts", "fixed64", m.EnergyTsUs[row])
		to.integer("period_ms", "uint32", uint64(m.PeriodMs))
		for i, c := range counters {
			to.integer(record.Counters[i].Name, "fixed64", (*c)[row])
		}
		for i, c := range gauges {
			to.float(record.Gauges[i].Name, (*c)[row])
		}
		for i, c := range codes {
			to.integer(record.Codes[i].Name, "fixed32", uint64((*c)[row]))
		}
		to.end()
	}
	return to.bytes()
}

// protobufRows writes each row with its length before it, as the format Protobuf reads several from one message.
type protobufRows struct {
	row, out []byte
	field    protowire.Number
}

func (p *protobufRows) begin() { p.row, p.field = p.row[:0], 0 }

func (p *protobufRows) tag(t protowire.Type) {
	p.field++
	p.row = protowire.AppendTag(p.row, p.field, t)
}

func (p *protobufRows) word(_, value string) {
	p.tag(protowire.BytesType)
	p.row = protowire.AppendString(p.row, value)
}

func (p *protobufRows) integer(_, protobuf string, value uint64) {
	switch protobuf {
	case "fixed64", "sfixed64":
		p.tag(protowire.Fixed64Type)
		p.row = protowire.AppendFixed64(p.row, value)
	case "fixed32":
		p.tag(protowire.Fixed32Type)
		p.row = protowire.AppendFixed32(p.row, uint32(value))
	default:
		p.tag(protowire.VarintType)
		p.row = protowire.AppendVarint(p.row, value)
	}
}

func (p *protobufRows) float(_ string, value float32) {
	p.tag(protowire.Fixed32Type)
	p.row = protowire.AppendFixed32(p.row, math.Float32bits(value))
}

func (p *protobufRows) end()          { p.out = protowire.AppendBytes(p.out, p.row) }
func (p *protobufRows) bytes() []byte { return p.out }

// jsonRows writes a JSON object a line.
type jsonRows struct {
	out   []byte
	comma bool
}

func (j *jsonRows) begin() { j.out, j.comma = append(j.out, '{'), false }

func (j *jsonRows) name(name string) {
	if j.comma {
		j.out = append(j.out, ',')
	}
	j.comma = true
	j.out = append(append(append(j.out, '"'), name...), '"', ':')
}

func (j *jsonRows) word(name, value string) {
	j.name(name)
	j.out = append(append(append(j.out, '"'), value...), '"')
}

func (j *jsonRows) integer(name, _ string, value uint64) {
	j.name(name)
	j.out = strconv.AppendUint(j.out, value, 10)
}

func (j *jsonRows) float(name string, value float32) {
	j.name(name)
	j.out = strconv.AppendFloat(j.out, float64(value), 'g', -1, 32)
}

func (j *jsonRows) end()          { j.out = append(j.out, '}', '\n') }
func (j *jsonRows) bytes() []byte { return j.out }
