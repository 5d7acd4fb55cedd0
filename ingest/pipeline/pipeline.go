package pipeline

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
)

// Config says how large a batch grows.
type Config struct {
	// BatchRows is how many rows one insert carries. More is cheaper and later, and takes memory: about 600 bytes a row and
	// partition while a batch is under way.
	BatchRows int `yaml:"batch_rows"`
	// BatchBytes is how many bytes of messages one batch holds at most, decoded from Kafka's compression.
	BatchBytes int `yaml:"batch_bytes"`
	// BatchAge is how long a message waits for company before its batch is stored.
	BatchAge time.Duration `yaml:"batch_age"`
	// RememberSpans is how many runs, and stretches of sequence numbers in them, a process remembers to tell repeats and holes
	// by, some 150 bytes each. What was forgotten is asked from the database again.
	RememberSpans int `yaml:"remember_spans"`
}

// DefaultConfig stores a live message within two seconds, and a backlog in inserts that are cheap for the engine.
func DefaultConfig() Config {
	return Config{BatchRows: 100_000, BatchBytes: 32 << 20, BatchAge: time.Second, RememberSpans: 200_000}
}

// Validate reports every fault at once.
func (c Config) Validate() error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.BatchRows < 1 || c.BatchRows > 1_000_000 {
		// An insert beyond a million rows is cut by the engine into several, and one of them could be lost alone.
		bad("batch_rows: %d; must lie between 1 and 1000000", c.BatchRows)
	}
	if c.BatchBytes < 1<<20 || c.BatchBytes > 128<<20 {
		bad("batch_bytes: %d; must lie between %d and %d", c.BatchBytes, 1<<20, 128<<20)
	}
	if c.BatchAge < time.Millisecond || c.BatchAge > time.Minute {
		bad("batch_age: %v; must lie between a millisecond and a minute", c.BatchAge)
	}
	if c.RememberSpans < 1000 || c.RememberSpans > 100_000_000 {
		bad("remember_spans: %d; must lie between 1000 and 100000000", c.RememberSpans)
	}
	return errors.Join(faults...)
}

// MaxMessages bounds the messages of a batch, and with it what there may be to recall after a crash.
const MaxMessages = 50_000

// Stored is a message whose rows the database holds at an offset that may be delivered again.
type Stored struct {
	Offset int64
	Run    Run
	Seq    uint64
	// Noted says that the table messages has its line: it is done. Without, a crash came between the rows and the line.
	Noted bool
	// Rows is how many rows of a message without a line are there.
	Rows int
}

// Pipeline gathers the messages of one partition, for one generation of the consumer group.
type Pipeline struct {
	cfg    Config
	batch  Batch
	known  recollection
	stored map[int64][]Stored // by offset; taken out when their batch is done
	met    []int64            // offsets of the batch while there is something stored
	sheet  wire.Sheet         // refilled for every message
	words  map[string]string  // by their bytes; the texts of the partition
	ids    map[string]string  // by their bytes; run and boot ids in hex
}

// maxWords bounds the memory of the texts that messages share.
const maxWords = 100_000

// New starts with what the database holds of the partition from about the committed offset on, and a memory of its own.
func New(cfg Config, topic string, partition int, known []Stored) *Pipeline {
	return NewSharing(NewMemory(cfg.RememberSpans), cfg, topic, partition, known)
}

// NewSharing is New with a memory that other pipelines share. Close gives back its part.
func NewSharing(memory *Memory, cfg Config, topic string, partition int, known []Stored) *Pipeline {
	p := &Pipeline{
		cfg: cfg, batch: Batch{Topic: topic, Partition: partition, Samples: newSamples()},
		known: newRecollection(memory), stored: map[int64][]Stored{}, words: map[string]string{}, ids: map[string]string{},
	}
	for _, k := range known {
		p.stored[k.Offset] = append(p.stored[k.Offset], k)
	}
	return p
}

// Close gives back the pipeline's share of the memory.
func (p *Pipeline) Close() { p.known.close() }

