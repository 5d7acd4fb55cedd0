package spool

import (
	"encoding/binary"
	"hash/crc32"
	"slices"

	"github.com/wattledger/wattledger/collector/message"
	"github.com/wattledger/wattledger/schemas/unit"
)

// FORMAT.md describes these bytes; testdata/vector.seg holds an example of each kind.
const (
	magic = "WLSPOOL1"

	frameBytes = 4 + 4 // checksum, length
	markBytes  = 16 + 8 + 8 + 8 + 4

	kindOpening = 0
	kindMessage = 1

	openingHead = 1 + 8 + 8 + 2
	messageHead = 1 + 8 + 8 + markBytes + 2 + 4
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	le         = binary.LittleEndian
)

// entry is one record of a segment. Its slices lie in the buffer that it was decoded from.
type entry struct {
	kind byte
	// number is the message's place in the order of Put; of an opening it is the first of its segment.
	number uint64
	// at is when the message was appended, or the segment begun.
	at                unit.Micros
	mark              message.Mark
	topic, key, value []byte
	// marks are an opening's, encoded.
	marks []byte
}

func appendMark(b []byte, m *message.Mark) []byte {
	b = append(b, m.Run[:]...)
	b = le.AppendUint64(b, m.Sequence)
	b = le.AppendUint64(b, uint64(m.From))
	b = le.AppendUint64(b, uint64(m.To))
	return le.AppendUint32(b, m.Rows)
}

func markOf(b []byte) (m message.Mark) {
	copy(m.Run[:], b)
	m.Sequence = le.Uint64(b[16:])
	m.From, m.To = unit.Micros(le.Uint64(b[24:])), unit.Micros(le.Uint64(b[32:]))
	m.Rows = le.Uint32(b[40:])
	return m
}

func messageBytes(m *message.Message) int64 {
	return int64(frameBytes+messageHead) + int64(len(m.Topic)) + int64(len(m.Key)) + int64(len(m.Value))
}

func appendMessage(b []byte, number uint64, at unit.Micros, m *message.Message) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0, kindMessage)
	b = le.AppendUint64(b, number)
	b = le.AppendUint64(b, uint64(at))
	b = appendMark(b, &m.Mark)
	b = le.AppendUint16(b, uint16(len(m.Topic)))
	b = le.AppendUint32(b, uint32(len(m.Key)))
	b = append(b, m.Topic...)
	b = append(b, m.Key...)
	b = append(b, m.Value...)
	frame(b[start:])
	return b
}

// appendOpening begins a segment. It repeats the last mark of every topic, so that they outlive the segments before.
func appendOpening(b []byte, first uint64, at unit.Micros, marks map[string]message.Mark) []byte {
	b = append(b, magic...)
	start := len(b)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0, kindOpening)
	b = le.AppendUint64(b, first)
	b = le.AppendUint64(b, uint64(at))
	topics := make([]string, 0, len(marks))
	for topic := range marks {
		topics = append(topics, topic)
	}
	slices.Sort(topics)
	b = le.AppendUint16(b, uint16(len(topics)))
	for _, topic := range topics {
		m := marks[topic]
		b = le.AppendUint16(b, uint16(len(topic)))
		b = append(b, topic...)
		b = appendMark(b, &m)
	}
	frame(b[start:])
	return b
}

// frame fills in the length and the checksum of a record. The checksum covers the length too.
func frame(b []byte) {
	le.PutUint32(b[4:], uint32(len(b)-frameBytes))
	le.PutUint32(b, crc32.Checksum(b[4:], castagnoli))
}

// plausible looks at the first bytes of what may be a record and says how long it would be; 0 means that it is none. It is
// cheap, and wrong only about bytes that the checksum then finds out.
func plausible(b []byte, low, high uint64) int64 {
	if len(b) < frameBytes+openingHead {
		return 0
	}
	length, number := le.Uint32(b[4:]), le.Uint64(b[frameBytes+1:])
	switch {
	case b[frameBytes] == kindMessage && length >= messageHead && number >= low && number < high:
	case b[frameBytes] == kindOpening && length >= openingHead:
	default:
		return 0
	}
	return frameBytes + int64(length)
}

// decode reads one whole record. It is false for bytes that are none.
func decode(b []byte) (e entry, ok bool) {
	if len(b) < frameBytes+openingHead || int64(le.Uint32(b[4:])) != int64(len(b)-frameBytes) || crc32.Checksum(b[4:], castagnoli) != le.Uint32(b) {
		return e, false
	}
	body := b[frameBytes:]
	e.kind, e.number, e.at = body[0], le.Uint64(body[1:]), unit.Micros(le.Uint64(body[9:]))
	switch e.kind {
	case kindOpening:
		e.marks = body[17:]
		return e, true
	case kindMessage:
		if len(body) < messageHead {
			return e, false
		}
		e.mark = markOf(body[17:])
		topic, key := int(le.Uint16(body[messageHead-6:])), int64(le.Uint32(body[messageHead-4:]))
		rest := body[messageHead:]
		if int64(topic)+key > int64(len(rest)) {
			return e, false
		}
		e.topic, e.key, e.value = rest[:topic], rest[topic:int64(topic)+key], rest[int64(topic)+key:]
		return e, true
	}
	return e, false
}

// eachMark yields the marks of an opening. It is false if they are cut short.
func (e *entry) eachMark(yield func(topic []byte, m message.Mark)) bool {
	if len(e.marks) < 2 {
		return false
	}
	n, b := le.Uint16(e.marks), e.marks[2:]
	for range n {
		if len(b) < 2 {
			return false
		}
		size := int(le.Uint16(b))
		if len(b) < 2+size+markBytes {
			return false
		}
		yield(b[2:2+size], markOf(b[2+size:]))
		b = b[2+size+markBytes:]
	}
	return len(b) == 0
}
