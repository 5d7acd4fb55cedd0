package process

import (
	"context"
	"errors"
	"sync"
)

// ErrStop ends the group that runs the function which returns it, without being a fault:
// the work is done and the servers beside it may go.
var ErrStop = errors.New("work is done")

// Run runs the functions together and waits for all of them. The first that fails stops the others; one
// that returns nil leaves them running. It returns what went wrong, nil when ctx ended or the work was done.
func Run(ctx context.Context, fns ...func(context.Context) error) error {
	outer := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		faults []error // guarded by mu; in the order of failing
	)
	for _, fn := range fns {
		wg.Go(func() {
			err := fn(ctx)
			if err == nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			// Who only reports that it was told to stop adds nothing to the reason for stopping.
			stopped := ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, outer.Err()))
			if !stopped && !errors.Is(err, ErrStop) {
				faults = append(faults, err)
			}
			cancel()
		})
	}
	wg.Wait()
	return errors.Join(faults...)
}
