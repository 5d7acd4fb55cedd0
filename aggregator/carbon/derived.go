package carbon

import (
	"fmt"

	"github.com/wattledger/wattledger/schemas/unit"
)

// SCI is the software carbon intensity (ISO/IEC 21031:2024): ((E × I) + M) per functional unit, in µg CO2e, rounded half to even.
// operational is location-based, as the standard asks: instruments may not lower it. amount is how much of the functional
// unit there was, in the same measure as unit: of device time per GPU-hour, amount is the device time and one is DeviceTimePerHour.
func SCI(operational, embodied unit.MicrogramsCO2e, amount, one int64) (unit.MicrogramsCO2e, error) {
	return per(operational+embodied, amount, one, "SCI")
}

// CUE is the carbon usage effectiveness of a site (ISO/IEC 30134-8): the emissions of all the energy it took over the energy of its
// IT, in µg CO2e per kWh, rounded half to even.
func CUE(operational unit.MicrogramsCO2e, it unit.Millijoules) (unit.MicrogramsCO2e, error) {
	return per(operational, int64(it), unit.MillijoulesPerKWh, "CUE")
}

func per(mass unit.MicrogramsCO2e, amount, one int64, what string) (unit.MicrogramsCO2e, error) {
	if amount <= 0 {
		return 0, fmt.Errorf("%s of %d µg over %d: there is nothing to divide by", what, mass, amount)
	}
	v, err := unit.RoundMulDiv(int64(mass), one, amount)
	if err != nil {
		return 0, fmt.Errorf("%s of %d µg over %d: %w", what, mass, amount, err)
	}
	return unit.MicrogramsCO2e(v), nil
}
