package spool

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/collector/message"
	"github.com/wattledger/wattledger/schemas/unit"
)

const begin = unit.Micros(1_767_225_600_000_000)

// made is the message with a sequence: all of it follows from the sequence.
func made(sequence uint64) *message.Message {
	r := rand.New(rand.NewPCG(sequence, 1))
	m := &message.Message{
		Topic: []string{"a", "b", "topic-c"}[r.IntN(3)], Key: fmt.Appendf(nil, "key-%d", r.IntN(3)), Value: make([]byte, r.IntN(1200)),
		Mark: message.Mark{Sequence: sequence, From: begin + unit.Micros(sequence), To: begin + unit.Micros(sequence) + 5, Rows: uint32(sequence % 7)},
	}
	m.Mark.Run[0] = byte(sequence / 50)
	for i := range m.Value {
		m.Value[i] = byte(r.Uint32())
	}
	return m
}

func same(a, b *message.Message) bool {
	return a.Topic == b.Topic && string(a.Key) == string(b.Key) && string(a.Value) == string(b.Value) && a.Mark == b.Mark
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// model is what a spool should hold.
type model struct {
	t      *rapid.T
	cfg    Config
	disk   *memDisk
	s      *Spool
	random *rand.Rand
	power  bool // cuts are of power
	now    unit.Micros

	next   uint64   // sequence of the next message
	order  []uint64 // acknowledged by Put, in order
	maybe  uint64   // offered when the cut came; may be there
	acked  int      // how many of order an Ack has confirmed
	seen   map[uint64]bool
	handed map[uint64]bool // seen, not acknowledged for sure
	told   []Loss          // what was reported
	asked  []Loss          // what was being reported when the cut came
}

func (m *model) open() {
	s, err := open(m.cfg, m.disk, func() unit.Micros { return m.now }, discard(), nil)
	if err != nil {
		m.t.Fatalf("open: %v", err)
	}
	m.s = s
}

func (m *model) put() {
	x := made(m.next)
	err := m.s.Put(context.Background(), x)
	if err != nil {
		if m.disk.budget != 0 {
			m.t.Fatalf("put: %v", err)
		}
		m.maybe = m.next
	} else {
		m.order = append(m.order, m.next)
	}
	m.next++
}

// take reads a batch and acknowledges it, or not.
func (m *model) take(messages int, ack bool) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // what is there is returned, and nothing is waited for
	out, err := m.s.Batch(ctx, messages, 3000)
	if err != nil {
		return
	}
	for i := range out {
		got := &out[i]
		if got.Mark.Sequence >= m.next || !same(got, made(got.Mark.Sequence)) {
			m.t.Fatalf("message %d came out, which was never put like that", got.Mark.Sequence)
		}
		if i > 0 && got.Mark.Sequence <= out[i-1].Mark.Sequence {
			m.t.Fatalf("%d comes after %d", got.Mark.Sequence, out[i-1].Mark.Sequence)
		}
		m.seen[got.Mark.Sequence], m.handed[got.Mark.Sequence] = true, true
	}
	if !ack {
		return
	}
	before := m.disk.budget
	if err := m.s.Ack(); err != nil {
		if before < 0 {
			m.t.Fatalf("ack: %v", err)
		}
		return
	}
	for i := range out {
		delete(m.handed, out[i].Mark.Sequence)
	}
	if i := slices.Index(m.order, out[len(out)-1].Mark.Sequence); i >= 0 {
		m.acked = max(m.acked, i+1)
	}
}

func (m *model) report() {
	losses := m.s.Losses()
	n := m.random.IntN(len(losses) + 1)
	if err := m.s.Reported(n); err != nil {
		if m.disk.budget != 0 {
			m.t.Fatalf("reported: %v", err)
		}
		m.asked = losses[:n]
		return
	}
	m.told = append(m.told, losses[:n]...)
}

// cut ends the process in the middle of whatever it does next, or between two things.
func (m *model) cut(budget int, do func()) {
	m.disk.budget = budget
	do()
	m.disk.budget = 0
	if m.power {
		m.disk = m.disk.unplugged(m.random)
		maps.Copy(m.handed, m.seen) // the cursor may be an older one
	} else {
		m.disk = m.disk.killed()
	}
	m.open()
	if m.maybe != 0 {
		if last, _ := m.s.Last(made(m.maybe).Topic); last.Sequence == m.maybe {
			m.order = append(m.order, m.maybe)
		}
		m.maybe = 0
	}
	if losses := m.s.Losses(); len(m.asked) > 0 && (len(losses) < len(m.asked) || !slices.Equal(losses[:len(m.asked)], m.asked)) {
		m.told = append(m.told, m.asked...)
	}
	m.asked = nil
}

