package unit

import (
	"fmt"
	"math"
	"time"
)

// Millijoules is energy. An integer, because totals are added in different orders on different machines and
// must still agree; signed, because corrections are negative.
type Millijoules int64

// Microjoules is energy where a product of mW and ms has to be kept exactly.
type Microjoules int64

// Milliwatts is power.
type Milliwatts int64

// Micros is an instant in microseconds since 1970-01-01T00:00:00Z, or a span of them. It is the resolution of
// DCGM's time stamps.
type Micros int64

// MicrogramsCO2e is a mass of greenhouse gases as CO2 equivalents.
type MicrogramsCO2e int64

// Microlitres is water.
type Microlitres int64

// Milliseconds is device time.
type Milliseconds int64

// Thousandths is a share of one device: 1000 is the whole device.
type Thousandths int64

// WholeDevice is the share of an allocation that holds a device alone.
const WholeDevice Thousandths = 1000

// DeviceTime is milliseconds × thousandths of a device: one device held for one hour is 3,600,000,000.
type DeviceTime int64

const (
	// MillijoulesPerKWh is the size of a kilowatt-hour: 3.6 MJ.
	MillijoulesPerKWh = 3_600_000_000
	// DeviceTimePerHour is one whole device for one hour.
	DeviceTimePerHour = 3_600_000 * 1000
	// Hour is one hour in microseconds: the window of the ledger.
	Hour Micros = 3_600_000_000
	// Second is one second in microseconds.
	Second Micros = 1_000_000
	// Millisecond is one millisecond in microseconds.
	Millisecond Micros = 1_000
)

// KWh is the energy in kilowatt-hours, for display only.
func (e Millijoules) KWh() float64 { return float64(e) / MillijoulesPerKWh }

// String prints a quantity a person can read.
func (e Millijoules) String() string {
	switch a := math.Abs(float64(e)); {
	case a >= MillijoulesPerKWh/100:
		return fmt.Sprintf("%.3f kWh", e.KWh())
	case a >= 1000:
		return fmt.Sprintf("%.3f J", float64(e)/1e3)
	default:
		return fmt.Sprintf("%d mJ", int64(e))
	}
}

// Grams is the mass in grams, for display only.
func (m MicrogramsCO2e) Grams() float64 { return float64(m) / 1e6 }

// String prints the mass in grams or kilograms.
func (m MicrogramsCO2e) String() string {
	if math.Abs(m.Grams()) >= 1000 {
		return fmt.Sprintf("%.3f kgCO2e", m.Grams()/1e3)
	}
	return fmt.Sprintf("%.3f gCO2e", m.Grams())
}

// Litres is the volume in litres, for display only.
func (v Microlitres) Litres() float64 { return float64(v) / 1e6 }

// Watts is the power in watts, for display only.
func (p Milliwatts) Watts() float64 { return float64(p) / 1e3 }

// Hours is the device time in device-hours, for display only.
func (d DeviceTime) Hours() float64 { return float64(d) / DeviceTimePerHour }

// MicrosOf is the instant t in microseconds.
func MicrosOf(t time.Time) Micros { return Micros(t.UnixMicro()) }

// Time is the instant in UTC.
func (t Micros) Time() time.Time { return time.UnixMicro(int64(t)).UTC() }

// Duration is the span as a time.Duration.
func (t Micros) Duration() time.Duration { return time.Duration(t) * time.Microsecond }

// FloorHour is the start of the UTC hour that holds t.
func (t Micros) FloorHour() Micros { return t - mod(t, Hour) }

func mod(a, b Micros) Micros {
	m := a % b
	if m < 0 {
		m += b
	}
	return m
}
