package dcgm

import (
	"log/slog"
	"testing"
	"time"

	"github.com/wattledger/wattledger/schemas/unit"
)

func TestWhatAFailureMeansForTheConnection(t *testing.T) {
	const (
		keep  = "kept"
		again = "kept, devices to be found anew"
		gone  = "given up"
	)
	f := func(want string, codes ...Return) {
		t.Helper()
		s := &Source{
			conn: &Conn{options: Options{Address: "n1"}}, cfg: Config{Period: time.Second}, met: newMetrics(nil, "n1"),
			log: slog.New(slog.DiscardHandler), lib: &Library{},
		}
		for i, c := range codes {
			if err := s.failed(unit.Micros(i)*unit.Second, check(c, "try")); code(err) != c {
				t.Errorf("%v came back as %v", c, err)
			}
		}
		got := keep
		switch {
		case s.conn == nil:
			got = gone
		case s.rebuild:
			got = again
		}
		if got != want {
			t.Errorf("after %v the connection is %s, want %s", codes, got, want)
		}
		if s.conn == nil && (s.away == nil || s.retryAt <= 0) {
			t.Errorf("after %v it is not known why there is no connection, or when to try again", codes)
		}
	}
	f(gone, ConnectionNotValid)
	f(gone, Uninitialized)
	f(keep, Timeout, Timeout)
	f(gone, Timeout, Timeout, Timeout)
	f(again, NotConfigured) // the engine was restarted under us
	f(gone, NotConfigured, NotConfigured)
	f(again, BadParam) // an entity is gone
	f(again, InstanceNotFound)
	f(again, GPUsDetached, GPUsDetached, GPUsDetached) // wait
	f(again, NVMLNotLoaded, NVMLNotLoaded)
	f(again, NVMLDriverTimeout)
	f(keep, Paused, Paused, Paused, Paused) // a diagnostic runs
}

func TestReconnectingIsTriedLessAndLess(t *testing.T) {
	s := &Source{cfg: Config{Period: time.Second}}
	var at, last unit.Micros
	for range 10 {
		s.pause(at)
		pause := s.retryAt - at
		if pause < last || pause > unit.Micros(maxPause.Microseconds()) {
			t.Errorf("a pause of %v follows one of %v", pause, last)
		}
		at, last = s.retryAt, pause
	}
	if last != unit.Micros(maxPause.Microseconds()) {
		t.Errorf("the longest pause is %v", last)
	}
}
