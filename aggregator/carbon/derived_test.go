package carbon

import (
	"testing"

	"github.com/wattledger/wattledger/schemas/unit"
)

func TestDerived(t *testing.T) {
	// Two GPU-hours: 1.2 kWh at 31 g and two hours of a B200's making.
	got, err := SCI(37_200_000, 2*8_106_605, 2*unit.DeviceTimePerHour, unit.DeviceTimePerHour)
	if err != nil || got != 26_706_605 {
		t.Errorf("SCI is %d, %v", got, err)
	}
	if got, err := CUE(37_200_000, unit.MillijoulesPerKWh); err != nil || got != 37_200_000 {
		t.Errorf("CUE is %d, %v", got, err)
	}
	if got, err := SCI(1, 2, 0, 1); err == nil {
		t.Errorf("nothing was done, and the SCI is %d", got)
	}
	if got, err := CUE(1, 0); err == nil {
		t.Errorf("no IT, and the CUE is %d", got)
	}
}