// Due says whether the batch has to be stored now.
func (p *Pipeline) Due(now unit.Micros) bool {
	b := &p.batch
	return !b.Empty() && (b.Rows() >= p.cfg.BatchRows || b.seen >= min(p.cfg.BatchRows, MaxMessages) || b.bytes >= p.cfg.BatchBytes ||
		now-b.since >= unit.Micros(p.cfg.BatchAge.Microseconds()))
}

// Wait is how long the batch may still wait for company.
func (p *Pipeline) Wait(now unit.Micros) time.Duration {
	if p.batch.Empty() {
		return p.cfg.BatchAge
	}
	return max(0, p.cfg.BatchAge-time.Duration(now-p.batch.since)*time.Microsecond)
}

// Batch is what waits to be stored. It is the pipeline's: after it took effect, or was given up, call Done.
func (p *Pipeline) Batch() *Batch { return &p.batch }

// Done empties the batch, which has taken effect. What the store refused is not stored: replayed later, it is new.
func (p *Pipeline) Done() {
	for i := range p.batch.Entries {
		if e := &p.batch.Entries[i]; e.Refused && !e.Repeat {
			p.known.remove(e.Run, e.Seq) // mended and sent again, it is to be stored
		}
	}
	for i := range p.batch.Entries {
		p.known.bound(p.batch.Entries[i].Run)
	}
	for _, offset := range p.met {
		delete(p.stored, offset)
	}
	p.met = p.met[:0]
	p.known.batch++
	p.batch.reset()
	if len(p.words)+len(p.ids) > maxWords {
		clear(p.words)
		clear(p.ids)
	}
}

const day = 24 * unit.Hour

// Times of receipt outside these years would be another's mistake made ours: the table ages by them.
const (
	earliest = unit.Micros(946_684_800_000_000)
	latest   = unit.Micros(4_102_444_800_000_000)
)

// Offer takes the message into the batch, or answers false when the batch has to be stored first. Messages are offered
// in the order of their offsets, after Ask.
func (p *Pipeline) Offer(m Message, now unit.Micros) bool {
	b := &p.batch
	today := int64(m.Received / day)
	if !b.Empty() && (today != b.day || p.Due(b.since)) {
		return false
	}
	if b.Empty() {
		b.day, b.since = today, now
	}
	b.seen++
	b.bytes += len(m.Key) + len(m.Value)
	b.Next = m.Offset + 1
	if len(p.stored) > 0 {
		p.met = append(p.met, m.Offset)
	}
	if err := p.take(m); err != nil {
		reason, detail := wire.ReasonUndecodable, err.Error()
		var refused *wire.RefusedError
		if errors.As(err, &refused) {
			reason, detail = refused.Reason, refused.Detail
		}
		if reason != wire.ReasonUnknownTopic && reason != wire.ReasonUndecodable && newer(m.Value) {
			reason, detail = wire.ReasonNewerSchema, fmt.Sprintf("%s: %s; it was written by a newer version: upgrade ingest, then replay it", reason, detail)
		}
		b.Refused = append(b.Refused, Refusal{Message: m, Reason: reason, Detail: detail})
	}
	return true
}

// maxMessage is what a message may hold once it is decompressed: what a default broker takes in one batch. Producers of ours stay
// below it; a longer one got here by compression, and would make of a little disk a lot of our memory and of the quarantine's.
const maxMessage = 1 << 20

func (p *Pipeline) take(m Message) error {
	if len(m.Value) > maxMessage {
		return &wire.RefusedError{Reason: wire.ReasonShape, Detail: fmt.Sprintf(
			"the message has %d bytes, and at most %d may be in one; let its producer send more messages of fewer rows", len(m.Value), maxMessage)}
	}
	if m.Received < earliest || m.Received > latest {
		return &wire.RefusedError{Reason: wire.ReasonTime, Detail: fmt.Sprintf(
			"the record's time is %d µs, which is not between the years 2000 and 2100; set message.timestamp.type=LogAppendTime on the topic, or the producer's clock", m.Received)}
	}
	switch m.Topic {
	case wire.TopicSample:
		return p.takeSamples(m)
	case wire.TopicAllocation:
		return p.takeAllocations(m)
	case wire.TopicReading:
		return p.takeReadings(m)
	case wire.TopicInventory:
		return p.takeInventory(m)
	default:
		return &wire.RefusedError{Reason: wire.ReasonUnknownTopic, Detail: fmt.Sprintf("topic %s has no table to go to", m.Topic)}
	}
}

