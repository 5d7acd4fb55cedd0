package pipeline

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// spansOf is the spans of a set of numbers, by the definition.
func spansOf(set map[uint64]bool) []Span {
	var all []uint64
	for v := range set {
		all = append(all, v)
	}
	slices.Sort(all)
	var out []Span
	for _, v := range all {
		if n := len(out); n > 0 && out[n-1].Last+1 == v {
			out[n-1].Last = v
		} else {
			out = append(out, Span{v, v})
		}
	}
	return out
}

func TestSeenIsASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.Uint64Range(0, 40)
		s, set := &seen{}, map[uint64]bool{}
		for _, v := range rapid.SliceOfN(number, 0, 60).Draw(t, "numbers") {
			want := fresh
			if set[v] {
				want = repeated
			}
			if got := s.judge(v); got != want {
				t.Fatalf("%d is judged %d, want %d; spans %v", v, got, want, s.spans)
			}
			if rapid.IntRange(0, 4).Draw(t, "remove") == 0 {
				s.remove(v)
				delete(set, v)
				continue
			}
			s.add(v)
			set[v] = true
			if rapid.IntRange(0, 3).Draw(t, "remove") == 0 {
				s.remove(v - 1) // 0 − 1 is a number as well, which was never added
				delete(set, v-1)
			}
		}
		if want := spansOf(set); !slices.Equal(s.spans, want) {
			t.Fatalf("spans %v, want %v", s.spans, want)
		}
	})
}

// A run that is known in part never calls a number stored that is not, and asks below what it knows.
func TestSeenInPartAsksBelow(t *testing.T) {
	s := &seen{from: 10}
	s.add(10)
	s.add(12)
	f := func(v uint64, want verdict) {
		t.Helper()
		if got := s.judge(v); got != want {
			t.Errorf("%d is judged %d, want %d", v, got, want)
		}
	}
	f(9, unknown)
	f(10, repeated)
	f(11, fresh)
	f(12, repeated)
	f(13, fresh)
}

func TestSeenForgetsTheLowestHoles(t *testing.T) {
	s := &seen{}
	for v := range uint64(2 * maxSpans) {
		s.add(3 * v)
	}
	s.bound()
	if len(s.spans) != maxSpans {
		t.Errorf("%d spans kept, want %d", len(s.spans), maxSpans)
	}
	if got := s.judge(0); got != unknown {
		t.Errorf("what was forgotten is judged %d, want unknown", got)
	}
	if got := s.judge(3 * (2*maxSpans - 1)); got != repeated {
		t.Errorf("the last is judged %d, want repeated", got)
	}
}
