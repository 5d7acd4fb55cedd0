package cache

import (
	"math"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/wattledger/wattledger/dashboards/query"
)

// key finds a chunk. The scope is part of it, so that what one tenant was answered cannot be found by another's question.
type key struct {
	scope    query.Scope
	question string
	version  string
	step     int64
	at       int64
}

// unfit stands in the place of a chunk's begin for questions that are not answered in parts.
const unfit = math.MinInt64

func (p plan) key(at int64) key {
	if at == unfit {
		return key{p.scope, p.question, "", p.step, at}
	}
	return key{p.scope, p.question, p.version, p.step, at}
}

// entry is what is kept under a key, and until when it is believed.
type entry struct {
	part  part
	until time.Time
	size  int64
}

// store is a map of entries that is bounded in bytes.
type store struct {
	most    int64
	metrics Metrics

	mu    sync.Mutex // guards all below
	lru   *simplelru.LRU[key, entry]
	bytes int64
}

func newStore(most int64, m Metrics) *store {
	s := &store{most: most, metrics: m}
	lru, err := simplelru.NewLRU(math.MaxInt, func(_ key, e entry) { // under mu: only put, get and clear take something out
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

func (s *store) put(k key, e entry) {
	e.size = weigh(k, e)
	if e.size > s.most {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lru.Remove(k)
	s.lru.Add(k, e)
	s.bytes += e.size
	s.metrics.bytes.Add(float64(e.size))
	for s.bytes > s.most {
		s.lru.RemoveOldest()
		s.metrics.evicted.Inc()
	}
}

func (s *store) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lru.Purge()
}

// weigh is about what an entry takes in memory, rather too much than too little.
func weigh(k key, e entry) int64 {
	n := 512 + len(k.question) + len(k.version) + len(k.scope.Tenant)
	for _, t := range e.part.about.notices {
		n += 16 + len(t)
	}
	for id := range e.part.about.asOf {
		n += 48 + len(id)
	}
	for _, s := range e.part.series {
		n += 400 + 8*cap(s.values) + len(s.frame) + len(s.by)
		for name, value := range s.column.Labels {
			n += 64 + len(name) + len(value)
		}
	}
	return int64(n)
}
