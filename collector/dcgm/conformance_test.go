package dcgm_test

import (
	"testing"
	"time"

	"github.com/wattledger/wattledger/collector/dcgm/simctl/simtest"
	"github.com/wattledger/wattledger/collector/sourcetest"
	"github.com/wattledger/wattledger/schemas/unit"
)

func TestConformance(t *testing.T) {
	lib, sim := simtest.Play(t, head+"node n1 gb200\nmig n1 1 3 4\nload n1 0 1767225600000000 1767312000000000 training\n"+
		"xid n1 0 1767225605500000 31\nmissing n1 2 156 1767225609500000 1767225610500000\n")
	sourcetest.Run(t, sourcetest.Subject{
		Open: func(t *testing.T) sourcetest.Source { return open(t, lib, "n1", time.Second) },
		Advance: func(t *testing.T, to unit.Micros) {
			if err := sim.Advance("n1", to); err != nil {
				t.Fatal(err)
			}
		},
		Start: start, Period: second, Gap: start + 10*second, GapDevice: 2, GapField: 156,
	})
}
