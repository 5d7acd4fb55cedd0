package cache

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/wattledger/wattledger/dashboards/query"
)

const (
	// stateFor is for how long the state of the data is taken for granted, and how long lies between two times that it is asked.
	stateFor = 2 * time.Second
	// staleFor is for how long a state is used while a newer one is asked for: a closing or an adjustment shows after that at the latest.
	staleFor = 15 * time.Second
	// patience is for how long a newer one is waited for before.
	patience = 50 * time.Millisecond
)

// progress is how far the data are. One question at a time asks it of the engine, on behalf of all.
type progress struct {
	ask      func(context.Context) (query.State, error)
	now      func() time.Time
	patience time.Duration
	life     context.Context // ends with close
	end      context.CancelFunc
	asking   sync.WaitGroup

	mu    sync.Mutex // guards all below
	known query.State
	at    time.Time     // when known was asked for; zero before the first
	tried time.Time     // when it was last asked for
	err   error         // why that failed
	open  chan struct{} // closed when what is asked now is answered; nil where nothing is
}

func newProgress(ask func(context.Context) (query.State, error), now func() time.Time) *progress {
	p := &progress{ask: ask, now: now, patience: patience}
	p.life, p.end = context.WithCancel(context.Background())
	return p
}

var errClosed = errors.New("the cache is closed")

// state is what is known, asked anew where that is old. Only what is too old, or nothing, is waited for as long as it takes.
func (p *progress) state(ctx context.Context) (query.State, error) {
	p.mu.Lock()
	now := p.now()
	within := func(t time.Time, d time.Duration) bool { return !t.IsZero() && !now.Before(t) && now.Sub(t) < d }
	if !within(p.at, stateFor) && p.open == nil && !within(p.tried, stateFor) {
		p.begin(now)
	}
	fresh, usable, open := within(p.at, stateFor), within(p.at, staleFor), p.open
	p.mu.Unlock()
	switch {
	case fresh || open == nil:
	case usable:
		wait := time.NewTimer(p.patience)
		defer wait.Stop()
		select {
		case <-open:
		case <-wait.C:
		case <-ctx.Done():
		}
	default:
		select {
		case <-open:
		case <-ctx.Done():
			return query.State{}, ctx.Err()
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil && !within(p.at, staleFor) {
		return query.State{}, p.err
	}
	return p.known, nil
}

// begin asks; mu is held. Whoever happens to want it first does not end it by going away.
func (p *progress) begin(now time.Time) {
	if p.life.Err() != nil {
		p.err = errClosed
		return
	}
	done := make(chan struct{})
	p.open, p.tried = done, now
	p.asking.Go(func() {
		got, err := guarded(p.life, func(ctx context.Context) (any, error) { return p.ask(ctx) })
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.err = err; err == nil {
			p.known, p.at = got.(query.State), now //nolint:forcetypeassert // what ask answers
		}
		p.open = nil
		close(done)
	})
}

// close ends what is asked, and waits for it.
func (p *progress) close() {
	p.mu.Lock()
	p.end()
	p.mu.Unlock()
	p.asking.Wait()
}
