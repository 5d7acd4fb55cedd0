package report

import (
	"slices"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Sums is what some entries add up to. Integers are exact; the figures beside them are for reading.
type Sums struct {
	Entries int64 `json:"entries"`
	// Adjustments are those of the entries that correct an hour that was closed before.
	Adjustments int64 `json:"adjustments"`

	// DeviceTime is ms × thousandths of a device. Of an unallocated account Unavailable is the part in which the device
	// was not there.
	DeviceTime  unit.DeviceTime `json:"device_time"`
	GPUHours    Number          `json:"gpu_hours"`
	Unavailable unit.DeviceTime `json:"unavailable_time"`

	GPU      unit.Millijoules `json:"gpu_mj"`
	CPU      unit.Millijoules `json:"cpu_mj"`
	NodeRest unit.Millijoules `json:"node_rest_mj"`
	ITShared unit.Millijoules `json:"it_shared_mj"`
	Facility unit.Millijoules `json:"facility_mj"`
	Energy   unit.Millijoules `json:"energy_mj"`
	KWh      Number           `json:"energy_kwh"`

	// Measured + Estimated + Modelled is Energy. Interpolated is a part of Measured: its total is known, its place in time is not.
	// The shares are of Energy.
	Measured          unit.Millijoules `json:"measured_mj"`
	Estimated         unit.Millijoules `json:"estimated_mj"`
	Modelled          unit.Millijoules `json:"modelled_mj"`
	Interpolated      unit.Millijoules `json:"interpolated_mj"`
	MeasuredShare     Number           `json:"measured_share"`
	EstimatedShare    Number           `json:"estimated_share"`
	ModelledShare     Number           `json:"modelled_share"`
	InterpolatedShare Number           `json:"interpolated_share"`
	// The bound is hard: whatever the load did between two readings, what the counters would have shown lies within it.
	BoundLow  unit.Millijoules `json:"bound_low_mj"`
	BoundHigh unit.Millijoules `json:"bound_high_mj"`
	// Uncertainty is how far sensors and models can be off, the bound included; its share is of Energy.
	Uncertainty      unit.Millijoules `json:"uncertainty_mj"`
	UncertaintyShare Number           `json:"uncertainty_share"`

	// MeanGPU is the mean power of a device while it was held: GPU energy over device time.
	MeanGPU Number `json:"mean_gpu_watts"`
	// Active is time with a warp on an SM, weighted by the share of the device; its share is of ReadTime, the device time of
	// entries for which activity was read.
	Active      unit.Micros     `json:"sm_active_us"`
	ReadTime    unit.DeviceTime `json:"sm_read_time"`
	ActiveShare Number          `json:"sm_active_share"`
	// HeldIdle is device time held with activity under the stated limit. From rules 2026-12 on it is an account of the ledger; of
	// entries by older rules it is found here, from their activity.
	HeldIdle      unit.DeviceTime `json:"held_idle_time"`
	HeldIdleHours Number          `json:"held_idle_hours"`

	TicksExpected int64  `json:"ticks_expected"`
	TicksRead     int64  `json:"ticks_read"`
	Coverage      Number `json:"coverage"`

	// Carbon is location-based, CarbonMarket market-based: the same emissions counted in two ways, and never summed.
	Carbon           unit.MicrogramsCO2e `json:"carbon_ug"`
	CarbonKg         Number              `json:"carbon_kg"`
	CarbonMarket     unit.MicrogramsCO2e `json:"carbon_market_ug"`
	CarbonMarketKg   Number              `json:"carbon_market_kg"`
	CarbonEmbodied   unit.MicrogramsCO2e `json:"carbon_embodied_ug"`
	CarbonEmbodiedKg Number              `json:"carbon_embodied_kg"`

	Water       unit.Microlitres `json:"water_ul"`
	WaterLitres Number           `json:"water_litres"`
	HeatReused  unit.Millijoules `json:"heat_reused_mj"`
}

// noActivity is the flag of an entry whose device does not report activity: 0 then says nothing.
const noActivity = "no_activity"

// idleAccounts is the first edition of the rules by which held idle time is an account of its own.
const idleAccounts = "2026-12"

// add counts an entry. limit is the activity, in thousandths, under which held time by older rules is idle.
func (s *Sums) add(e record.Entry, limit unit.Thousandths) {
	s.Entries++
	if e.Kind == record.Adjustment {
		s.Adjustments++
	}
	s.DeviceTime += e.DeviceTime
	s.Unavailable += e.Unavailable
	s.GPU += e.GPU
	s.CPU += e.CPU
	s.NodeRest += e.NodeRest
	s.ITShared += e.ITShared
	s.Facility += e.Facility
	s.Energy += e.Total()
	s.Measured += e.Measured
	s.Estimated += e.Estimated
	s.Modelled += e.Modelled
	s.Interpolated += e.Interpolated
	s.BoundLow += e.BoundLow
	s.BoundHigh += e.BoundHigh
	s.Uncertainty += e.Uncertainty
	s.TicksExpected += e.TicksExpected
	s.TicksRead += e.TicksRead
	s.Carbon += e.Carbon
	s.CarbonMarket += e.CarbonMarket
	s.CarbonEmbodied += e.CarbonEmbodied
	s.Water += e.Water
	s.HeatReused += e.HeatReused
	s.activity(e, limit)
}

func (s *Sums) activity(e record.Entry, limit unit.Thousandths) {
	if !e.Account.Held() {
		return
	}
	if e.Account == record.AccountHeldIdle {
		s.HeldIdle += e.DeviceTime
	}
	if e.TicksRead == 0 || slices.Contains(e.Flags, noActivity) {
		return
	}
	active := activeTime(e)
	s.Active += active
	s.ReadTime += e.DeviceTime
	// Device time in ms × thousandths is the same number as microseconds of a whole device.
	if e.Rules < idleAccounts && e.Kind == record.Closing && int64(active)*1000 < int64(e.DeviceTime)*int64(limit) {
		s.HeldIdle += e.DeviceTime
	}
}

// activeTime is SM activity in microseconds of a whole device. That of a MIG instance is told of the instance, so it is
// weighed by the instance's share of the device. An adjustment holds differences: where one takes a line back, time and activity are
// both negative, and where the time stays as it was its share is not in it and the activity is left out.
func activeTime(e record.Entry) unit.Micros {
	if e.DeviceKind != record.KindMIG.String() {
		return e.SMActive
	}
	held := int64(e.To/unit.Millisecond-e.From/unit.Millisecond) * 1000
	if held <= 0 {
		return 0
	}
	v, err := unit.FloorMulDiv(int64(e.SMActive), max(int64(e.DeviceTime), -int64(e.DeviceTime)), held)
	if err != nil {
		return 0 // no device-hour is this long: the entry's times are not times
	}
	return unit.Micros(v)
}

// finish writes the figures for reading.
func (s Sums) finish() Sums {
	s.GPUHours, s.HeldIdleHours = Hours(s.DeviceTime), Hours(s.HeldIdle)
	s.KWh, s.CarbonKg = KWh(s.Energy), Kilograms(s.Carbon)
	s.CarbonMarketKg, s.CarbonEmbodiedKg, s.WaterLitres = Kilograms(s.CarbonMarket), Kilograms(s.CarbonEmbodied), Litres(s.Water)
	s.ActiveShare = quotient(int64(s.Active), int64(s.ReadTime), 4)
	s.Coverage = quotient(s.TicksRead, s.TicksExpected, 6)
	share := func(part unit.Millijoules) Number { return quotient(int64(part), int64(s.Energy), 6) }
	s.MeasuredShare, s.EstimatedShare, s.ModelledShare = share(s.Measured), share(s.Estimated), share(s.Modelled)
	s.InterpolatedShare, s.UncertaintyShare = share(s.Interpolated), share(s.Uncertainty)
	s.MeanGPU = s.meanGPU(3)
	return s
}

// it is the energy of IT: everything but the facility's overhead.
func (s Sums) it() unit.Millijoules { return s.Energy - s.Facility }

// meanGPU is GPU energy over device time in watts: mJ/ms is W, and device time counts thousandths.
func (s Sums) meanGPU(digits int32) Number {
	if s.DeviceTime <= 0 {
		return ""
	}
	mw, err := unit.RoundMulDiv(int64(s.GPU), 1_000_000, int64(s.DeviceTime))
	if err != nil {
		return ""
	}
	return quotient(mw, 1000, digits)
}
