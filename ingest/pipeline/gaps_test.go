package pipeline

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// held is a database as far as a pipeline knows one.
type held struct {
	rows  map[int64]int // by offset
	lines map[int64]Entry
	gaps  map[string]record.Incident // by key, as the table replaces them
}

func newHeld() *held {
	return &held{rows: map[int64]int{}, lines: map[int64]Entry{}, gaps: map[string]record.Incident{}}
}

func (h *held) insertRows(b *Batch) {
	for _, e := range b.Entries {
		if e.Samples.Len() > 0 {
			h.rows[e.Message.Offset] += e.Samples.Len()
		}
	}
}

func (h *held) insertGaps(b *Batch) {
	for _, g := range b.Gaps {
		h.gaps[fmt.Sprint(g.Run.Source, g.Value.From, g.Value.Reason, g.Value.Run, g.Value.First, g.Value.Last)] = g.Value
	}
}

func (h *held) insertLines(b *Batch) {
	for _, e := range b.Entries {
		if !e.Refused {
			h.lines[e.Message.Offset] = e
		}
	}
}

// recall is Store.Recall.
func (h *held) recall(msgs []Message, committed int64) []Stored {
	var out []Stored
	for _, m := range msgs[committed:] {
		id, ok := peek(m.Topic, m.Value)
		if !ok {
			continue
		}
		if _, noted := h.lines[m.Offset]; noted {
			out = append(out, Stored{Offset: m.Offset, Run: id.run, Seq: id.seq, Noted: true})
		} else if h.rows[m.Offset] > 0 {
			out = append(out, Stored{Offset: m.Offset, Run: id.run, Seq: id.seq, Rows: h.rows[m.Offset]})
		}
	}
	return out
}

// answer is Store.Histories.
func (h *held) answer(asked []Question) []Answer {
	var out []Answer
	for _, q := range asked {
		a, any := Answer{Run: q.Run}, false
		for _, e := range h.lines {
			if e.Run != q.Run {
				continue
			}
			any = true
			a.Highest, a.Edge = max(a.Highest, e.Seq), a.Edge.join(e.edge())
			if slices.Contains(q.Seqs, e.Seq) {
				a.Stored = append(a.Stored, e.Seq)
			}
		}
		if any {
			out = append(out, a)
		}
	}
	return out
}

// ingest takes the messages as ingest/kafka does and gives up before the step numbered crash, counted over all batches: rows,
// gap records, lines, commit. It answers how far it committed.
func (h *held) ingest(t *rapid.T, p *Pipeline, msgs []Message, committed int64, refused map[point]bool, crash int) (next int64, crashed bool) {
	step := func() bool { crash--; return crash < 0 }
	next = committed
	flush := func() bool {
		b := p.Batch()
		if step() {
			return false
		}
		for i := range b.Entries {
			if e := &b.Entries[i]; refused[point{e.Run, e.Seq}] && e.Samples.Len() > 0 {
				e.Refused, e.Samples = true, Range{}
			}
		}
		h.insertRows(b)
		b.NoteRefused()
		if step() {
			return false
		}
		h.insertGaps(b)
		if step() {
			return false
		}
		h.insertLines(b)
		if step() {
			return false
		}
		next = b.Next
		p.Done()
		return true
	}
	limit := int64(p.known.memory.share())
	for _, part := range slices.Collect(slices.Chunk(msgs[committed:], min(p.Chunk(), rapid.IntRange(1, 8).Draw(t, "fetch")))) {
		for !p.Room(len(part)) {
			if !flush() {
				return next, true
			}
		}
		for asked := p.Ask(part); len(asked) > 0; asked = p.Ask(part) {
			p.Learn(asked, h.answer(asked))
		}
		for _, m := range part {
			for !p.Offer(m, noon) {
				if !flush() {
					return next, true
				}
			}
			if used := p.known.memory.Used(); used > limit {
				t.Fatalf("%d runs and spans are remembered, more than %d", used, limit)
			}
		}
		if rapid.Bool().Draw(t, "due") && !p.Batch().Empty() && !flush() {
			return next, true
		}
	}
	if !p.Batch().Empty() && !flush() {
		return next, true
	}
	return next, false
}

