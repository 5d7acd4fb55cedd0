package spool

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
)

// Reason is why messages were given up: a word of a closed list, used as a metric's label.
type Reason string

// The reasons.
const (
	ReasonFull    Reason = "spool_full" // the segments had reached Config.MaxBytes
	ReasonAge     Reason = "spool_age"  // they had waited longer than Config.MaxAge
	ReasonCorrupt Reason = "corrupt"    // the disk did not give back what was written
)

// Loss is messages that Put had acknowledged and that will not come out. A message that was on its way to Kafka when it
// was given up may still arrive.
type Loss struct {
	Reason Reason
	// Topic and Run are those of the messages. Both are empty where the disk does not say any more what they were, and
	// Run is where too many runs had to be remembered.
	Topic string
	Run   [wire.RunBytes]byte
	// First and Last are the lowest and the highest sequence.
	First, Last uint64
	// From and To bound the time that the messages tell about; of those without rows or unknown, when they were appended.
	From, To unit.Micros
	// Messages and Bytes are exact, Bytes as they lay on the disk; Rows are those of readable messages.
	Messages, Rows, Bytes uint64
}

// Incident is how the loss is told downstream. A damaged disk may not say since when: the times are then as wide as they can be.
func (l Loss) Incident() record.Incident {
	from := max(l.From, 1)
	i := record.Incident{
		Kind: record.IncidentLoss, Reason: string(l.Reason), From: from, To: max(l.To, from), Amount: int64(l.Messages), First: l.First, Last: l.Last,
	}
	if l.Run != [wire.RunBytes]byte{} {
		i.Run = hex.EncodeToString(l.Run[:])
	}
	return i
}

// maxLosses bounds what is remembered. Every run has one loss per topic and reason, so it takes a collector that is
// restarted hundreds of times while Kafka is away to get there.
const maxLosses = 1024

// add takes one message into the loss.
func (l *Loss) add(e *entry, size int64) {
	from, to := e.mark.From, e.mark.To
	if from == 0 {
		from, to = e.at, e.at
	}
	l.join(Loss{First: e.mark.Sequence, Last: e.mark.Sequence, From: from, To: to, Messages: 1, Rows: uint64(e.mark.Rows), Bytes: uint64(size)})
}

// join takes another loss of the same kind into this one.
func (l *Loss) join(o Loss) {
	if l.Messages == 0 {
		l.First, l.From = o.First, o.From
	}
	l.First, l.Last = min(l.First, o.First), max(l.Last, o.Last)
	l.From, l.To = min(l.From, o.From), max(l.To, o.To)
	l.Messages, l.Rows, l.Bytes = l.Messages+o.Messages, l.Rows+o.Rows, l.Bytes+o.Bytes
}

func (l *Loss) sameKind(o *Loss) bool {
	return l.Reason == o.Reason && l.Topic == o.Topic && l.Run == o.Run
}

// tally sums losses by reason, topic and run.
type tally []Loss

func (t *tally) of(reason Reason, topic []byte, run [wire.RunBytes]byte) *Loss {
	for i := range *t {
		if l := &(*t)[i]; l.Reason == reason && l.Topic == string(topic) && l.Run == run {
			return l
		}
	}
	*t = append(*t, Loss{Reason: reason, Topic: string(topic), Run: run})
	return &(*t)[len(*t)-1]
}

// merge is old with the new losses taken in. The first fixed ones may have been reported, so they stay as they are.
func merge(old []Loss, fixed int, news tally) []Loss {
	all := slices.Clone(old)
	for _, n := range news {
		i := slices.IndexFunc(all[fixed:], func(l Loss) bool { return l.sameKind(&n) })
		if i < 0 {
			all = append(all, n)
			continue
		}
		all[fixed+i].join(n)
	}
	for len(all) > maxLosses {
		all = fold(all)
	}
	return all
}

// fold makes room: the two oldest of one reason and topic become one of several runs.
func fold(all []Loss) []Loss {
	for i := range all {
		for k := i + 1; k < len(all); k++ {
			if all[i].Reason == all[k].Reason && all[i].Topic == all[k].Topic {
				all[i].join(all[k])
				all[i].Run, all[i].First, all[i].Last = [wire.RunBytes]byte{}, 0, 0
				return slices.Delete(all, k, k+1)
			}
		}
	}
	return all[1:] // more than a thousand topics: they are not ours
}

// memory is what the spool knows besides its messages. It is replaced as a whole, so that what is given up and the fact that
// it was are one step.
type memory struct {
	// Passed is the last number that was given up: it and all before are done with.
	Passed uint64       `json:"passed"`
	Losses []storedLoss `json:"losses"`
	// Stated are those that a message in the spool tells about.
	Stated []storedLoss `json:"stated,omitempty"`
}

type storedLoss struct {
	Reason   Reason      `json:"reason"`
	Topic    string      `json:"topic"`
	Run      string      `json:"run"`
	First    uint64      `json:"first_sequence"`
	Last     uint64      `json:"last_sequence"`
	From     unit.Micros `json:"from_us"`
	To       unit.Micros `json:"to_us"`
	Messages uint64      `json:"messages"`
	Rows     uint64      `json:"rows"`
	Bytes    uint64      `json:"bytes"`
	// After and Until bound the number of the message that states it.
	After uint64 `json:"after,omitempty"`
	Until uint64 `json:"until,omitempty"`
}

// stated is a loss that a message of this spool tells about: one with a number in (after, until]. Until that is published the
// loss is remembered, since its message may be given up in turn.
type stated struct {
	Loss
	after, until uint64
}

