package plugin

import (
	"sync"
	"time"
)

// quietFor is how long a line of one kind is not written again: a panel that fails is asked again with each refresh.
const quietFor = 10 * time.Second

// quiet says whether a line may be written, and how many were not since the last one.
type quiet struct {
	mu      sync.Mutex // guards all below
	written map[string]time.Time
	skipped map[string]int
}

func (q *quiet) may(what string, now time.Time) (yes bool, skipped int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.written == nil {
		q.written, q.skipped = map[string]time.Time{}, map[string]int{}
	}
	if at, ok := q.written[what]; ok && now.Sub(at) < quietFor {
		q.skipped[what]++
		return false, 0
	}
	skipped = q.skipped[what]
	q.written[what], q.skipped[what] = now, 0
	return true, skipped
}
