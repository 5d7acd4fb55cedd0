package spool

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/collector/message"
	"github.com/wattledger/wattledger/schemas/unit"
)

// ErrClosed means that the spool was closed; what it holds is on disk for the next one.
var ErrClosed = errors.New("the spool is closed")

// Spool is an open folder of waiting messages. Put, Last, Losses and Reported may be called from any goroutine, Batch, Next
// and Ack from one at a time.
type Spool struct {
	cfg    Config
	folder folder
	clock  func() unit.Micros
	log    *slog.Logger
	met    *metrics
	unlock io.Closer
	wake   chan struct{} // holds one token when something was put
	closed chan struct{}

	// wmu is held by a writer until its message is on disk. Locks are taken in the order wmu or rmu, then mu.
	wmu      sync.Mutex
	file     file   // of the last segment, for writing; nil before the first message. The rest of this group is wmu's too
	record   []byte // the one write buffer
	suspect  bool   // the last segment did not sync: what it says is not to be trusted beyond its end
	unsynced bool
	timer    *time.Timer // syncs what no later message has synced; of SyncInterval only

	rmu    sync.Mutex
	reader reader // rmu's

	mu       sync.Mutex
	segments []*segment // in order; the last one is written to if file is set. All of this group is mu's
	last     uint64     // number of the last message appended
	acked    uint64     // it and all before are published or given up
	passed   uint64     // it and all before are accounted for, as the memory on disk says
	losses   []Loss
	fixed    int      // how many of losses must not change any more
	handed   uint64   // last when losses were handed out
	flowing  bool     // something was published since something was last given up
	stated   []stated // losses that a message tells about which is not known to be published
	marks    map[string]message.Mark
	oldest   unit.Micros // about when the oldest message that waits was appended
	cursor   cursor
}

// segment is one file. Its numbers are [first, the next one's first).
type segment struct {
	name  string
	first uint64
	begun unit.Micros
	size  int64
}

const (
	segmentSuffix = ".seg"
	badSuffix     = ".bad"
	memoryName    = "memory"
	cursorName    = "cursor"
	newSuffix     = ".new"
)

func segmentName(first uint64) string { return fmt.Sprintf("%020d%s", first, segmentSuffix) }

// numberOf is the first number of a segment, from its file's name.
func numberOf(name string) (first uint64, ok bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	first, err := strconv.ParseUint(digits, 10, 64)
	return first, err == nil && first > 0
}

// Open takes the folder for this process and finds its way in it. The clock is the node's. Close it when done.
func Open(cfg Config, clock func() unit.Micros, log *slog.Logger, reg prometheus.Registerer) (*Spool, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	d, err := openDisk(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	unlock, err := lock(cfg.Dir)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("spool %s: %w", cfg.Dir, err), d.self.Close())
	}
	s, err := open(cfg, d, clock, log, reg)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("spool %s: %w", cfg.Dir, err), d.self.Close(), unlock.Close())
	}
	s.unlock = unlock
	return s, nil
}

func open(cfg Config, f folder, clock func() unit.Micros, log *slog.Logger, reg prometheus.Registerer) (*Spool, error) {
	s := &Spool{
		cfg: cfg, folder: f, clock: clock, log: log, wake: make(chan struct{}, 1), closed: make(chan struct{}), marks: map[string]message.Mark{},
	}
	s.reader.topics = map[string]string{}
	s.met = newMetrics(reg, s)
	if err := s.recover(); err != nil {
		return nil, err
	}
	return s, nil
}

// Close lets go of the folder. What was acknowledged is on disk; a policy of intervals is kept to the end.
func (s *Spool) Close() error {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	s.mu.Lock()
	select {
	case <-s.closed:
		s.mu.Unlock()
		return nil
	default:
	}
	close(s.closed) // wakes the reader, who then lets go of rmu
	s.mu.Unlock()
	s.rmu.Lock()
	defer s.rmu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
	}
	errs := []error{s.reader.close()}
	if s.file != nil {
		if s.unsynced {
			errs = append(errs, s.sync())
		}
		errs = append(errs, s.file.Close())
	}
	errs = append(errs, s.cursor.file.Close())
	if d, ok := s.folder.(*disk); ok {
		errs = append(errs, d.self.Close())
	}
	if s.unlock != nil {
		errs = append(errs, s.unlock.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close spool %s: %w", s.cfg.Dir, err)
	}
	return nil
}

func (s *Spool) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// Last is the mark of the last message of a topic that was ever appended. It outlives the message. Of a message without
// rows, such as the last word of a run, the times are those of the last message with rows.
func (s *Spool) Last(topic string) (message.Mark, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.marks[topic]
	return m, ok
}

// depth is how much waits, and the age of the oldest in seconds.
func (s *Spool) depth() (messages uint64, bytes int64, age float64) {
	now := s.clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	messages = s.last - s.acked
	if messages > 0 {
		age = max(0, (now - s.oldest).Duration().Seconds())
	}
	return messages, s.bytes(), age
}

// bytes are those of all segments. The caller holds mu.
func (s *Spool) bytes() (n int64) {
	for _, seg := range s.segments {
		n += seg.size
	}
	return n
}

// holding is the segment that has the number, if any, and its bounds. The caller holds mu.
func (s *Spool) holding(number uint64) (seg *segment, high uint64) {
	i, exact := slices.BinarySearchFunc(s.segments, number, func(g *segment, n uint64) int {
		switch {
		case g.first < n:
			return -1
		case g.first > n:
			return 1
		}
		return 0
	})
	if !exact {
		i--
	}
	if i < 0 {
		return nil, 0
	}
	if i+1 < len(s.segments) {
		return s.segments[i], s.segments[i+1].first
	}
	return s.segments[i], s.last + 1
}

// after is the mark to remember when a message comes after another of its topic.
func after(old, m message.Mark) message.Mark {
	if m.To == 0 {
		m.From, m.To = old.From, old.To
	}
	return m
}
