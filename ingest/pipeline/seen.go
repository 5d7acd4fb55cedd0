package pipeline

import "slices"

// Span is a range of sequence numbers, both ends included.
type Span struct{ First, Last uint64 }

// History is what the database holds of one run: disjoint spans in ascending order, none when it holds nothing.
type History struct {
	Run   Run
	Spans []Span
}

// maxSpans bounds the memory of one run. A run with more holes than this is asked about again below them.
const maxSpans = 1024

// seen is which messages of one run are stored or in the present batch.
type seen struct {
	// from is where our knowledge begins: every number at or above it is stored if and only if it lies in spans.
	from  uint64
	spans []Span
}

type verdict uint8

const (
	unknown  verdict = iota // the database has to be asked
	fresh                   // never stored
	repeated                // stored
)

func (s *seen) judge(seq uint64) verdict {
	i, in := s.find(seq)
	switch {
	case in:
		return repeated
	case seq >= s.from || i == len(s.spans) && i > 0:
		// Messages of a run lie in one partition in order: beyond the highest known there is nothing stored.
		return fresh
	default:
		return unknown
	}
}

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

// highest is the last number known to be stored.
func (s *seen) highest() (uint64, bool) {
	if len(s.spans) == 0 {
		return 0, false
	}
	return s.spans[len(s.spans)-1].Last, true
}

// add puts seq in. Adding twice is adding once.
func (s *seen) add(seq uint64) {
	i, in := s.find(seq)
	if in {
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
		if len(s.spans) > maxSpans {
			s.spans = slices.Delete(s.spans, 0, 1)
			s.from = max(s.from, s.spans[0].First)
		}
	}
}

// learn takes the whole history of the run from the database and keeps what is known besides.
func (s *seen) learn(spans []Span) {
	own := s.spans
	s.spans, s.from = slices.Clone(spans), 0
	for _, sp := range own {
		s.merge(sp)
	}
	if extra := len(s.spans) - maxSpans; extra > 0 {
		s.spans = slices.Delete(s.spans, 0, extra)
		s.from = s.spans[0].First
	}
}

// merge puts a whole span in.
func (s *seen) merge(sp Span) {
	lo, _ := s.find(sp.First)
	if lo > 0 && s.spans[lo-1].Last+1 == sp.First {
		lo--
	}
	hi := lo
	for hi < len(s.spans) && (s.spans[hi].First <= sp.Last || s.spans[hi].First == sp.Last+1) {
		sp.First, sp.Last = min(sp.First, s.spans[hi].First), max(sp.Last, s.spans[hi].Last)
		hi++
	}
	s.spans = slices.Replace(s.spans, lo, hi, sp)
}
