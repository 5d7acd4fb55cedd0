package dcgm_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/wattledger/wattledger/collector/dcgm/simctl/simtest"
	"github.com/wattledger/wattledger/collector/sourcetest"
	"github.com/wattledger/wattledger/schemas/unit"
)

// When the staged faults begin and end.
const (
	faultFrom  = start + 10*second
	faultUntil = start + 20*second
)

// staged is a case on the simulator: node n1 with whatever the lines say.
func staged(t *testing.T, lines string, c sourcetest.Case) sourcetest.Case {
	t.Helper()
	lib, sim := simtest.Play(t, head+lines)
	c.Start, c.Period = start, second
	c.Open = func(t *testing.T) sourcetest.Source { return open(t, lib, "n1", time.Second) }
	c.Advance = func(t *testing.T, to unit.Micros) {
		if err := sim.Advance("n1", to); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func TestFaults(t *testing.T) {
	const node = "node n1 hgx-b200\nload n1 2 1767225600000000 1767312000000000 training\n"
	sourcetest.RunFaults(t, func(t *testing.T, f sourcetest.Fault) (sourcetest.Case, string) {
		span := sourcetest.Case{From: faultFrom, Until: faultUntil, Device: 2, Field: 156}
		always := sourcetest.Case{From: start, Device: 2, Field: 1002}
		var lines string
		c := span
		switch f {
		case sourcetest.Blank:
			lines = node + fmt.Sprintf("missing n1 2 156 %d %d\n", faultFrom, faultUntil)
		case sourcetest.Unsupported:
			lines, c = "model m base=hgx-b200 energy_counter=0\nnode n1 m\n", always
			c.Field = 156
		case sourcetest.NotPermitted:
			lines, c = node+"forbid n1 profiling\n", always
		case sourcetest.Zero:
			lines, c = "model m base=hgx-b200 power_instant=0\nnode n1 m\n", always
			c.Field = 157
		case sourcetest.Falls:
			lines = node + fmt.Sprintf("reset n1 2 %d\n", faultFrom+500*unit.Millisecond)
		case sourcetest.Frozen:
			lines = node + fmt.Sprintf("stuck n1 2 156 %d %d\n", faultFrom, faultUntil)
		case sourcetest.Stale:
			lines = node + fmt.Sprintf("blank n1 2 156 %d %d stale\n", faultFrom, faultUntil)
		case sourcetest.Lost:
			lines = node + fmt.Sprintf("lost n1 2 %d\n", faultFrom)
			c.Until = 0
		case sourcetest.Away:
			lines = node + fmt.Sprintf("end n1 %d\nboot n1 %d\n", faultFrom, faultUntil)
		case sourcetest.ClockBack:
			lines = node + fmt.Sprintf("clockback n1 %d %d\n", faultFrom+500*unit.Millisecond, 5*second)
		case sourcetest.Shuffled:
			lines, c = node+"shuffle n1\n", always
		case sourcetest.Repartition:
			lines = "node n1 hgx-b200\nmig n1 2 3 4\n" + fmt.Sprintf("repartition n1 2 %d 2 2 3\n", faultFrom)
		}
		return staged(t, lines, c), ""
	})
}

// Every kind of blank that DCGM has, and what engines before 4.4 leave, on the counter and on a gauge.
func TestBlanksOfEveryKindAreGaps(t *testing.T) {
	for _, kind := range []string{"null", "not_found", "not_supported", "not_permitted", "filler"} {
		for _, field := range []uint16{156, 155, 1002} {
			t.Run(fmt.Sprintf("%s of %d", kind, field), func(t *testing.T) {
				sourcetest.RunFault(t, sourcetest.Blank, staged(t,
					fmt.Sprintf("node n1 hgx-b200\nblank n1 2 %d %d %d %s\n", field, faultFrom, faultUntil, kind),
					sourcetest.Case{From: faultFrom, Until: faultUntil, Device: 2, Field: field}))
			})
		}
	}
}

func TestFaultsOfInstancesAndCPUs(t *testing.T) {
	t.Run("a CPU's power", func(t *testing.T) {
		sourcetest.RunFault(t, sourcetest.Blank, staged(t, fmt.Sprintf("node n1 gb200\nmissing n1 cpu1 1130 %d %d\n", faultFrom, faultUntil),
			sourcetest.Case{From: faultFrom, Until: faultUntil, Device: 5, Field: 155}))
	})
	t.Run("out of order with instances", func(t *testing.T) {
		sourcetest.RunFault(t, sourcetest.Shuffled, staged(t, "node n1 gb200\nmig n1 1 3 4\nshuffle n1\n", sourcetest.Case{From: start, Device: 1, Field: 1002}))
	})
	t.Run("an instance is made anew as it was", func(t *testing.T) {
		sourcetest.RunFault(t, sourcetest.Repartition, staged(t, fmt.Sprintf("node n1 hgx-b200\nmig n1 2 3 4\nrepartition n1 2 %d 3 4\n", faultFrom),
			sourcetest.Case{From: faultFrom, Device: 2, Field: 1002}))
	})
	t.Run("the host engine is restarted", func(t *testing.T) {
		sourcetest.RunFault(t, sourcetest.Away, staged(t, fmt.Sprintf("node n1 hgx-b200\nrestart n1 %d\n", faultFrom),
			sourcetest.Case{From: faultFrom, Until: faultFrom + 3*second}))
	})
}
