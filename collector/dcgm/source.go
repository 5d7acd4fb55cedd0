package dcgm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/unit"
)

// ErrAbandoned means that the source was closed while a call of it was still inside the library. The call holds its thread
// until it returns, if ever; what the process has only once is free for another source.
var ErrAbandoned = errors.New("a call of libdcgm has not returned: the source is given up with its thread")

// Source reads the devices of one node. Like any agent.Source it is for one goroutine, but for what says otherwise, and for
// Close: that may be called while another call hangs.
type Source struct {
	lib  *Library
	cfg  Config
	log  *slog.Logger
	met  *metrics
	conn *Conn // nil while the engine is away

	entities []entity
	slots    []meter.Set
	energy   []int64 // the last counter of each row
	classes  []*class
	switches *class            // nil where there are none
	rows     [groupEnd][]int16 // entity id to row, by entity group
	columns  *columns
	edge     call
	shape    string
	leftOut  []LeftOut

	// of the reading that goes on
	buffer []fieldValueV2
	put    func(v value) // place, made once
	into   *meter.Readings
	kept   *meter.Readings // what an engine without bulk reads has said so far
	any    bool
	count  count

	address  string      // chosen once
	lookAt   unit.Micros // when to compare the shape next
	hintAt   unit.Micros // from when on a hint is followed
	hint     bool        // something suggests that the devices have changed
	rebuild  bool        // our watches are in doubt, whatever the shape
	retryAt  unit.Micros // when to connect next
	switchAt unit.Micros // when to read the switches next
	backoff  unit.Micros
	timeouts int
	blind    int
	away     error
	since    time.Time

	libraryVersion, engineVersion string

	news    bool              // there are events to fetch
	newest  map[factKey]int64 // the latest event of each entity
	waiting []agent.Event     // taken from the watches before they were made anew
	seen    []agent.Event     // reported of late, to be known when they come again
	sxids   []sxid            // the same for switches

	busy      sync.Mutex           // held by the call that goes on
	held      atomic.Pointer[Conn] // conn, for Close
	abandoned atomic.Bool
	opening   atomic.Pointer[func() error] // while Open goes on, whether it still may
	entered   atomic.Int64                 // when the call that goes on began, in ns; 0 when there is none

	public struct {
		sync.Mutex
		status   Status
		switches []Switch
		labels   map[string][]string
	}
}

// Open connects, finds the devices and starts to sample them. Close the source when done. ctx is looked at between calls of
// the library, which cannot be interrupted; when it ends during one, what the process has only once is given back.
func Open(ctx context.Context, lib *Library, cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Source, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("dcgm: %w", err)
	}
	s := &Source{
		lib: lib, cfg: cfg, log: log, met: newMetrics(reg, cfg.Node), columns: newColumns(cfg.Extra), newest: map[factKey]int64{},
	}
	s.put = s.place
	s.busy.Lock()
	s.entered.Store(time.Now().UnixNano())
	may := ctx.Err
	s.opening.Store(&may)
	stop := context.AfterFunc(ctx, s.giveUp)
	defer s.leave()
	defer func() {
		stop()
		s.opening.Store(nil)
	}()
	s.address = lib.address(ctx, cfg)
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// enter begins a call, leave ends it.
func (s *Source) enter() bool {
	s.busy.Lock()
	if s.abandoned.Load() {
		s.busy.Unlock()
		return false
	}
	s.entered.Store(time.Now().UnixNano())
	return true
}

func (s *Source) leave() {
	s.entered.Store(0)
	s.busy.Unlock()
	if s.abandoned.Load() {
		s.finish()
	}
}

// finish closes what an abandoned call has left, once it is out.
func (s *Source) finish() {
	if !s.busy.TryLock() {
		return // the call is still inside, and finishes when it comes out
	}
	defer s.busy.Unlock()
	if s.conn != nil {
		s.drop(ErrAbandoned)
	}
}

// giveUp leaves a call that hangs behind.
func (s *Source) giveUp() {
	s.abandoned.Store(true)
	if c := s.held.Load(); c != nil {
		c.abandon()
	}
	s.finish()
}

// hungAfter is from when on a call counts as one that will not return, also if nobody has said so: libdcgm waits for a host
// engine for a minute at most.
const hungAfter = 70 * time.Second

