package cache

import (
	"math"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/wattledger/wattledger/dashboards/query"
)

const (
	// largest is that one entry may take an eighth of all memory: one table must not push out what twenty panels need.
	largest = 8
	// sweepEach is how often what is believed no longer is thrown out. Most answers are of ranges that nobody asks for again.
	sweepEach = time.Minute
)

// entry is what is kept under a key, a part or a whole answer, and until when it is believed.
type entry struct {
	part   part
	frames []query.Frame
	until  time.Time
	size   int64
}

// store is a map of entries that is bounded in bytes.
type store struct {
	metrics Metrics

	mu    sync.Mutex // guards all below
	most  int64      // 0 once it is closed
	lru   *simplelru.LRU[key, entry]
	bytes int64
	swept time.Time
}

func newStore(most int64, m Metrics) *store {
	s := &store{most: most, metrics: m}
	lru, err := simplelru.NewLRU(math.MaxInt, func(_ key, e entry) { // under mu: whatever takes something out holds it
		s.bytes -= e.size
		m.bytes.Sub(float64(e.size))
	})
	if err != nil {
		panic(err) // of a size that is not positive
	}
	s.lru = lru
	return s
}

func (s *store) get(k key, now time.Time) (entry, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.lru.Get(k)
	if ok && now.After(e.until) {
		s.lru.Remove(k)
		return entry{}, false
	}
	return e, ok
}

// put keeps what was asked for at some time.
func (s *store) put(k key, e entry, believed time.Duration, asked time.Time) {
	e.until, e.size = asked.Add(believed), weigh(k, e)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.size > s.most/largest {
		return
	}
	if asked.Sub(s.swept) >= sweepEach {
		s.sweep(asked)
	}
	s.lru.Remove(k)
	s.lru.Add(k, e)
	s.bytes += e.size
	s.metrics.bytes.Add(float64(e.size))
	for s.bytes > s.most {
		s.lru.RemoveOldest()
		s.metrics.evicted.Inc()
	}
}

// sweep throws out what is believed no longer; mu is held.
func (s *store) sweep(now time.Time) {
	for _, k := range s.lru.Keys() {
		if e, ok := s.lru.Peek(k); ok && now.After(e.until) {
			s.lru.Remove(k)
		}
	}
	s.swept = now
}

func (s *store) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.most = 0
	s.lru.Purge()
}

// weigh is about what an entry takes in memory, rather too much than too little.
func weigh(k key, e entry) int64 {
	n := 512 + len(k.text) + len(k.version) + len(k.scope.Tenant) + len(k.zone)
	about := func(notices []string, asOf map[string]uint64) {
		for _, t := range notices {
			n += 16 + len(t)
		}
		for id := range asOf {
			n += 48 + len(id)
		}
	}
	column := func(c query.Column) {
		n += 192 + 24*cap(c.Times) + 8*cap(c.Numbers) + 16*cap(c.Texts) + cap(c.Flags) + len(c.Name) + len(c.Unit)
		for name, value := range c.Labels {
			n += 64 + len(name) + len(value)
		}
		for _, t := range c.Texts {
			n += len(t)
		}
	}
	about(e.part.about.notices, e.part.about.asOf)
	for _, s := range e.part.series {
		n += 96 + 8*cap(s.values) + len(s.frame) + len(s.by)
		column(s.column)
	}
	for _, f := range e.frames {
		n += 144 + len(f.Name) + len(f.Source)
		about(f.Notices, f.AsOf)
		for _, c := range f.Columns {
			column(c)
		}
	}
	return int64(n)
}
