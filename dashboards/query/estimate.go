package query

import (
	"strings"
)

// LastHour is what a site's last closed hour holds, within the scope: energies in mJ, device time in ms × thousandths, and the column that a figure
// is a sum of.
type LastHour struct {
	GPU, CPU, Rest, Total, DeviceTime, Figure float64
}

// columns are the sums that a LastHour is read from, in the order of its fields.
func (LastHour) columns(figure string) string {
	sums := []string{sum("gpu_mj"), sum("cpu_mj"), sum("toInt128(node_rest_mj) + it_shared_mj"), sum(total), sum("device_time"), sum(figure)}
	for i, s := range sums {
		sums[i] = "toFloat64(" + s + ")"
	}
	return strings.Join(sums, ", ")
}

// rates are how much of all energy there is for each mJ that GPUs take, and for each unit of time that a device is there, busy or not: CPUs follow
// the load of GPUs, the rest of nodes and shared IT do not, and the facility follows all IT.
func (l LastHour) rates() (perEnergy, perTime float64, ok bool) {
	it := l.GPU + l.CPU + l.Rest
	if it <= 0 {
		return 0, 0, false
	}
	perEnergy = l.Total / it
	if l.DeviceTime > 0 {
		perTime = perEnergy * l.Rest / l.DeviceTime
	}
	if l.GPU > 0 {
		perEnergy *= 1 + l.CPU/l.GPU
	}
	return perEnergy, perTime, true
}

// estimate is how a figure of hours that are not closed follows from the energy of GPUs (mJ) and the time of devices (ms × thousandths).
type estimate struct {
	// column is what the ledger has of it, scale what a sum of it is divided by to be shown.
	column, scale string
	// energy and time say which of the two it follows; alone, that it is counted whatever the last hour held.
	energy, time, alone bool
	// per is how much of it there is for each unit of energy and of time after a last hour like that; not ok where that hour does not say.
	per func(LastHour) (energy, time float64, ok bool)
}

func counted(energy, time float64) func(LastHour) (float64, float64, bool) {
	return func(LastHour) (float64, float64, bool) { return energy, time, true }
}

// ofTotal is a figure that follows all energy.
func ofTotal(l LastHour) (float64, float64, bool) {
	e, t, ok := l.rates()
	if !ok || l.Total <= 0 {
		return 0, 0, false
	}
	return l.Figure / l.Total * e, l.Figure / l.Total * t, true
}

var estimates = map[string]estimate{
	"usage device_time": {"device_time", timePerHour, false, true, true, counted(0, 1)},
	"energy gpu":        {"gpu_mj", mjPerWh, true, false, true, counted(1, 0)},
	"energy total":      {"gpu_mj", mjPerWh, true, true, false, LastHour.rates},
	"energy overhead": {"gpu_mj", mjPerWh, true, true, false, func(l LastHour) (float64, float64, bool) {
		e, t, ok := l.rates()
		return e - 1, t, ok
	}},
	"carbon location":    {"carbon_ug", ugPerGram, true, true, false, ofTotal},
	"carbon market":      {"carbon_market_ug", ugPerGram, true, true, false, ofTotal},
	"carbon water":       {"water_ul", ulPerLitre, true, true, false, ofTotal},
	"carbon heat_reused": {"heat_reused_mj", mjPerWh, true, true, false, ofTotal},
	"carbon embodied": {"carbon_embodied_ug", ugPerGram, false, true, false, func(l LastHour) (float64, float64, bool) {
		return 0, l.Figure / l.DeviceTime, l.DeviceTime > 0
	}},
}