// check drains the spool: what Put acknowledged has come out in order or is named by a loss.
func (m *model) check(mayLose bool) {
	first, last := true, uint64(0)
	for {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		got, err := m.s.Next(ctx)
		if err != nil {
			break
		}
		q := got.Mark.Sequence
		if !same(got, made(q)) || q <= last && !first {
			m.t.Fatalf("%d comes after %d", q, last)
		}
		if first && !m.power && slices.Contains(m.order[:m.acked], q) {
			m.t.Fatalf("%d comes again, though it was acknowledged and nothing but kills has happened", q)
		}
		first, last = false, q
		m.seen[q] = true
		if err := m.s.Ack(); err != nil {
			m.t.Fatal(err)
		}
	}
	losses := append(slices.Clone(m.told), m.s.Losses()...)
	var lost, missing uint64
	for _, l := range losses {
		lost += l.Messages
		if err := l.Incident().Validate(); err != nil {
			m.t.Fatalf("%+v: %v", l, err)
		}
	}
	if m.cfg.MaxBytes >= 1<<20 && !mayLose && lost > 0 {
		m.t.Fatalf("there was room for all, and %d messages are told lost: %+v", lost, losses)
	}
	for _, q := range m.order {
		if m.seen[q] {
			continue
		}
		missing++
		x := made(q)
		named := slices.ContainsFunc(losses, func(l Loss) bool {
			return l.Topic == x.Topic && l.Run == x.Mark.Run && l.First <= q && q <= l.Last && l.From <= x.Mark.From && x.Mark.To <= l.To
		})
		if !named && !mayLose {
			m.t.Fatalf("message %d is gone, and no loss names it: %+v", q, losses)
		}
	}
	if !mayLose && (lost < missing || lost > missing+uint64(len(m.handed))) {
		m.t.Fatalf("%d messages are missing, the losses say %d (%d were on their way)", missing, lost, len(m.handed))
	}
	for _, topic := range []string{"a", "b", "topic-c"} {
		var want message.Mark
		for _, q := range m.order {
			if x := made(q); x.Topic == topic {
				want = x.Mark
			}
		}
		if got, ok := m.s.Last(topic); !mayLose && (got != want || ok != (want != message.Mark{})) {
			m.t.Fatalf("the last of %s is %+v, want %+v", topic, got, want)
		}
	}
}

func testModel(t *testing.T, syncs string, power bool, limit int64) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{
			t: t, power: power, disk: newMemDisk(), now: begin, next: 1, seen: map[uint64]bool{}, handed: map[uint64]bool{},
			cfg:    Config{Dir: "-", MaxBytes: limit, SegmentBytes: 4096, Sync: syncs, SyncEvery: time.Hour},
			random: rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 2)),
		}
		if limit < 1<<20 {
			m.cfg.MaxAge = 2 * time.Second
		}
		m.open()
		some := func() {
			for range rapid.IntRange(1, 12).Draw(t, "messages") {
				m.put()
			}
		}
		take := func() { m.take(rapid.IntRange(1, 8).Draw(t, "batch"), rapid.Bool().Draw(t, "ack")) }
		busy := func() {
			for m.disk.budget != 0 && m.random.IntN(40) > 0 {
				switch m.random.IntN(4) {
				case 0, 1:
					m.put()
				case 2:
					m.take(1+m.random.IntN(8), m.random.IntN(3) > 0)
				case 3:
					m.report()
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"put":    func(*rapid.T) { some() },
			"take":   func(*rapid.T) { take() },
			"tick":   func(t *rapid.T) { m.now += unit.Micros(rapid.IntRange(0, 3_000_000).Draw(t, "us")) },
			"report": func(*rapid.T) { m.report() },
			"reopen": func(t *rapid.T) {
				if err := m.s.Close(); err != nil {
					t.Fatal(err)
				}
				m.open()
			},
			"cut": func(t *rapid.T) { m.cut(rapid.IntRange(0, 20_000).Draw(t, "budget"), busy) },
		})
		m.check(power && syncs == SyncInterval)
	})
}

func TestWhatIsAcknowledgedComesOutAfterAnyKill(t *testing.T) { testModel(t, SyncAlways, false, 1<<30) }

func TestWhatIsAcknowledgedComesOutAfterAnyPowerCut(t *testing.T) {
	testModel(t, SyncAlways, true, 1<<30)
}

func TestAKillTakesNothingThatWasNotSynced(t *testing.T) { testModel(t, SyncInterval, false, 1<<30) }

func TestAPowerCutTakesWhatWasNotSynced(t *testing.T) { testModel(t, SyncInterval, true, 1<<30) }

func TestWhatIsGivenUpIsToldWhateverKills(t *testing.T) { testModel(t, SyncAlways, false, 16384) }

func TestWhatIsGivenUpIsToldAfterAnyPowerCut(t *testing.T) { testModel(t, SyncAlways, true, 16384) }
