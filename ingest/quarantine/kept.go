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

// Histories answers which of the sequence numbers asked about are stored.
type Histories func(topic string, asked []pipeline.Question) ([]pipeline.Answer, error)

// States finds the state of each kept message. Identities are asked for by topic, all at once.
func States(kept []Kept, stored Histories) ([]State, error) {
	type message struct {
		run pipeline.Run
		seq uint64
	}
	byTopic := map[string]map[message][]int{} // where each message stands in kept
	out := make([]State, len(kept))
	for i, k := range kept {
		out[i] = Unknown
		if run, seq, ok := k.identity(); ok {
			if byTopic[k.Topic] == nil {
				byTopic[k.Topic] = map[message][]int{}
			}
			m := message{run, seq}
			byTopic[k.Topic][m] = append(byTopic[k.Topic][m], i)
			out[i] = Open
		}
	}
	for topic, messages := range byTopic {
		seqs := map[pipeline.Run][]uint64{}
		for m := range messages {
			seqs[m.run] = append(seqs[m.run], m.seq)
		}
		var asked []pipeline.Question
		for run, list := range seqs {
			slices.Sort(list)
			asked = append(asked, pipeline.Question{Run: run, Seqs: list})
		}
		found, err := stored(topic, asked)
		if err != nil {
			return nil, err
		}
		for _, answer := range found {
			for _, seq := range answer.Stored {
				for _, at := range messages[message{answer.Run, seq}] {
					out[at] = Stored
				}
			}
		}
	}
	return out, nil
}

// identity is that of the original, if its topic has a table and its bytes tell.
func (k Kept) identity() (run pipeline.Run, seq uint64, ok bool) {
	if !slices.Contains(pipeline.Topics, k.Topic) || k.Topic == wire.TopicInventory && k.Cut() {
		return run, 0, false // the identity of an inventory is the hash of all of it
	}
	return pipeline.Identify(k.Topic, k.Key, k.Value)
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
