//go:build bench

package bench

import (
	"encoding/binary"
	"hash/crc32"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/wattledger/wattledger/schemas/unit"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// A fleet's messages are made cheaply, so that the generator takes little from what is measured on the same machine. What
// differs from message to message (names, sequence, ticks) is written anew and goes into the compressed batch as it is; the metrics,
// nine tenths of the bytes, are compressed beforehand. A zstd stream may consist of several frames, and so does this one.

// frames are the metrics of messages of so many ticks: those of one node, message after message.
type frames struct {
	ticks int
	of    []frame
}

type frame struct {
	zstd []byte // the metrics' fields and the end of the record
	size int    // before compression
}

// newFrames plays a node for so many messages.
func newFrames(t testing.TB, messages, ticks int, period unit.Micros) *frames {
	t.Helper()
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	f := &frames{ticks: ticks}
	n := newNode(backlogSeed, 0)
	for seq := range messages {
		m := n.message(uint64(seq), start+unit.Micros(seq*ticks)*period, period, ticks)
		value, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		metrics := onlyMetrics(t, value)
		metrics = append(metrics, 0) // no headers of the record
		f.of = append(f.of, frame{z.EncodeAll(metrics, nil), len(metrics)})
	}
	return f
}

// firstMetric is the number of the first metric's field in SampleBatch.
const firstMetric = 32

// onlyMetrics leaves out the fields below the first metric's.
func onlyMetrics(t testing.TB, value []byte) (out []byte) {
	t.Helper()
	for len(value) > 0 {
		number, _, n := protowire.ConsumeField(value)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		if number >= firstMetric {
			out = append(out, value[:n]...)
		}
		value = value[n:]
	}
	return out
}

// writer makes a node's messages.
type writer struct {
	name []byte
	head []byte // what is the same in each message
	seq  uint64

	fields, batch []byte // reused
}

func newWriter(t testing.TB, index int) *writer {
	t.Helper()
	m := newNode(backlogSeed, index).msg
	m.PeriodMs = 0 // it changes
	head, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return &writer{name: []byte(m.Node), head: head}
}

// next is a Kafka record batch of one message with so many ticks, the last at the given instant.
func (w *writer) next(f frame, ticks int, last, period unit.Micros) []byte {
	first := last - unit.Micros(ticks-1)*period
	b := append(w.fields[:0], w.head...)
	field := func(name protoreflect.Name, t protowire.Type) { b = protowire.AppendTag(b, fieldNumber(name), t) }
	field("sequence", protowire.VarintType)
	b = protowire.AppendVarint(b, w.seq)
	field("complete_up_to_us", protowire.Fixed64Type)
	b = protowire.AppendFixed64(b, uint64(last))
	field("period_ms", protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(period/unit.Millisecond))
	column := func(name protoreflect.Name, size int, value func(tick unit.Micros, gpu int)) {
		field(name, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(size*ticks*gpus))
		for t := range ticks {
			for g := range gpus {
				value(first+unit.Micros(t)*period, g)
			}
		}
	}
	column("device", 4, func(_ unit.Micros, g int) { b = protowire.AppendFixed32(b, uint32(g)) })
	column("tick_us", 8, func(at unit.Micros, _ int) { b = protowire.AppendFixed64(b, uint64(at)) })
	column("energy_ts_us", 8, func(at unit.Micros, g int) { b = protowire.AppendFixed64(b, uint64(at)-stamp(g)) })
	w.fields = b
	w.seq++
	return w.record(f)
}

// record puts the fields and the frame into a batch of one record (Kafka protocol, record batch version 2).
func (w *writer) record(f frame) []byte {
	value := len(w.fields) + f.size - 1
	var r []byte
	r = append(r, 0, 0, 0) // attributes, time and offset less the batch's
	r = binary.AppendVarint(r, int64(len(w.name)))
	r = append(r, w.name...)
	r = binary.AppendVarint(r, int64(value))
	length := binary.AppendVarint(nil, int64(len(r)+value+1))

	now := uint64(time.Now().UnixMilli())
	b := append(w.batch[:0], make([]byte, 21)...) // base offset, length, leader epoch, magic, crc
	b[16] = 2
	b = binary.BigEndian.AppendUint16(b, 4)          // zstd
	b = binary.BigEndian.AppendUint32(b, 0)          // offset of the last record less the first
	b = binary.BigEndian.AppendUint64(b, now)        // first time
	b = binary.BigEndian.AppendUint64(b, now)        // last time
	b = binary.BigEndian.AppendUint64(b, ^uint64(0)) // no idempotent producer
	b = binary.BigEndian.AppendUint16(b, ^uint16(0))
	b = binary.BigEndian.AppendUint32(b, ^uint32(0))
	b = binary.BigEndian.AppendUint32(b, 1) // records

	// A frame of one raw block (RFC 8878): magic, a single segment whose size takes 4 bytes, size, block header.
	raw := len(length) + len(r) + len(w.fields)
	b = append(b, 0x28, 0xb5, 0x2f, 0xfd, 0xa0)
	b = binary.LittleEndian.AppendUint32(b, uint32(raw))
	block := uint32(raw)<<3 | 1
	b = append(b, byte(block), byte(block>>8), byte(block>>16))
	b = append(append(append(b, length...), r...), w.fields...)
	b = append(b, f.zstd...)

	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], castagnoli))
	w.batch = b
	return b
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// fieldNumber is the number of a field of SampleBatch.
func fieldNumber(name protoreflect.Name) protowire.Number {
	return (&wl.SampleBatch{}).ProtoReflect().Descriptor().Fields().ByName(name).Number()
}
