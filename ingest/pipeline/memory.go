package pipeline

import "sync/atomic"

// Memory bounds what all pipelines of a process remember of runs together. It counts runs and spans, each of which takes some
// 150 bytes. Each pipeline has an equal share.
type Memory struct {
	limit                      int
	used, pipelines, forgotten atomic.Int64
}

// NewMemory has room for so many runs and spans.
func NewMemory(limit int) *Memory { return &Memory{limit: limit} }

// Used is how many runs and spans are remembered now.
func (m *Memory) Used() int64 { return m.used.Load() }

// Forgotten counts the runs that were forgotten to make room.
func (m *Memory) Forgotten() int64 { return m.forgotten.Load() }

// leastShare lets a pipeline work however many there are.
const leastShare = 4 * perMessage

// share is what one pipeline may remember.
func (m *Memory) share() int {
	return max(leastShare, m.limit/int(max(1, m.pipelines.Load())))
}
