package nvml_test

import (
	"testing"
	"time"

	"github.com/wattledger/wattledger/collector/sourcetest"
	"github.com/wattledger/wattledger/schemas/unit"
)

var mig = []string{"mig 1 1", "instance 1 3 4 4g.40gb", "instance 1 5 1 1g.10gb"}

func TestConformance(t *testing.T) {
	s := play(t, 3, append(mig, "fail 0 nvmlDeviceGetSerial 3")...)
	sourcetest.Run(t, sourcetest.Subject{
		Open: func(t *testing.T) sourcetest.Source { return s.open(t, nil) },
		Advance: func(t *testing.T, to unit.Micros) {
			s.advance(t, to)
			switch to {
			case start + 5*second:
				s.set(t, "xid 0 - 31")
				s.set(t, "xid 1 3 43")
			case start + 10*second:
				s.set(t, "fail 2 83 999")
			case start + 11*second:
				s.set(t, "fail 2 83 0")
			}
		},
		Start: start, Period: second, Gap: start + 10*second, GapDevice: 2, GapField: 156,
	})
}

func TestFaults(t *testing.T) {
	// A fault is a line at its beginning and one at its end.
	type staged struct {
		field       uint16
		begin, end  string
		fromStart   bool
		device      int
		repartition bool
	}
	stages := map[sourcetest.Fault]staged{
		sourcetest.Blank:        {field: 150, begin: "fail 1 nvmlDeviceGetTemperature 999", end: "fail 1 nvmlDeviceGetTemperature 0", device: 1},
		sourcetest.Unsupported:  {field: 140, begin: "fail 1 82 3", fromStart: true, device: 1},
		sourcetest.NotPermitted: {field: 1002, begin: "fail 0 nvmlGpmSampleGet 4", fromStart: true},
		sourcetest.Zero:         {field: 157, begin: "zero 0 186", fromStart: true},
		sourcetest.Falls:        {field: 156, begin: "falls 1", device: 1},
		sourcetest.Frozen:       {field: 156, begin: "frozen 1 1", end: "frozen 1 0", device: 1},
		sourcetest.Stale:        {field: 156, begin: "stale 0 83 1", end: "stale 0 83 0"},
		sourcetest.Lost:         {begin: "lost 1 15", device: 1},
		sourcetest.Away:         {begin: "driver 0", end: "driver 1"},
		sourcetest.ClockBack:    {field: 156, begin: "skew -600000000"},
		sourcetest.Repartition:  {begin: "destroy 1 3", end: "instance 1 7 2 2g.20gb", repartition: true},
	}
	sourcetest.RunFaults(t, func(t *testing.T, f sourcetest.Fault) (sourcetest.Case, string) {
		if f == sourcetest.Shuffled {
			return sourcetest.Case{}, "NVML is asked device by device, and fills the array that it is handed in place"
		}
		st, ok := stages[f]
		if !ok {
			t.Fatalf("nobody thought of %s", f)
		}
		s := play(t, 3, mig...)
		c := sourcetest.Case{
			Start: start, Period: second, From: start + 4*second, Until: start + 10*second, Device: st.device, Field: st.field,
			Open: func(t *testing.T) sourcetest.Source {
				cfg := s.config()
				cfg.Rediscover = 3 * time.Second
				return s.openWith(t, cfg, nil)
			},
		}
		if st.fromStart {
			c.From = start
			s.set(t, "%s", st.begin)
		}
		if st.end == "" {
			c.Until = 0
		}
		c.Advance = func(t *testing.T, to unit.Micros) {
			s.advance(t, to)
			if to == c.From && !st.fromStart {
				s.set(t, "%s", st.begin)
			}
			if to == c.Until {
				s.set(t, "%s", st.end)
			}
		}
		return c, ""
	})
}

// A second source in one process is a second user of NVML: closing one leaves the other be.
func TestTwoSources(t *testing.T) {
	s := play(t, 1)
	first, other := s.open(t, nil), s.open(t, nil)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(other.Devices()); n != 1 {
		t.Errorf("%d devices", n)
	}
	mustRead(t, other, s, start+second)
}
