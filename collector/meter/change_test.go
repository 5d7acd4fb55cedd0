package meter

import (
	"testing"

	"github.com/wattledger/wattledger/schemas/record"
)

// A permission that is withdrawn, a field that comes with a new driver: what was counted stays counted.
func TestADeviceThatReadsOtherFieldsKeepsItsCounters(t *testing.T) {
	c := newCounted()
	c.d.Expect(3)
	c.tick(0, 500)
	c.tick(500_000, 500)
	c.tick(10, 500) // epoch 1
	_, before := c.row.Counters[record.CTicksRead], c.row.Counters[record.CPowerIntegral]
	c.d.Change(record.EnergyHardware, Set(0).With(SlotEnergy))
	c.d.Expect(1)
	if e, n, r := c.tick(500_010, 500); e != 500_010 || n != 1 || r != "" {
		t.Errorf("without power the row has %d mJ in epoch %d, break %q", e, n, r)
	}
	if x := c.row.Counters[record.CPowerIntegral]; x != record.AbsentCounter {
		t.Errorf("without power its integral is %d", x)
	}
	c.d.Change(record.EnergyHardware, Set(0).With(SlotEnergy).With(SlotPower))
	c.d.Expect(1)
	if e, n, r := c.tick(1_000_010, 500); e != 1_000_010 || n != 1 || r != "" {
		t.Errorf("with power again the row has %d mJ in epoch %d, break %q", e, n, r)
	}
	if x, read := c.row.Counters[record.CTicksExpected], c.row.Counters[record.CTicksRead]; x != 5 || read != 5 {
		t.Errorf("%d of %d ticks were read", read, x)
	}
	if after := c.row.Counters[record.CPowerIntegral]; after != before+1_000_000 { // two seconds, both ends measured
		t.Errorf("the integral went from %d to %d mJ", before, after)
	}
}

func TestEnergyFromElsewhereIsAnotherEpoch(t *testing.T) {
	c := newCounted()
	c.tick(7_000_000, 500)
	c.d.Change(record.EnergyIntegrated, Set(0).With(SlotPower))
	if e, n, r := c.tick(7_500_000, 500); e != 500_000 || n != 1 || r != "source" {
		t.Errorf("integrated it has %d mJ in epoch %d, break %q", e, n, r)
	}
	if b, _ := c.d.Break(); b.Last != 7_000_000 || b.To-b.From != second {
		t.Errorf("the break is %+v", b)
	}
	c.d.Change(record.EnergyHardware, Set(0).With(SlotEnergy).With(SlotPower))
	if e, n, r := c.tick(8_000_000, 500); e != 8_000_000 || n != 2 || r != "source" {
		t.Errorf("by its counter it has %d mJ in epoch %d, break %q", e, n, r)
	}
	if b, _ := c.d.Break(); b.Last != 500_000 {
		t.Errorf("the break is %+v", b)
	}
}
