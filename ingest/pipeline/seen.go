package pipeline

import (
	"slices"

	"github.com/wattledger/wattledger/schemas/unit"
)

// Span is a range of sequence numbers, both ends included.
type Span struct{ First, Last uint64 }

// Edge is the last that is known of a run before a hole in it.
type Edge struct {
	// Tick is the latest tick of its rows, 0 when it had none; Received the latest time of receipt.
	Tick, Received unit.Micros
}

func (e Edge) join(o Edge) Edge { return Edge{max(e.Tick, o.Tick), max(e.Received, o.Received)} }

// at is the tick, or what comes nearest to one.
func (e Edge) at() unit.Micros {
	if e.Tick != 0 {
		return e.Tick
	}
	return e.Received
}

// maxSpans bounds what is remembered of one run. Of what lies below, the database is asked.
const maxSpans = 64

// seen is which messages of one run are stored or in the present batch.
type seen struct {
	// from is where our knowledge begins: every number at or above it is stored if and only if it lies in spans.
	from  uint64
	spans []Span
	// top is the highest number that is accounted for, be it stored or put aside with a gap record; any says that there is one.
	top  uint64
	any  bool
	edge Edge
	used uint64 // when it was last asked for, to forget the longest unused first
}

type verdict uint8

const (
	unknown  verdict = iota // the database has to be asked
	fresh                   // never stored
	repeated                // stored
)

func (s *seen) judge(seq uint64) verdict {
	_, in := s.find(seq)
	switch {
	case in:
		return repeated
	case seq >= s.from:
		return fresh
	default:
		return unknown
	}
}

// weight is what the run takes of the memory: itself and its spans.
func (s *seen) weight() int { return 1 + len(s.spans) }

// find is the index of the span that holds seq, or of the first one above it.
func (s *seen) find(seq uint64) (int, bool) {
	if n := len(s.spans); n > 0 && s.spans[n-1].Last < seq { // the usual case
		return n, false
	}
	i, _ := slices.BinarySearchFunc(s.spans, seq, func(sp Span, seq uint64) int {
		switch {
		case sp.Last < seq:
			return -1
		case sp.Last > seq:
			return 1
		default:
			return 0
		}
	})
	return i, i < len(s.spans) && s.spans[i].First <= seq
}

// account takes note of a number that was met, stored or not.
func (s *seen) account(seq uint64) { s.top, s.any = max(s.top, seq), true }

// add puts seq in. Adding twice is adding once. A number below what is known is left to the database.
func (s *seen) add(seq uint64) {
	i, in := s.find(seq)
	if in || seq < s.from {
		return
	}
	left := i > 0 && s.spans[i-1].Last+1 == seq
	right := i < len(s.spans) && seq+1 == s.spans[i].First
	switch {
	case left && right:
		s.spans[i-1].Last = s.spans[i].Last
		s.spans = slices.Delete(s.spans, i, i+1)
	case left:
		s.spans[i-1].Last = seq
	case right:
		s.spans[i].First = seq
	default:
		s.spans = slices.Insert(s.spans, i, Span{seq, seq})
	}
}

// remove takes seq out again: it was not stored after all.
func (s *seen) remove(seq uint64) {
	i, in := s.find(seq)
	if !in {
		return
	}
	var rest []Span
	if sp := s.spans[i]; sp.First < seq {
		rest = append(rest, Span{sp.First, seq - 1})
	}
	if sp := s.spans[i]; sp.Last > seq {
		rest = append(rest, Span{seq + 1, sp.Last})
	}
	s.spans = slices.Replace(s.spans, i, i+1, rest...)
}

// bound forgets the lowest spans beyond maxSpans. No message in them may be in the batch.
func (s *seen) bound() {
	if extra := len(s.spans) - maxSpans; extra > 0 {
		s.spans = slices.Delete(s.spans, 0, extra)
		s.from = s.spans[0].First
	}
}