func (p *Pipeline) takeSamples(m Message) error {
	s := &p.sheet
	if err := s.Read(m.Value); err != nil {
		return err
	}
	e := Entry{
		Message: m, Run: Run{p.word(s.Site), p.word(s.Node), [wire.RunBytes]byte(s.Run)}, Seq: s.Sequence,
		PreviousRun: p.hex(s.PreviousRun), PreviousSeq: s.PreviousSeq, SchemaVersion: s.SchemaVersion,
		CompleteUpTo: unit.Micros(s.CompleteUpToUS), Rows: s.Rows,
		Boot: p.hex(s.BootID), Driver: p.word(s.Driver), PeriodMS: s.PeriodMS,
	}
	if n := s.Rows; n > 0 {
		e.FirstTick, e.LastTick = unit.Micros(s.Tick(0)), unit.Micros(s.Tick(n-1))
	}
	var previous *Run
	if len(s.PreviousRun) == wire.RunBytes && !bytes.Equal(s.PreviousRun, s.Run) {
		previous = &Run{e.Run.Site, e.Run.Source, [wire.RunBytes]byte(s.PreviousRun)}
	}
	p.place(&e, previous, func() {
		// An incident that is stored already is stored again: it replaces itself, and a crash may have come between the rows
		// and it.
		e.Incidents = appendTold(&p.batch.Incidents, &e, s.Incidents, wire.IncidentOf)
	}, func() { e.Samples = p.batch.Samples.add(s) })
	return nil
}

// place decides whether a valid message is new. If it is, its rows are added unless they are stored already; what always
// adds, unless it is nil, is added in either case.
func (p *Pipeline) place(e *Entry, previous *Run, always, addRows func()) {
	b := &p.batch
	here := p.atOffset(e)
	if here != nil && here.Noted {
		b.Redelivered++ // stored from this very offset: there is nothing left to do
		return
	}
	s := p.known.get(e.Run)
	if s == nil {
		s = &seen{}
		p.known.put(e.Run, s)
	}
	if p.known.judge(e.Run, s, e.Seq) == repeated {
		e.Repeat, e.Rows = true, 0
		b.Repeats++
		b.Entries = append(b.Entries, *e)
		return
	}
	p.holes(e, s, previous)
	e.before = s.edge
	s.edge = s.edge.join(e.edge())
	p.known.add(e.Run, s, e.Seq)
	if always != nil {
		always()
	}
	if here != nil && here.Rows >= e.Rows { // more when a process that was cut off stored them too
		b.Redelivered++ // its rows are there, its line is not: the crash came between the two
	} else {
		addRows()
	}
	b.Entries = append(b.Entries, *e)
}

// atOffset is what the database holds of this message from this very offset. A topic made anew counts its offsets from 0
// again, so the offset alone says nothing.
func (p *Pipeline) atOffset(e *Entry) *Stored {
	for i, k := range p.stored[e.Message.Offset] {
		if k.Run.Source == e.Run.Source && k.Run.ID == e.Run.ID && k.Seq == e.Seq {
			return &p.stored[e.Message.Offset][i]
		}
	}
	return nil
}

// decode merges the bytes into an empty message.
func decode(value []byte, into proto.Message) error {
	if err := (proto.UnmarshalOptions{Merge: true, DiscardUnknown: true}).Unmarshal(value, into); err != nil {
		return fmt.Errorf("%d bytes are not a %s: %w", len(value), into.ProtoReflect().Descriptor().Name(), err)
	}
	return nil
}

// word is the text as a string that all messages share: a partition has few sites, nodes and drivers.
func (p *Pipeline) word(b []byte) string {
	w, ok := p.words[string(b)]
	if !ok {
		w = string(b)
		p.words[w] = w
	}
	return w
}

// hex is a run's or a boot's id as tables hold it.
func (p *Pipeline) hex(id []byte) string {
	w, ok := p.ids[string(id)]
	if !ok {
		w = hexID(id)
		p.ids[string(id)] = w
	}
	return w
}
