package pipeline

import (
	"math"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// The reasons of a gap record.
const (
	// ReasonHole is numbers passed over between two messages of a run, or a message that the store refused.
	ReasonHole = "hole"
	// ReasonBeforeStart is numbers before the first message of a run.
	ReasonBeforeStart = "before_start"
	// ReasonEndOfRun is numbers at the end of a run, of which the next run says that they were sent.
	ReasonEndOfRun = "end_of_run"
)

// edge is when the message was, for whoever looks back at it.
func (e *Entry) edge() Edge { return Edge{Tick: e.LastTick, Received: e.Message.Received} }

// begin is the first tick of the message, or what comes nearest to one.
func (e *Entry) begin() unit.Micros {
	if e.FirstTick != 0 {
		return e.FirstTick
	}
	return e.Message.Received
}

// holes records the numbers that the message shows to be missing. s is what is known of its run before it.
//
// A record is made of the message and of what was stored before it, so that a replay after a crash makes the same one; the
// table keeps one of each. Where it does not, because the store refused what came before, two records overlap, and their
// reader counts each number once. What fills a hole later stays in the record and is found among the messages.
func (p *Pipeline) holes(e *Entry, s *seen, previous *Run) {
	switch {
	case !s.any && e.Seq > 0:
		p.gap(e, e.Run, ReasonBeforeStart, Span{0, e.Seq - 1}, Edge{})
	case s.any && e.Seq > s.top && e.Seq-s.top > 1:
		p.gap(e, e.Run, ReasonHole, Span{s.top + 1, e.Seq - 1}, s.edge)
	case s.any && e.Seq < s.top:
		p.batch.Late++
	}
	if previous == nil || s.any {
		return
	}
	before := p.known.get(*previous)
	switch {
	case before == nil:
	case !before.any:
		p.gap(e, *previous, ReasonEndOfRun, Span{0, e.PreviousSeq}, Edge{})
	case before.top < e.PreviousSeq:
		p.gap(e, *previous, ReasonEndOfRun, Span{before.top + 1, e.PreviousSeq}, before.edge)
	default:
		return
	}
	if before != nil {
		before.account(e.PreviousSeq)
	}
}

// gap records that the numbers of a run are missing, as a message showed. Nothing known before means that it began no later
// than it ended.
func (p *Pipeline) gap(e *Entry, run Run, reason string, missing Span, before Edge) {
	n := missing.Last - missing.First + 1
	p.batch.Missing += n
	to := e.begin()
	from := before.at()
	if from == 0 {
		from = to
	}
	p.batch.addGap(e, record.Incident{
		Kind: record.IncidentMissing, Reason: reason, From: from, To: max(from, to), Amount: int64(min(n, math.MaxInt64)),
		Run: run.Hex(), First: missing.First, Last: missing.Last,
	})
}

func (b *Batch) addGap(e *Entry, i record.Incident) {
	b.Gaps = append(b.Gaps, Told[record.Incident]{Run: e.Run, Seq: e.Seq, Received: e.Message.Received, Value: i})
}

// NoteRefused records the gaps that refusals of the store leave behind. It is called once, after the rows and before the lines.
func (b *Batch) NoteRefused() {
	for i := range b.Entries {
		e := &b.Entries[i]
		if !e.Refused || e.Repeat || !numbered(b.Topic) {
			continue
		}
		from := e.before.at()
		if from == 0 {
			from = e.begin()
		}
		b.Missing++
		b.addGap(e, record.Incident{
			Kind: record.IncidentMissing, Reason: ReasonHole, From: from, To: max(from, e.edge().at()), Amount: 1, Run: e.Run.Hex(), First: e.Seq, Last: e.Seq,
		})
	}
}
