package pipeline

import (
	"encoding/hex"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
)

// Topics are those that have a table to go to.
var Topics = []string{wire.TopicSample, wire.TopicAllocation, wire.TopicReading, wire.TopicInventory}

// Message is one Kafka message.
type Message struct {
	Topic      string
	Partition  int
	Offset     int64
	Key, Value []byte
	// Received is the record time of the message, never the time at which we read it: a replayed insert has the same bytes.
	Received unit.Micros
}

// Run is one life of a source: what numbers its messages from 0 without a hole.
type Run struct {
	Site, Source string
	ID           [wire.RunBytes]byte
}

// Hex is the run's id as tables hold it; all zeros, which is no run, is the empty text.
func (r Run) Hex() string { return hexID(r.ID[:]) }

func hexID(id []byte) string {
	for _, b := range id {
		if b != 0 {
			return hex.EncodeToString(id)
		}
	}
	return ""
}

// numbered says whether messages of the topic have a run and a sequence number.
func numbered(topic string) bool { return topic != wire.TopicInventory }

// Refusal is a message that cannot be stored, and why.
type Refusal struct {
	Message Message
	Reason  wire.Reason
	Detail  string
}

// identity is what the head of a message of samples, allocations or readings says. The four fields have the same numbers in all.
type identity struct {
	run         Run
	seq         uint64
	previous    [wire.RunBytes]byte
	hasPrevious bool
}

// peek reads the identity without decoding the columns. ok is false when the bytes are no such message; decoding
// then says why.
func peek(topic string, value []byte) (id identity, ok bool) {
	if topic == wire.TopicInventory {
		return identity{}, false
	}
	for len(value) > 0 {
		num, typ, n := protowire.ConsumeTag(value)
		if n < 0 {
			return id, false
		}
		value = value[n:]
		switch {
		case typ == protowire.BytesType && num <= 7:
			b, n := protowire.ConsumeBytes(value)
			if n < 0 {
				return id, false
			}
			value = value[n:]
			switch {
			case num == 2:
				id.run.Site = string(b)
			case num == 3:
				id.run.Source = string(b)
			case num == 4 && len(b) == wire.RunBytes:
				id.run.ID, ok = [wire.RunBytes]byte(b), true
			case num == 7 && topic == wire.TopicSample && len(b) == wire.RunBytes:
				id.previous, id.hasPrevious = [wire.RunBytes]byte(b), true
			}
		case typ == protowire.VarintType && num == 5:
			v, n := protowire.ConsumeVarint(value)
			if n < 0 {
				return id, false
			}
			value, id.seq = value[n:], v
		default:
			n := protowire.ConsumeFieldValue(num, typ, value)
			if n < 0 {
				return id, false
			}
			value = value[n:]
		}
	}
	return id, ok && id.run.Source != "" && len(id.run.Site) <= wire.MaxNameBytes && len(id.run.Source) <= wire.MaxNameBytes
}

// newer says whether a message was written by a newer version of the schema than ours. All messages have it in their first field.
func newer(value []byte) bool {
	for len(value) > 0 {
		num, typ, n := protowire.ConsumeTag(value)
		if n < 0 {
			return false
		}
		value = value[n:]
		if num == 1 && typ == protowire.VarintType {
			v, n := protowire.ConsumeVarint(value)
			return n > 0 && v > wire.SchemaVersion
		}
		if n = protowire.ConsumeFieldValue(num, typ, value); n < 0 {
			return false
		}
		value = value[n:]
	}
	return false
}
