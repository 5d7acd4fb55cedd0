package dcgm_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/wattledger/wattledger/collector/dcgm"
	"github.com/wattledger/wattledger/collector/dcgm/simctl/simtest"
	"github.com/wattledger/wattledger/collector/meter"
)

// patience is how long we wait for what should not take any time.
const patience = 10 * time.Second

// soon waits for the end of something that must not hang.
func soon[T any](t *testing.T, what string, done <-chan T) T {
	t.Helper()
	select {
	case v := <-done:
		return v
	case <-time.After(patience):
		t.Fatalf("%s hangs", what)
		panic("not reached")
	}
}

// async runs f on a goroutine of its own.
func async[T any](f func() T) <-chan T {
	done := make(chan T, 1)
	go func() { done <- f() }()
	return done
}

// A call that hangs must neither keep Close from returning nor a new source from being opened: also in an engine of our own,
// of which the process can have only one.
func TestACallThatHangsIsLeftBehind(t *testing.T) {
	f := func(address string) {
		t.Run(address, func(t *testing.T) {
			lib, sim := simtest.Play(t, head+"node n1 hgx-b200\nhang n1 dcgmEntitiesGetLatestValues +10s ever\n")
			cfg := dcgm.DefaultConfig()
			cfg.Node, cfg.Address = "n1", address
			log := slog.New(slog.DiscardHandler)
			old, err := dcgm.Open(t.Context(), load(t, lib), cfg, log, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := sim.Advance("n1", start+10*second); err != nil {
				t.Fatal(err)
			}
			before := sim.Calls("dcgmEntitiesGetLatestValues")
			reading := async(func() error { return old.Read(context.Background(), start+10*second, meter.NewReadings(8)) })
			for sim.Calls("dcgmEntitiesGetLatestValues") == before {
				time.Sleep(time.Millisecond) // until it is inside
			}
			if err := soon(t, "close", async(old.Close)); !errors.Is(err, dcgm.ErrAbandoned) {
				t.Errorf("closing while a call hangs gave %v", err)
			}
			if err := soon(t, "closing again", async(old.Close)); !errors.Is(err, dcgm.ErrAbandoned) {
				t.Errorf("closing again gave %v", err)
			}

			// The next one hangs in turn, and is told to stop.
			ctx, cancel := context.WithCancel(t.Context())
			before = sim.Calls("dcgmEntitiesGetLatestValues")
			opening := async(func() error {
				s, err := dcgm.Open(ctx, load(t, lib), cfg, log, nil)
				if err == nil {
					return errors.Join(errors.New("it opened"), s.Close())
				}
				return err
			})
			for sim.Calls("dcgmEntitiesGetLatestValues") == before {
				select {
				case err := <-opening:
					t.Fatalf("opening while another hangs gave %v", err)
				case <-time.After(time.Millisecond):
				}
			}
			cancel()

			// The third finds a library that answers again.
			if err := sim.Release("n1"); err != nil {
				t.Fatal(err)
			}
			s, err := dcgm.Open(t.Context(), load(t, lib), cfg, log, nil)
			if err != nil {
				t.Fatalf("opening after two were left behind: %v", err)
			}
			if err := soon(t, "the first reading", reading); err == nil {
				t.Error("a reading of a source that was given up went well")
			}
			if err := soon(t, "the second opening", opening); err == nil {
				t.Error("an opening that was given up went well")
			}
			// What was left behind has ended, and the engine is still there.
			for at := start + 11*second; at < start+15*second; at += second {
				if v := read(t, s, sim, at).Row(0)[meter.SlotEnergy]; v.At < at-second {
					t.Errorf("at %v there is %+v", at.Time(), v)
				}
			}
			if err := old.Read(t.Context(), start+15*second, meter.NewReadings(8)); !errors.Is(err, dcgm.ErrAbandoned) {
				t.Errorf("a source that was given up gave %v", err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	f("n1")
	f(dcgm.Embedded)
}
