package dcgm

import (
	"testing"
	"time"

	"github.com/wattledger/wattledger/schemas/unit"
)

// DCGM keeps an XID with whatever reported it: the GPU, its instance, or a compute instance of that.
func TestWhatAComputeInstanceReportsIsItsInstances(t *testing.T) {
	s := &Source{entities: []entity{
		{pair: entityPair{groupGPU, 0}, mig: true},
		{pair: entityPair{groupGPU, 1}, lost: true},
		{pair: entityPair{groupGPUI, 8}, parts: []entityPair{{groupGPUCI, 64}, {groupGPUCI, 65}}},
	}}
	s.index()
	f := func(g entityGroup, id uint32, want int) {
		t.Helper()
		if got := s.rowOf(g, id); got != want {
			t.Errorf("entity %v is row %d, want %d", entityPair{g, id}, got, want)
		}
	}
	f(groupGPU, 0, 0)
	f(groupGPU, 1, -1) // lost: whatever has its id now is another
	f(groupGPUI, 8, 2)
	f(groupGPUCI, 64, 2)
	f(groupGPUCI, 65, 2)
	f(groupGPUCI, 66, -1)
	f(groupCPU, 0, -1)
	f(groupEnd, 0, -1)
}

func TestAClockSetBackPutsNothingOff(t *testing.T) {
	const minute = 60 * unit.Second
	f := func(tick, at unit.Micros, want bool) {
		t.Helper()
		if due(tick, at, minute) != want {
			t.Errorf("at %v what is due at %v is due: %v", tick, at, !want)
		}
	}
	f(100*minute, 100*minute, true)
	f(100*minute, 101*minute-1, false)
	f(100*minute, 101*minute, false)
	f(40*minute, 101*minute, true) // an hour back
}

func TestACallThatLastsForMinutesIsGivenUpWithoutAWord(t *testing.T) {
	f := func(ago time.Duration, want bool) {
		t.Helper()
		s := &Source{}
		l := &Library{}
		s.enter()
		s.entered.Store(time.Now().Add(-ago).UnixNano())
		old := &Conn{h: 7, lib: l, options: Options{abandoned: s.givenUp}}
		if _, err := l.claim(old); err != nil {
			t.Fatal(err)
		}
		l.started(old, 7)
		next := &Conn{lib: l}
		handle, err := l.claim(next)
		if (err == nil) != want || want && handle != 7 {
			t.Errorf("after %v the engine %d was taken over, %v; want %v", ago, handle, err, want)
		}
		if want && (l.release(old) || !l.release(next)) {
			t.Error("the one that was given up stops the engine of the other")
		}
	}
	f(time.Second, false)
	f(2*hungAfter, true)
}
