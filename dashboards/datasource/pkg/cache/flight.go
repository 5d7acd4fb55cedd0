package cache

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
)

// flights let equal questions wait for one answer. Unlike singleflight, a question goes on as long as anybody waits for it, and is cancelled
// when nobody does.
type flights struct {
	mu   sync.Mutex // guards all below
	open map[key]*flight
}

type flight struct {
	done    chan struct{} // closed when answer and err are there
	answer  any
	err     error
	waiting int // guarded by flights.mu
	cancel  context.CancelFunc
}

func (f *flights) do(ctx context.Context, k key, ask func(context.Context) (any, error)) (any, error) {
	f.mu.Lock()
	one := f.open[k]
	if one == nil {
		work, cancel := context.WithCancel(context.WithoutCancel(ctx))
		one = &flight{done: make(chan struct{}), cancel: cancel}
		if f.open == nil {
			f.open = map[key]*flight{}
		}
		f.open[k] = one
		go func() {
			defer cancel()
			one.answer, one.err = guarded(work, ask)
			f.mu.Lock()
			if f.open[k] == one {
				delete(f.open, k)
			}
			f.mu.Unlock()
			close(one.done)
		}()
	}
	one.waiting++
	f.mu.Unlock()
	select {
	case <-one.done:
		return one.answer, one.err
	case <-ctx.Done():
		f.mu.Lock()
		defer f.mu.Unlock()
		if one.waiting--; one.waiting == 0 {
			one.cancel()
			if f.open[k] == one {
				delete(f.open, k) // whoever asks next asks anew
			}
		}
		return nil, ctx.Err()
	}
}

// Panic is a bug met while a question was asked. It is an error, so that one question does not end the process of all.
type Panic struct {
	Value any
	Stack []byte
}

func (p *Panic) Error() string { return fmt.Sprintf("panic: %v", p.Value) }

func guarded(ctx context.Context, ask func(context.Context) (any, error)) (answer any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &Panic{p, debug.Stack()}
		}
	}()
	return ask(ctx)
}