// encodeMemory is one line with the checksum of the next, which is JSON.
func encodeMemory(passed uint64, losses []Loss, told []stated) ([]byte, error) {
	m := memory{Passed: passed, Losses: make([]storedLoss, 0, len(losses))}
	for _, l := range losses {
		m.Losses = append(m.Losses, l.stored())
	}
	for _, t := range told {
		l := t.stored()
		l.After, l.Until = t.after, t.until
		m.Stated = append(m.Stated, l)
	}
	b, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%08x\n%s\n", crc32.Checksum(b, castagnoli), b), nil
}

func (l Loss) stored() storedLoss {
	return storedLoss{
		Reason: l.Reason, Topic: l.Topic, Run: hex.EncodeToString(l.Run[:]), First: l.First, Last: l.Last, From: l.From, To: l.To,
		Messages: l.Messages, Rows: l.Rows, Bytes: l.Bytes,
	}
}

func (s storedLoss) loss() Loss {
	l := Loss{
		Reason: s.Reason, Topic: s.Topic, First: s.First, Last: s.Last, From: s.From, To: s.To, Messages: s.Messages, Rows: s.Rows, Bytes: s.Bytes,
	}
	if run, err := hex.DecodeString(s.Run); err == nil {
		copy(l.Run[:], run)
	}
	return l
}

func decodeMemory(b []byte) (passed uint64, losses []Loss, told []stated, err error) {
	var sum uint32
	if _, err := fmt.Sscanf(string(b[:min(len(b), 9)]), "%08x\n", &sum); err != nil || len(b) < 10 {
		return 0, nil, nil, fmt.Errorf("no checksum in the first line")
	}
	if got := crc32.Checksum(b[9:len(b)-1], castagnoli); got != sum {
		return 0, nil, nil, fmt.Errorf("checksum is %08x, the first line says %08x", got, sum)
	}
	var m memory
	if err := json.Unmarshal(b[9:], &m); err != nil {
		return 0, nil, nil, err
	}
	for _, s := range m.Losses {
		losses = append(losses, s.loss())
	}
	for _, s := range m.Stated {
		told = append(told, stated{s.loss(), s.After, s.Until})
	}
	return m.Passed, losses, told, nil
}

// Losses are what was given up and not reported yet, oldest first. Those that were handed out do not change any more.
func (s *Spool) Losses() []Loss {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fixed, s.handed = len(s.losses), s.last
	return slices.Clone(s.losses)
}

// Reported says that the first n of Losses are in a message that was put into this spool after they were handed out, or that is
// durable elsewhere. They come again only if that message is given up in turn. After an error they are still remembered.
func (s *Spool) Reported(n int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n = min(n, s.fixed)
	if n <= 0 {
		return nil
	}
	told := s.untold(s.acked)
	for _, l := range s.losses[:n] {
		if s.last > s.handed {
			told = append(told, stated{l, s.handed, s.last})
		}
	}
	if err := s.remember(s.passed, slices.Clone(s.losses[n:]), told); err != nil {
		return fmt.Errorf("spool %s: forget %d reported losses: %w", s.cfg.Dir, n, err)
	}
	s.fixed -= n
	return nil
}

// Pending is Losses as incidents, none while Kafka takes nothing: what is being given up then grows into one loss, and a message
// that stated a part of it would go the same way. With Stated it is agent.Losses.
func (s *Spool) Pending() (out []record.Incident) {
	s.mu.Lock()
	flowing := s.flowing
	s.mu.Unlock()
	if !flowing {
		return nil
	}
	for _, l := range s.Losses() {
		out = append(out, l.Incident())
	}
	return out
}

// Stated is Reported. If the disk does not take it, the losses are stated again.
func (s *Spool) Stated(n int) {
	if err := s.Reported(n); err != nil {
		s.log.Warn("losses will be stated again", "reason", reason(err), "error", err)
	}
}

// untold are the stated losses whose message is not known to be published. The caller holds mu.
func (s *Spool) untold(published uint64) []stated {
	return slices.DeleteFunc(slices.Clone(s.stated), func(t stated) bool { return t.until <= published })
}

// giveUp remembers losses and that the numbers up to passed are done with, in one step. The caller holds mu.
func (s *Spool) giveUp(passed uint64, news tally) error {
	// What the messages that go were to tell has not been told. One that was on its way to Kafka may have told it all the same:
	// then it is stated again as a part of more.
	var again tally
	told := slices.DeleteFunc(s.untold(s.acked), func(t stated) bool {
		gone := t.after < passed
		if gone {
			again.of(t.Reason, []byte(t.Topic), t.Run).join(t.Loss)
		}
		return gone
	})
	if err := s.remember(passed, merge(merge(s.losses, s.fixed, again), s.fixed, news), told); err != nil {
		return err
	}
	for _, l := range news {
		s.met.dropped.WithLabelValues(string(l.Reason)).Add(float64(l.Messages))
		s.met.droppedRows.WithLabelValues(string(l.Reason)).Add(float64(l.Rows))
		s.met.droppedBytes.WithLabelValues(string(l.Reason)).Add(float64(l.Bytes))
		s.log.Warn("messages given up", "reason", l.Reason, "topic", l.Topic, "run", hex.EncodeToString(l.Run[:]),
			"first_sequence", l.First, "last_sequence", l.Last, "messages", l.Messages, "rows", l.Rows)
	}
	s.acked, s.flowing = max(s.acked, passed), false
	return nil
}

// remember writes the memory down, and takes it over when it is on disk. The caller holds mu.
func (s *Spool) remember(passed uint64, losses []Loss, told []stated) (err error) {
	defer func() { s.count("remember", err) }()
	b, err := encodeMemory(passed, losses, told)
	if err != nil {
		return err
	}
	if err := writeWhole(s.folder, memoryName, b); err != nil {
		return err
	}
	s.passed, s.losses, s.stated = passed, losses, told
	return nil
}
