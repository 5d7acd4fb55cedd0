package smilog

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/schemas/unit"
)

// The median is that of the spacings in milliseconds, rounded up; beyond 16 bits it is at most 1/32768 above it.
func TestMedianSpacing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, all := newSpacing(), []unit.Micros{}
		for range rapid.IntRange(1, 50).Draw(t, "n") {
			d := unit.Micros(rapid.Int64Range(1, 1<<rapid.IntRange(1, 50).Draw(t, "bits")).Draw(t, "spacing"))
			s.add(d)
			all = append(all, d)
		}
		slices.Sort(all)
		want := (all[(len(all)-1)/2] + unit.Millisecond - 1) / unit.Millisecond * unit.Millisecond
		if got := s.median(); got < want || got > want+want/32768 || (want < 65536*unit.Millisecond && got != want) {
			t.Fatalf("median %d, want %d", got, want)
		}
	})
	if got := newSpacing().median(); got != unit.Second {
		t.Errorf("no spacing at all makes %d", got)
	}
	s := newSpacing()
	for d := unit.Micros(1); d < 1<<52; d += d/5000 + 1 {
		s.add(d)
	}
	if len(s.by) > 1<<20 {
		t.Errorf("%d different spacings are kept", len(s.by))
	}
}
