package kafka

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/internal/chconn"
)

// The reasons why a partition is not carried on.
const (
	reasonDatabaseAway = "database_away"  // it does not answer
	reasonReadOnly     = "read_only"      // it or a table takes no writes
	reasonDiskFull     = "disk_full"      // it has no room left
	reasonParts        = "too_many_parts" // it cannot merge as fast as it is given
	reasonMemory       = "memory"         // it has no memory for the statement
	reasonDatabase     = "database"       // it refuses for another reason, such as a missing table or right
	reasonBroker       = "broker"         // refused messages cannot be published
)

var reasons = []string{reasonDatabaseAway, reasonReadOnly, reasonDiskFull, reasonParts, reasonMemory, reasonDatabase, reasonBroker}

// reasonOf puts an error under one of the reasons. The numbers are the engine's (src/Common/ErrorCodes.cpp).
func reasonOf(what string, err error) string {
	if what == "refused" {
		return reasonBroker
	}
	switch chconn.Code(err) {
	case 0:
		return reasonDatabaseAway
	case 164, 242: // READONLY, TABLE_IS_READ_ONLY
		return reasonReadOnly
	case 243, 75: // NOT_ENOUGH_SPACE, CANNOT_WRITE_TO_FILE_DESCRIPTOR
		return reasonDiskFull
	case 252: // TOO_MANY_PARTS
		return reasonParts
	case 241: // MEMORY_LIMIT_EXCEEDED
		return reasonMemory
	default:
		return reasonDatabase
	}
}

type place struct {
	topic     string
	partition int
}

// blockage is what a partition waits for. While it waits nothing more is read of it than what was fetched already.
type blockage struct {
	reason string
	since  time.Time
	err    error
}

// state is which partitions of this member wait, and for what.
type state struct {
	mu    sync.Mutex
	waits map[place]blockage // guarded by mu
	gauge *prometheus.GaugeVec
}

func newState(reg prometheus.Registerer) *state {
	s := &state{waits: map[place]blockage{}, gauge: prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "wattledger_ingest_blocked_partitions", Help: "Partitions held by something that is tried again, and not read meanwhile, by reason: " + strings.Join(reasons, ", ") + ".",
	}, []string{"reason"})}
	for _, r := range reasons {
		s.gauge.WithLabelValues(r).Set(0)
	}
	if reg != nil {
		reg.MustRegister(s.gauge)
	}
	return s
}

// wait says that the partition waits because of err.
func (s *state) wait(topic string, partition int, what string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := place{topic, partition}
	b, waits := s.waits[at]
	if !waits {
		b.since = time.Now()
	} else {
		s.gauge.WithLabelValues(b.reason).Dec()
	}
	b.reason, b.err = reasonOf(what, err), err
	s.gauge.WithLabelValues(b.reason).Inc()
	s.waits[at] = b
}

// resume says that the partition waits no more.
func (s *state) resume(topic string, partition int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := place{topic, partition}
	if b, waits := s.waits[at]; waits {
		s.gauge.WithLabelValues(b.reason).Dec()
		delete(s.waits, at)
	}
}

// ready is nil, or says what is waited for.
func (s *state) ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var texts []string
	for at, b := range s.waits {
		name := "start"
		if at.topic != "" {
			name = fmt.Sprintf("%s partition %d", at.topic, at.partition)
		}
		texts = append(texts, fmt.Sprintf("%s waits for %v: %s: %v", name, time.Since(b.since).Round(time.Second), b.reason, b.err))
	}
	if len(texts) == 0 {
		return nil
	}
	slices.Sort(texts)
	const shown = 3
	if more := len(texts) - shown; more > 0 {
		texts = append(texts[:shown], fmt.Sprintf("and %d more", more))
	}
	return errors.New(strings.Join(texts, "; "))
}
