package cache

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/dashboards/query"
)

// office is an engine that takes its time to say how far it is, and says by which look that was.
type office struct {
	*world
	takes     time.Duration
	err       error
	looks     []time.Time
	now, most atomic.Int64
}

func (o *office) State(ctx context.Context) (query.State, error) {
	o.most.Store(max(o.most.Load(), o.now.Add(1)))
	defer o.now.Add(-1)
	o.mu.Lock()
	o.looks = append(o.looks, time.Now())
	o.mu.Unlock()
	select {
	case <-time.After(o.takes):
	case <-ctx.Done():
		return query.State{}, ctx.Err()
	}
	return query.State{At: time.Now()}, o.err
}

// A state that takes seconds holds nobody up but the first, and never lies further back than is allowed.
func TestASlowStateHoldsNobodyUp(t *testing.T) {
	for _, takes := range []time.Duration{0, 10 * time.Millisecond, 2 * time.Second, 7 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			o := &office{world: newWorld(), takes: takes}
			c := New(o, 1<<20, NewMetrics(prometheus.NewRegistry()))
			if _, err := c.State(t.Context()); err != nil {
				t.Fatal(err)
			}
			var panels sync.WaitGroup
			begun := time.Now()
			for i := range 20 {
				panels.Go(func() {
					time.Sleep(time.Duration(i) * 37 * time.Millisecond)
					for time.Since(begun) < time.Minute {
						asked := time.Now()
						st, err := c.State(t.Context())
						if err != nil {
							t.Error(err)
						}
						if waited := time.Since(asked); waited > patience {
							t.Errorf("of %s: a panel waited %s", takes, waited)
						}
						if age := asked.Sub(st.At); age > staleFor || takes <= patience && age >= stateFor {
							t.Errorf("of %s: the state was %s old", takes, age)
						}
						time.Sleep(200 * time.Millisecond)
					}
				})
			}
			panels.Wait()
			c.Close()
			for i := 1; i < len(o.looks); i++ {
				if between := o.looks[i].Sub(o.looks[i-1]); between < stateFor || between < takes {
					t.Errorf("of %s: asked again after %s", takes, between)
				}
			}
			if n := o.most.Load(); n != 1 {
				t.Errorf("of %s: %d looks at once", takes, n)
			}
		})
	}
}

// While an engine does not say how far it is, panels are answered by it as long as what was known may be used, and by itself after that.
func TestAStateThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &office{world: newWorld()}
		c := New(o, 1<<20, NewMetrics(prometheus.NewRegistry()))
		if _, err := c.State(t.Context()); err != nil {
			t.Fatal(err)
		}
		o.err = errors.New("away")
		for range 40 {
			time.Sleep(500 * time.Millisecond)
			_, err := c.State(t.Context())
			if late := time.Since(o.looks[0]) >= staleFor; late != (err != nil) {
				t.Errorf("after %s: %v", time.Since(o.looks[0]), err)
			}
			if _, err := c.Query(t.Context(), operator, of(query.FormTotal), open(1)); err != nil {
				t.Error(err)
			}
		}
		if n := len(o.looks); n > 11 {
			t.Errorf("%d looks in 20 s", n)
		}
		o.err = nil
		time.Sleep(stateFor)
		if _, err := c.State(t.Context()); err != nil {
			t.Error(err)
		}
		c.Close()
		time.Sleep(time.Minute)
		if _, err := c.State(t.Context()); !errors.Is(err, errClosed) {
			t.Errorf("after the end: %v", err)
		}
	})
}

// Who goes away does not end what the others wait for, and the end of the cache does.
func TestAStateOutlivesItsFirstAsker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &office{world: newWorld(), takes: time.Second}
		c := New(o, 1<<20, NewMetrics(prometheus.NewRegistry()))
		first, leave := context.WithTimeout(t.Context(), time.Millisecond)
		defer leave()
		if _, err := c.State(first); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if _, err := c.State(t.Context()); err != nil || len(o.looks) != 1 {
			t.Errorf("%v after %d looks", err, len(o.looks))
		}
		o.takes = time.Hour
		time.Sleep(staleFor)
		failed := make(chan error)
		go func() {
			_, err := c.State(t.Context())
			failed <- err
		}()
		synctest.Wait()
		go c.Close()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
