package dcgm

import (
	"testing"

	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/record"
)

func TestWhatIsIntegratedIsFast(t *testing.T) {
	for _, m := range record.Metrics {
		switch m.Derivation {
		case record.RatioTime, record.PercentTime, record.RateTime, record.TrapezoidEnergy:
			if speeds[m.Field] != fast {
				t.Errorf("%s is integrated from field %d, which is not read at every tick", m.Name, m.Field)
			}
		}
	}
	if speeds[fieldEnergy] != fast {
		t.Error("energy is not read at every tick")
	}
}

func TestNothingIsSampledMoreOftenThanItIsRead(t *testing.T) {
	c := DefaultConfig()
	c.Period = 2 * c.SlowPeriod
	for _, f := range []uint16{156, 202, 390, 9999} {
		if c.Every(f) != c.Period {
			t.Errorf("field %d is sampled every %v and read every %v", f, c.Every(f), c.Period)
		}
	}
}

func TestAnInstanceHasNoPowerOfItsOwn(t *testing.T) {
	for _, f := range ofInstance {
		if f >= 155 && f <= 167 {
			t.Errorf("field %d of an instance is its GPU's", f)
		}
		if _, ok := meter.SlotOf(f); !ok {
			t.Errorf("no metric is made from field %d", f)
		}
	}
}