// givenUp says whether nobody waits for this source any more.
func (s *Source) givenUp() bool {
	if may := s.opening.Load(); may != nil && (*may)() != nil {
		return true
	}
	began := s.entered.Load()
	return s.abandoned.Load() || began != 0 && time.Since(time.Unix(0, began)) > hungAfter
}

// alive says whether a call may go on.
func (s *Source) alive(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.abandoned.Load() {
		return ErrAbandoned
	}
	return nil
}

// Devices lists the devices in the order of rows.
func (s *Source) Devices() []agent.Device {
	out := make([]agent.Device, len(s.entities))
	for i, e := range s.entities {
		out[i] = agent.Device{Device: e.device, Slots: s.slots[i], PCI: e.pci, File: e.file, Profile: e.profile}
	}
	return out
}

// Read takes the latest value of every field: one call per class of devices, into buffers that are reused. A dead connection is
// made anew at a later tick, after a pause that doubles up to a minute.
func (s *Source) Read(ctx context.Context, tick unit.Micros, r *meter.Readings) error {
	if !s.enter() {
		return ErrAbandoned
	}
	defer s.leave()
	if err := s.alive(ctx); err != nil {
		return err
	}
	if s.conn == nil {
		return s.reopen(ctx, tick)
	}
	if changed, err := s.look(ctx, tick); err != nil || changed {
		if err == nil {
			err = agent.ErrChanged
		}
		return err
	}
	if err := s.read(ctx, r); err != nil {
		s.keepEvents(ctx, err)
		return s.failed(tick, err)
	}
	if err := s.readSwitches(ctx, tick); err != nil {
		s.met.failures.WithLabelValues(s.cfg.Node, "switches", code(err).String()).Inc()
		s.log.Warn("nvswitches not read", "error", err)
	}
	s.timeouts, s.backoff = 0, 0
	return s.alive(ctx)
}

func (s *Source) read(ctx context.Context, r *meter.Readings) error {
	s.into, s.any, s.count = r, false, count{}
	if s.conn.old {
		s.into = s.kept
	}
	for _, k := range s.classes {
		if err := s.fetch(ctx, k, s.put); err != nil {
			return err
		}
	}
	if s.conn.old {
		s.copyKept(r)
	}
	s.hint = s.hint || s.count.absent > 0 || len(s.classes) == 0
	switch {
	case s.any:
		s.blind = 0
		return nil
	case s.count.values > 0 && s.count.unwatched == s.count.values: // the engine was restarted under us
		return check(NotConfigured, "find our watches in %s", s.conn.where())
	case s.count.state != OK:
		return check(s.count.state, "read the devices of %s", s.conn.where())
	case len(s.entities) == 0:
		return nil
	}
	s.blind++
	if len(s.classes) == 0 {
		return errSilent
	}
	return errBlind
}

// copyKept gives what an engine without bulk reads has said so far, each value with its own time, as a bulk read would.
func (s *Source) copyKept(r *meter.Readings) {
	for row := range min(r.Devices(), s.kept.Devices()) {
		copy(r.Row(row), s.kept.Row(row))
		copy(r.Extra(row), s.kept.Extra(row))
		for slot, v := range s.kept.Row(row) {
			s.any = s.any || v.At != 0 && s.columns.fast[meter.Fields[slot]]
		}
	}
}

// Close ends the connection. The engine forgets our watches with it. While another call hangs inside the library, Close gives
// the source up instead and returns ErrAbandoned.
func (s *Source) Close() error {
	if !s.busy.TryLock() {
		s.giveUp()
		return ErrAbandoned
	}
	defer s.busy.Unlock()
	if s.conn == nil {
		return nil
	}
	for _, k := range s.classes {
		s.unwatch(k)
	}
	if s.switches != nil {
		s.unwatch(s.switches)
	}
	s.classes, s.switches = nil, nil
	err := s.conn.Close()
	s.conn = nil
	s.held.Store(nil)
	s.disappear(nil)
	return err
}

func (s *Source) micros(d time.Duration) unit.Micros { return unit.Micros(d.Microseconds()) }

// due says whether the time for something that is done every so often has come. A clock that was set back does not put it
// off.
func due(tick, at, every unit.Micros) bool { return tick >= at || at-tick > every }

var _ interface {
	agent.Source
	agent.Catcher
	agent.Edger
} = (*Source)(nil)
