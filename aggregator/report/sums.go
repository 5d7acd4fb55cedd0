package report

import (
	"slices"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Sums is what some entries add up to. Integers are exact; the figures beside them are for reading.
type Sums struct {
	Entries int64 `json:"entries"`
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

	Measured     unit.Millijoules `json:"measured_mj"`
	Estimated    unit.Millijoules `json:"estimated_mj"`
	Modelled     unit.Millijoules `json:"modelled_mj"`
	Interpolated unit.Millijoules `json:"interpolated_mj"`
	BoundLow     unit.Millijoules `json:"bound_low_mj"`
	BoundHigh    unit.Millijoules `json:"bound_high_mj"`

	// MeanGPU is the mean power of a device while it was held: GPU energy over device time.
	MeanGPU Number `json:"mean_gpu_watts"`

	// Active is time with a warp on an SM, weighted by the share of the device; its share is of ReadTime, the device time of
	// entries for which activity was read.
	Active      unit.Micros     `json:"sm_active_us"`
	ReadTime    unit.DeviceTime `json:"sm_read_time"`
	ActiveShare Number          `json:"sm_active_share"`
	// HeldIdle is device time of entries whose activity stayed under the stated limit.
	HeldIdle      unit.DeviceTime `json:"held_idle_time"`
	HeldIdleHours Number          `json:"held_idle_hours"`

	TicksExpected int64  `json:"ticks_expected"`
	TicksRead     int64  `json:"ticks_read"`
	Coverage      Number `json:"coverage"`

	Carbon   unit.MicrogramsCO2e `json:"carbon_ug"`
	CarbonKg Number              `json:"carbon_kg"`
}

// noActivity is the flag of an entry whose device does not report activity: 0 then says nothing.
const noActivity = "no_activity"

// add counts an entry. limit is the activity, in thousandths, under which held time is idle.
func (s *Sums) add(e record.Entry, limit unit.Thousandths) {
	s.Entries++
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
	s.TicksExpected += e.TicksExpected
	s.TicksRead += e.TicksRead
	s.Carbon += e.Carbon
	if e.Account != record.AccountTenant || e.TicksRead == 0 || slices.Contains(e.Flags, noActivity) {
		return
	}
	active := activeTime(e)
	s.Active += active
	s.ReadTime += e.DeviceTime
	// Device time in ms × thousandths is the same number as microseconds of a whole device.
	if e.Kind == record.Closing && int64(active)*1000 < int64(e.DeviceTime)*int64(limit) {
		s.HeldIdle += e.DeviceTime
	}
}

// activeTime is SM activity in microseconds of a whole device. That of a MIG instance is told of the instance, so it is
// weighed by the instance's share of the device.
func activeTime(e record.Entry) unit.Micros {
	if e.DeviceKind != record.KindMIG.String() {
		return e.SMActive
	}
	held := int64(e.To/unit.Millisecond-e.From/unit.Millisecond) * 1000
	if held <= 0 {
		return 0
	}
	v, err := unit.FloorMulDiv(int64(e.SMActive), int64(e.DeviceTime), held)
	if err != nil {
		return 0 // no device-hour is this long: the entry's times are not times
	}
	return unit.Micros(v)
}

// finish writes the figures for reading.
func (s Sums) finish() Sums {
	s.GPUHours, s.HeldIdleHours = Hours(s.DeviceTime), Hours(s.HeldIdle)
	s.KWh, s.CarbonKg = KWh(s.Energy), Kilograms(s.Carbon)
	s.ActiveShare = quotient(int64(s.Active), int64(s.ReadTime), 4)
	s.Coverage = quotient(s.TicksRead, s.TicksExpected, 6)
	s.MeanGPU = s.meanGPU(3)
	return s
}

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
