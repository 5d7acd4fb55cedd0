package smilog

import (
	"math/bits"
	"slices"

	"github.com/wattledger/wattledger/schemas/unit"
)

// spacing counts the distances of rows in whole milliseconds, rounded up. Beyond a minute it keeps 16 significant
// bits, rounded up, so that it stays small whatever a file holds.
type spacing struct {
	by map[int64]uint64
	n  uint64
}

func newSpacing() *spacing { return &spacing{by: map[int64]uint64{}} }

func (s *spacing) add(d unit.Micros) {
	ms := int64((d + unit.Millisecond - 1) / unit.Millisecond)
	if drop := bits.Len64(uint64(ms)) - 16; drop > 0 {
		ms = (ms + 1<<drop - 1) >> drop << drop
	}
	s.by[ms]++
	s.n++
}

// median is the lower median, one second when there is nothing to count.
func (s *spacing) median() unit.Micros {
	keys := make([]int64, 0, len(s.by))
	for ms := range s.by {
		keys = append(keys, ms)
	}
	slices.Sort(keys)
	var seen uint64
	for _, ms := range keys {
		if seen += s.by[ms]; seen >= (s.n+1)/2 {
			return unit.Micros(ms) * unit.Millisecond
		}
	}
	return unit.Second
}