// Whatever the order of arrival, the repeats, the refusals and the crashes: each message is stored once, and the gap records less
// what arrived are the numbers that are not stored, up to the highest that is known to have been sent.
func TestGapRecordsLessWhatArrivedAreWhatIsMissing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		runs := rapid.IntRange(1, 6).Draw(t, "runs")
		refused := map[point]bool{} // by what is in it: sent again, it is refused again
		var msgs []Message
		for i := range rapid.IntRange(1, 40).Draw(t, "messages") {
			run := rapid.IntRange(0, runs-1).Draw(t, "run")
			seq := rapid.Uint64Range(0, 30).Draw(t, "seq")
			m := samples(seq, rapid.IntRange(1, 2).Draw(t, "rows"))
			m.Run = runBytes(run)
			for k := range m.TickUs {
				m.TickUs[k] += int64(seq) * 1_000_000
			}
			if run%2 == 1 {
				m.PreviousRun, m.PreviousRunLastSequence = runBytes(run-1), uint64(20+run)
			}
			if rapid.IntRange(0, 9).Draw(t, "fault") == 0 {
				refused[point{Run{m.Site, m.Node, [16]byte(m.Run)}, seq}] = true
			}
			msgs = append(msgs, message(int64(i), m))
		}
		h, cfg := newHeld(), DefaultConfig()
		cfg.BatchRows = rapid.IntRange(1, 30).Draw(t, "batch")
		for committed := int64(0); ; {
			memory := NewMemory(rapid.IntRange(leastShare, 3*leastShare).Draw(t, "memory"))
			p := NewSharing(memory, cfg, wire.TopicSample, 0, h.recall(msgs, committed))
			crash := rapid.OneOf(rapid.IntRange(0, 20), rapid.Just(1000)).Draw(t, "crash")
			next, crashed := h.ingest(t, p, msgs, committed, refused, crash)
			p.Close()
			if memory.Used() != 0 {
				t.Fatalf("%d runs and spans are remembered after the end", memory.Used())
			}
			committed = next
			if !crashed {
				break
			}
		}

		stored, known := map[Run]map[uint64]int{}, map[Run]uint64{}
		sent := map[Run]bool{}
		note := func(run Run, upTo uint64) { known[run], sent[run] = max(known[run], upTo), true }
		for _, m := range msgs {
			id, _ := peek(m.Topic, m.Value)
			note(id.run, id.seq)
			if e := h.lines[m.Offset]; h.rows[m.Offset] != e.Rows {
				t.Fatalf("offset %d has %d rows and a line that speaks of %d", m.Offset, h.rows[m.Offset], e.Rows)
			}
			if h.rows[m.Offset] > 0 {
				if stored[id.run] == nil {
					stored[id.run] = map[uint64]int{}
				}
				stored[id.run][id.seq]++
				if stored[id.run][id.seq] > 1 {
					t.Fatalf("message %d of run %s is stored %d times", id.seq, id.run.Hex(), stored[id.run][id.seq])
				}
			}
		}
		recorded := map[Run]map[uint64]bool{}
		for _, g := range h.gaps {
			run := Run{"paris-1", "node-a", [16]byte{}}
			if _, err := hex.Decode(run.ID[:], []byte(g.Run)); err != nil {
				t.Fatal(err)
			}
			if g.Amount != int64(g.Last-g.First+1) || g.To < g.From || g.From <= 0 || g.Kind != record.IncidentMissing {
				t.Fatalf("gap record %+v", g)
			}
			if g.Reason == ReasonEndOfRun {
				note(run, g.Last)
			}
			for seq := g.First; seq <= g.Last; seq++ {
				if recorded[run] == nil {
					recorded[run] = map[uint64]bool{}
				}
				recorded[run][seq] = true
			}
		}
		for run := range sent {
			for seq := range known[run] + 1 {
				_, is := stored[run][seq]
				if missing := recorded[run][seq] && !is; missing == is {
					t.Fatalf("run %s, number %d: stored is %v, recorded as missing is %v; gap records %v", run.Hex(), seq, is, recorded[run][seq], slices.Collect(maps.Values(h.gaps)))
				}
			}
		}
	})
}

func runBytes(i int) []byte { return fmt.Appendf(nil, "run number %05d", i) }

// Gap records have the numbers, the reason and the bounds.
func TestGapRecordsSayWhatWhenAndWhy(t *testing.T) {
	p := New(DefaultConfig(), wire.TopicSample, 0, nil)
	at := func(seq uint64, second int64) *wl.SampleBatch {
		m := samples(seq, 1)
		m.TickUs[0] = int64(noon) + second*1_000_000
		return m
	}
	offer(t, p, message(0, at(2, 10)))
	offer(t, p, message(1, at(5, 13)))
	offer(t, p, message(2, at(4, 12))) // late: it stays in the record
	offer(t, p, message(3, at(6, 14)))
	next := at(0, 20)
	next.PreviousRun, next.PreviousRunLastSequence, next.Run = next.Run, 8, runBytes(1)
	offer(t, p, message(4, next))
	wholly := at(1, 30)
	wholly.PreviousRun, wholly.PreviousRunLastSequence, wholly.Run = runBytes(2), 3, runBytes(3)
	offer(t, p, message(5, wholly))

	first := fmt.Sprintf("%x", samples(0, 0).Run)
	second := func(s int64) unit.Micros { return noon + unit.Micros(s)*1_000_000 }
	missing := func(reason string, run string, first, last uint64, from, to unit.Micros) record.Incident {
		return record.Incident{Kind: "missing", Reason: reason, From: from, To: to, Amount: int64(last - first + 1), Run: run, First: first, Last: last}
	}
	want := []record.Incident{
		missing("before_start", first, 0, 1, second(10), second(10)),
		missing("hole", first, 3, 4, second(10), second(13)),
		missing("end_of_run", first, 7, 8, second(14), second(20)),
		missing("before_start", fmt.Sprintf("%x", runBytes(3)), 0, 0, second(30), second(30)),
		missing("end_of_run", fmt.Sprintf("%x", runBytes(2)), 0, 3, second(30), second(30)),
	}
	var got []record.Incident
	for _, g := range p.Batch().Gaps {
		got = append(got, g.Value)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if b := p.Batch(); b.Missing != 11 || b.Late != 1 {
		t.Errorf("%d missing and %d late, want 11 and 1", b.Missing, b.Late)
	}
}

// Numbers at the end of their range make no hole.
func TestTheHighestNumberIsANumber(t *testing.T) {
	p := New(DefaultConfig(), wire.TopicSample, 0, nil)
	top := ^uint64(0)
	for i, seq := range []uint64{top, top, top - 1, 0, 0} {
		offer(t, p, message(int64(i), samples(seq, 1)))
	}
	if b := p.Batch(); len(b.Gaps) != 1 || b.Repeats != 2 || len(b.Entries) != 5 {
		t.Errorf("%d gap records, %d repeats of %d entries, want 1, 2 and 5", len(b.Gaps), b.Repeats, len(b.Entries))
	}
}
