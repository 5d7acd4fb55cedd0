package workload

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// Identity says whose allocations these are.
type Identity struct {
	Node, Site string
	// Run identifies this run of the collector.
	Run [wire.RunBytes]byte
}

// Publisher takes messages. A nil error means that the message is durable; after an error it is offered again, unless it is
// agent.ErrRefused. It keeps nothing of the message.
type Publisher interface {
	Allocations(ctx context.Context, b *wl.AllocationBatch) error
}

// Hooks are who is told what. Each may be nil, is called by the tracker's goroutine and must not block.
type Hooks struct {
	// Edge is called when an allocation has begun or ended, with the instant at which that was noticed, so that the agent can
	// take a reading at once.
	Edge func(at unit.Micros)
	// Incident is given what bears on what the accounts can prove.
	Incident func(i record.Incident)
	// Save keeps Tracker.State for the next run. It is called before what is new is published: after a crash between the two
	// the next run states it again under the same ids, while the other order would lose an end.
	Save func(state []byte) error
	// Published is called when messages that tell everything up to an instant are durable, so that a source can clear away what
	// it kept until then.
	Published func(upTo unit.Micros)
}

// Tracker asks the sources and states the allocations. Make it with New, run it once.
type Tracker struct {
	cfg     Config
	id      Identity
	clock   agent.Clock
	sources []Source
	pub     Publisher
	hooks   Hooks
	log     *slog.Logger
	met     *metrics
	current atomic.Pointer[map[string][]Holder]
	wake    chan struct{}

	mu       sync.Mutex // guards what follows
	book     book
	devices  []agent.Device
	known    bool // devices has been called
	hints    map[string]unit.Micros
	complete unit.Micros

	// Written by the goroutine of Run only.
	sequence  uint64
	pending   []*wl.AllocationBatch
	upTo      map[string]unit.Micros
	nextPoll  unit.Micros
	nextFull  unit.Micros
	nextSave  unit.Micros
	notes     []note
	announced unit.Micros // up to where Published was told
}

// New prepares a tracker over sources, of which an earlier one has the first claim when two begin to claim a device at once.
func New(cfg Config, id Identity, sources []Source, pub Publisher, clock agent.Clock, hooks Hooks, log *slog.Logger, reg prometheus.Registerer) (*Tracker, error) {
	var faults []error
	if id.Node == "" || id.Site == "" || id.Run == [wire.RunBytes]byte{} {
		faults = append(faults, fmt.Errorf("node is %q, site %q and run %x; all three are needed", id.Node, id.Site, id.Run))
	}
	if err := errors.Join(append(faults, cfg.Validate())...); err != nil {
		return nil, fmt.Errorf("workload of node %q: %w", id.Node, err)
	}
	rules, err := CompileRules(cfg.Rules)
	if err != nil {
		return nil, fmt.Errorf("workload of node %q: %w", id.Node, err)
	}
	t := &Tracker{
		cfg: cfg, id: id, clock: clock, sources: sources, pub: pub, hooks: hooks, log: log.With("node", id.Node), met: newMetrics(reg, id.Node),
		wake: make(chan struct{}, 1), hints: map[string]unit.Micros{}, upTo: map[string]unit.Micros{},
	}
	t.book = book{
		rules: rules, unmapped: cfg.UnmappedTenant, keep: unit.Micros(cfg.KeepEnded.Microseconds()), heard: map[string]unit.Micros{},
		note: func(n note) { t.notes = append(t.notes, n) },
	}
	return t, nil
}

// SetDevices says which devices exist. What is held on one that is gone ends now. Before the first call nothing is asked. It
// may be called by any goroutine, as by agent.Config.Announce.
func (t *Tracker) SetDevices(devices []agent.Device) {
	t.mu.Lock()
	t.devices, t.known = slices.Clone(devices), true
	t.mu.Unlock()
	t.nudge()
}

// SetRules replaces the rules. What runs is stated again under the new ones, from its start.
func (t *Tracker) SetRules(in []Rule) error {
	rules, err := CompileRules(in)
	if err != nil {
		return err
	}
	t.mu.Lock()
	t.book.rules = rules
	t.mu.Unlock()
	t.nudge()
	return nil
}

func (t *Tracker) nudge() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// changed is what a source calls.
func (t *Tracker) changed(source string, at unit.Micros) {
	if at == 0 {
		at = t.clock.Now()
	}
	t.mu.Lock()
	if old, ok := t.hints[source]; !ok || at < old {
		t.hints[source] = at // the earliest: what else happened until the next statement came after it
	}
	t.mu.Unlock()
	t.nudge()
}

