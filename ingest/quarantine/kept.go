package quarantine

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/wattledger/wattledger/ingest/pipeline"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// Position is where a kept message lies in wl.refused.v1. It is written partition:offset.
type Position struct {
	Partition int
	Offset    int64
}

// String is what ParsePosition reads.
func (p Position) String() string { return fmt.Sprintf("%d:%d", p.Partition, p.Offset) }

// MarshalText is String.
func (p Position) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// ParsePosition reads partition:offset.
func ParsePosition(s string) (Position, error) {
	partition, offset, ok := strings.Cut(s, ":")
	n, errPartition := strconv.ParseUint(partition, 10, 31)
	o, errOffset := strconv.ParseUint(offset, 10, 63)
	if !ok || errPartition != nil || errOffset != nil {
		return Position{}, fmt.Errorf("%q is no position; it is partition:offset, as `quarantine list` prints them: 0:12", s)
	}
	return Position{int(n), int64(o)}, nil
}

// ReasonUnreadable is said of what lies in wl.refused.v1 and is no refused message. Somebody else put it there.
const ReasonUnreadable = "unreadable"

// Kept is a refused message as it is kept.
type Kept struct {
	Position Position
	// At is when it was put aside, by the broker's clock or ingest's; Received when the original was.
	At, Received unit.Micros
	// Topic, Partition and Offset are where the original was read.
	Topic     string
	Partition int
	Offset    int64
	Reason    string
	Detail    string
	// Key and Value are the original's, or their beginning: KeyBytes and ValueBytes are how long they were.
	Key, Value           []byte
	KeyBytes, ValueBytes int
}

// Decode reads what Encode wrote. What is no refused message is kept as well: under the reason unreadable, with its bytes.
func Decode(at Position, put unit.Micros, key, value []byte) Kept {
	k := Kept{Position: at, At: put}
	var m wl.Refused
	if err := proto.Unmarshal(value, &m); err != nil || m.Topic == "" {
		k.Reason, k.Detail = ReasonUnreadable, fmt.Sprintf("%d bytes on %s that are no refused message", len(value), wire.TopicRefused)
		k.Key, k.Value, k.KeyBytes, k.ValueBytes = key, value, len(key), len(value)
		return k
	}
	k.Topic, k.Partition, k.Offset, k.Received = m.Topic, int(m.Partition), m.Offset, unit.Micros(m.ReceivedUs)
	k.Reason, k.Detail, k.Key, k.Value = m.Reason, m.Detail, m.Key, m.Value
	k.KeyBytes, k.ValueBytes = max(len(m.Key), length(m.KeyBytes)), max(len(m.Value), length(m.ValueBytes))
	return k
}

// length is a length that somebody states, kept within what a message can have.
func length(n uint64) int { return int(min(n, 1<<30)) }

// Cut says that only the beginning is kept.
func (k Kept) Cut() bool { return len(k.Key) < k.KeyBytes || len(k.Value) < k.ValueBytes }

// Message is the original, or its beginning, as ingest would read it now if it were published at the time.
func (k Kept) Message(now unit.Micros) pipeline.Message {
	return pipeline.Message{Topic: k.Topic, Key: k.Key, Value: k.Value, Received: now}
}

// State is what has become of a kept message, as far as the store can tell.
type State string

// The states.
const (
	// Open is not stored.
	Open State = "open"
	// Stored says that a message of the same identity is stored: this one, replayed or mended, or another delivery of it.
	Stored State = "stored"
	// Unknown says that its bytes do not tell who sent it, so that nobody can look.
	Unknown State = "unknown"
)

// Identity is what makes two messages one: it is stored once, however often it is published.
type Identity struct {
	Topic string
	Run   pipeline.Run
	Seq   uint64
}

// String names the message by who sent it.
func (i Identity) String() string {
	return fmt.Sprintf("%s/%s run %s sequence %d", i.Run.Site, i.Run.Source, i.Run.Hex(), i.Seq)
}

// Identity is that of the original, if its topic has a table and its bytes tell.
func (k Kept) Identity() (Identity, bool) {
	if !slices.Contains(pipeline.Topics, k.Topic) || k.Topic == wire.TopicInventory && k.Cut() {
		return Identity{}, false // that of an inventory is the hash of all of it
	}
	run, seq, ok := pipeline.Identify(k.Topic, k.Key, k.Value)
	return Identity{k.Topic, run, seq}, ok
}

// Histories answers which of the sequence numbers asked about are stored.
type Histories func(topic string, asked []pipeline.Question) ([]pipeline.Answer, error)

// States finds the state of each kept message.
func States(kept []Kept, stored Histories) ([]State, error) {
	var ids []Identity
	for _, k := range kept {
		if id, ok := k.Identity(); ok {
			ids = append(ids, id)
		}
	}
	there, err := StoredOf(ids, stored)
	if err != nil {
		return nil, err
	}
	out := make([]State, len(kept))
	for i, k := range kept {
		id, ok := k.Identity()
		switch {
		case !ok:
			out[i] = Unknown
		case there[id]:
			out[i] = Stored
		default:
			out[i] = Open
		}
	}
	return out, nil
}

// StoredOf finds those that are stored, with one call per topic.
func StoredOf(ids []Identity, stored Histories) (map[Identity]bool, error) {
	out := map[Identity]bool{}
	for _, topic := range pipeline.Topics {
		var asked []pipeline.Question
		at := map[pipeline.Run]int{} // of its question
		for _, id := range ids {
			if id.Topic != topic {
				continue
			}
			i, ok := at[id.Run]
			if !ok {
				i = len(asked)
				at[id.Run], asked = i, append(asked, pipeline.Question{Run: id.Run})
			}
			if !slices.Contains(asked[i].Seqs, id.Seq) {
				asked[i].Seqs = append(asked[i].Seqs, id.Seq)
			}
		}
		if len(asked) == 0 {
			continue
		}
		found, err := stored(topic, asked)
		if err != nil {
			return nil, err
		}
		for _, answer := range found {
			for _, seq := range answer.Stored {
				out[Identity{topic, answer.Run, seq}] = true
			}
		}
	}
	return out, nil
}

// Filter picks kept messages. A part left empty picks all.
type Filter struct {
	Reason, Topic string
	// Since is the earliest time at which they were put aside.
	Since unit.Micros
}

// Picks says whether k is one of them.
func (f Filter) Picks(k Kept) bool {
	return (f.Reason == "" || f.Reason == k.Reason) && (f.Topic == "" || f.Topic == k.Topic) && k.At >= f.Since
}