// Run asks and states until the context is done. It returns when its sources have stopped; what was noticed is published
// or saved by then.
func (t *Tracker) Run(ctx context.Context) error {
	var watching sync.WaitGroup
	t.met.expect(t.sources)
	for _, s := range t.sources {
		watching.Go(func() { t.watch(ctx, s) })
	}
	defer watching.Wait()
	for {
		now := t.clock.Now()
		t.round(ctx, now, now >= t.nextPoll)
		if now >= t.nextPoll {
			t.nextPoll = now + unit.Micros(t.cfg.Poll.Microseconds())
		}
		if _, err := t.clock.Wait(ctx, t.nextPoll, t.wake); err != nil {
			break
		}
	}
	t.mu.Lock()
	for name := range t.hints {
		delete(t.hints, name)
	}
	t.mu.Unlock()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	t.save(t.clock.Now(), true)
	t.publish(last, t.clock.Now(), false)
	return nil
}

// stopTimeout is how long the last message may take.
const stopTimeout = 5 * time.Second

// watch keeps one source's own watching going. What it misses the next statement shows.
func (t *Tracker) watch(ctx context.Context, s Source) {
	for {
		err := s.Run(ctx, func(at unit.Micros) { t.changed(s.Name(), at) })
		if ctx.Err() != nil {
			return
		}
		t.met.unreadable.WithLabelValues(s.Name()).Inc()
		t.log.Warn("allocation source stopped watching", "source", s.Name(), "error", err)
		if _, err := t.clock.Wait(ctx, t.clock.Now()+10*unit.Second, nil); err != nil {
			return
		}
	}
}

// round asks the sources that are due or have said something, and publishes what that changed.
func (t *Tracker) round(ctx context.Context, now unit.Micros, due bool) {
	t.mu.Lock()
	devices, known := t.devices, t.known
	hints := t.hints
	t.hints = map[string]unit.Micros{}
	t.mu.Unlock()
	if !known {
		return
	}
	changed := t.present(devices, now)
	for _, s := range t.sources {
		hint, hinted := hints[s.Name()]
		if due || hinted {
			changed = t.ask(ctx, s, devices, hint) || changed
		}
	}
	t.report()
	if changed && t.hooks.Edge != nil {
		t.hooks.Edge(now)
	}
	t.save(now, changed)
	t.publish(ctx, now, now >= t.nextFull)
}

// present ends what is held on devices that are gone.
func (t *Tracker) present(devices []agent.Device, now unit.Micros) bool {
	var uuids []string
	for _, d := range Leaves(devices) {
		uuids = append(uuids, d.UUID)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.book.devices(uuids, now)
}

// ask takes one source's full statement into the book.
func (t *Tracker) ask(ctx context.Context, s Source, devices []agent.Device, hint unit.Micros) bool {
	asked := t.clock.Now() // what happens while the source answers may be missing from the answer
	st, err := s.Holds(ctx, devices)
	if err != nil {
		if ctx.Err() == nil {
			t.met.unreadable.WithLabelValues(s.Name()).Inc()
			t.log.Warn("allocation source not read", "source", s.Name(), "error", err)
		}
		return false
	}
	t.mu.Lock()
	changed := t.book.apply(s.Name(), st, asked, hint)
	t.mu.Unlock()
	if st.UpTo == 0 || st.UpTo > asked {
		st.UpTo = asked
	}
	t.upTo[s.Name()] = max(t.upTo[s.Name()], st.UpTo)
	t.met.lastStatement.WithLabelValues(s.Name()).Set(float64(asked) / 1e6)
	if changed {
		t.met.edges.WithLabelValues(s.Name()).Inc()
	}
	return changed
}

// report hands on what was noted, and shows who holds what.
func (t *Tracker) report() {
	t.mu.Lock()
	notes := t.notes
	t.notes = nil
	t.publishHolders()
	running := 0
	for _, e := range t.book.episodes {
		if e.End == 0 && e.Refused == "" {
			running++
		}
	}
	t.mu.Unlock()
	t.met.running.Set(float64(running))
	for _, n := range notes {
		e := n.episode
		t.met.refused.WithLabelValues(e.Source, n.reason).Inc()
		t.log.Warn("allocation not certain", "reason", n.reason, "source", e.Source, "scheduler_ref", e.Ref, "device", e.Device, "detail", n.detail,
			"from", n.from.Time(), "to", n.to.Time())
		if t.hooks.Incident != nil && n.reason != reasonPurpose {
			t.hooks.Incident(record.Incident{
				Kind: record.IncidentAllocation, Reason: n.reason, Device: e.Device, From: n.from, To: max(n.from, n.to),
			})
		}
	}
}

// save keeps the state, at once when it has changed.
func (t *Tracker) save(now unit.Micros, changed bool) {
	if t.hooks.Save == nil || (!changed && now < t.nextSave) {
		return
	}
	t.nextSave = now + unit.Micros(t.cfg.SaveInterval.Microseconds())
	if err := t.hooks.Save(t.State()); err != nil {
		t.log.Error("allocations not saved", "error", err)
	}
}
