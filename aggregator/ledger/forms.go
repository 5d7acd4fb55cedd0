package ledger

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// What is hashed of each record. The names of these fields are the format: docs/ledger-format.md lists them.

// header is a seal without its root, which covers it, and without Inputs, which depends on the order of arrival.
type header struct {
	Site           string              `json:"site"`
	Batch          uint64              `json:"batch"`
	Previous       string              `json:"previous"`
	Hour           string              `json:"hour"`
	Closing        string              `json:"closing"`
	Reason         string              `json:"reason"`
	Rules          string              `json:"rules"`
	Entries        int                 `json:"entries"`
	Adjustments    int                 `json:"adjustments"`
	Measured       unit.Millijoules    `json:"measured_mj"`
	Estimated      unit.Millijoules    `json:"estimated_mj"`
	Modelled       unit.Millijoules    `json:"modelled_mj"`
	DeviceTime     unit.DeviceTime     `json:"device_time"`
	Carbon         unit.MicrogramsCO2e `json:"carbon_ug"`
	CarbonMarket   unit.MicrogramsCO2e `json:"carbon_market_ug"`
	CarbonEmbodied unit.MicrogramsCO2e `json:"carbon_embodied_ug"`
	Water          unit.Microlitres    `json:"water_ul"`
	Cuts           string              `json:"cuts"`
	DeviceHours    string              `json:"device_hours"`
	Samples        string              `json:"samples"`
	SampleRows     int64               `json:"sample_rows"`
}

// subtotal is a subtotal.
type subtotal struct {
	Site           string              `json:"site"`
	Hour           string              `json:"hour"`
	Account        record.Account      `json:"account"`
	Tenant         string              `json:"tenant"`
	Entries        int                 `json:"entries"`
	Root           string              `json:"root"`
	DeviceTime     unit.DeviceTime     `json:"device_time"`
	Unavailable    unit.DeviceTime     `json:"unavailable_time"`
	GPU            unit.Millijoules    `json:"gpu_mj"`
	CPU            unit.Millijoules    `json:"cpu_mj"`
	NodeRest       unit.Millijoules    `json:"node_rest_mj"`
	ITShared       unit.Millijoules    `json:"it_shared_mj"`
	Facility       unit.Millijoules    `json:"facility_mj"`
	Measured       unit.Millijoules    `json:"measured_mj"`
	Estimated      unit.Millijoules    `json:"estimated_mj"`
	Modelled       unit.Millijoules    `json:"modelled_mj"`
	Interpolated   unit.Millijoules    `json:"interpolated_mj"`
	BoundLow       unit.Millijoules    `json:"bound_low_mj"`
	BoundHigh      unit.Millijoules    `json:"bound_high_mj"`
	Uncertainty    unit.Millijoules    `json:"uncertainty_mj"`
	SMActive       unit.Micros         `json:"sm_active_us"`
	TicksExpected  int64               `json:"ticks_expected"`
	TicksRead      int64               `json:"ticks_read"`
	Carbon         unit.MicrogramsCO2e `json:"carbon_ug"`
	CarbonMarket   unit.MicrogramsCO2e `json:"carbon_market_ug"`
	CarbonEmbodied unit.MicrogramsCO2e `json:"carbon_embodied_ug"`
	Water          unit.Microlitres    `json:"water_ul"`
	HeatReused     unit.Millijoules    `json:"heat_reused_mj"`
}

// cut is a cut. Values of a counter are what a device said, which may be anything: they are written as text.
type cut struct {
	Site         string           `json:"site"`
	Device       string           `json:"device"`
	Epoch        unit.Micros      `json:"epoch_us"`
	T            unit.Micros      `json:"t_us"`
	Boot         string           `json:"boot"`
	Driver       string           `json:"driver"`
	T0           unit.Micros      `json:"t0_us"`
	T1           unit.Micros      `json:"t1_us"`
	C0           unit.Millijoules `json:"c0_mj,string"`
	C1           unit.Millijoules `json:"c1_mj,string"`
	Run          string           `json:"run"`
	Integral0    unit.Millijoules `json:"integral0_mj,string"`
	Seen0        int64            `json:"seen0,string"`
	C            unit.Millijoules `json:"c_mj,string"`
	Low          unit.Millijoules `json:"low_mj,string"`
	High         unit.Millijoules `json:"high_mj,string"`
	Open         bool             `json:"open"`
	Interpolated bool             `json:"interpolated"`
	Edition      uint32           `json:"edition"`
}

// deviceHour is a device-hour. What a counter or a meter said is text here too.
type deviceHour struct {
	Site          string           `json:"site"`
	Hour          string           `json:"hour"`
	Node          string           `json:"node"`
	Device        string           `json:"device"`
	Kind          string           `json:"kind"`
	Model         string           `json:"model"`
	Counter       unit.Millijoules `json:"counter_mj,string"`
	Estimated     unit.Millijoules `json:"estimated_mj,string"`
	Interpolated  unit.Millijoules `json:"interpolated_mj,string"`
	Integral      unit.Millijoules `json:"integral_mj,string"`
	Excess        unit.Millijoules `json:"excess_mj,string"`
	BoundLow      unit.Millijoules `json:"bound_low_mj,string"`
	BoundHigh     unit.Millijoules `json:"bound_high_mj,string"`
	Present       unit.Micros      `json:"present_us"`
	Covered       unit.Micros      `json:"covered_us"`
	TicksExpected int64            `json:"ticks_expected"`
	TicksRead     int64            `json:"ticks_read"`
	Allocated     unit.DeviceTime  `json:"allocated_time"`
	Unallocated   unit.DeviceTime  `json:"unallocated_time"`
	Unavailable   unit.DeviceTime  `json:"unavailable_time"`
	Resets        int              `json:"resets"`
	ClockSteps    int              `json:"clock_steps"`
	Sensor        string           `json:"sensor"`
	Flags         []string         `json:"flags"`
}

var (
	entryForm      = formOf[record.Entry]()
	headerForm     = formOf[header]()
	subtotalForm   = formOf[subtotal]()
	cutForm        = formOf[cut]()
	deviceHourForm = formOf[deviceHour]()
)

// hourText is an hour as entries write it.
func hourText(t unit.Micros) string { return t.Time().Format(time.RFC3339) }

// CanonicalHeader is the hashed form of a seal: all of it but its root and its inputs.
func CanonicalHeader(s record.Seal) ([]byte, error) {
	if s.Hour != s.Hour.FloorHour() {
		return nil, fmt.Errorf("seal of batch %d of %s: its hour is %d µs, which is no full hour", s.Batch, s.Site, s.Hour)
	}
	b, err := headerForm.append(nil, header{
		Site: s.Site, Batch: s.Batch, Previous: s.Previous, Hour: hourText(s.Hour), Closing: s.Closing, Reason: s.Reason, Rules: s.Rules,
		Entries: s.Entries, Adjustments: s.Adjustments, Measured: s.Measured, Estimated: s.Estimated, Modelled: s.Modelled,
		DeviceTime: s.DeviceTime, Carbon: s.Carbon, CarbonMarket: s.CarbonMarket, CarbonEmbodied: s.CarbonEmbodied, Water: s.Water,
		Cuts: s.Cuts, DeviceHours: s.DeviceHours, Samples: s.Samples, SampleRows: s.SampleRows,
	})
	if err != nil {
		return nil, fmt.Errorf("write the header of batch %d of %s: %w", s.Batch, s.Site, err)
	}
	return b, nil
}

// ParseHeader reads a seal's hashed form. Root and Inputs stay empty.
func ParseHeader(canonical []byte) (record.Seal, error) {
	h, err := parse[header](canonical, headerForm)
	if err != nil {
		return record.Seal{}, fmt.Errorf("header: %w", err)
	}
	hour, err := time.Parse(time.RFC3339, h.Hour)
	if err != nil {
		return record.Seal{}, fmt.Errorf("header: hour %q is no time", h.Hour)
	}
	return record.Seal{
		Site: h.Site, Batch: h.Batch, Previous: h.Previous, Hour: unit.MicrosOf(hour), Closing: h.Closing, Reason: h.Reason, Rules: h.Rules,
		Entries: h.Entries, Adjustments: h.Adjustments, Measured: h.Measured, Estimated: h.Estimated, Modelled: h.Modelled,
		DeviceTime: h.DeviceTime, Carbon: h.Carbon, CarbonMarket: h.CarbonMarket, CarbonEmbodied: h.CarbonEmbodied, Water: h.Water,
		Cuts: h.Cuts, DeviceHours: h.DeviceHours, Samples: h.Samples, SampleRows: h.SampleRows,
	}, nil
}

// CanonicalSubtotal is the hashed form of a subtotal.
func CanonicalSubtotal(s record.Subtotal) ([]byte, error) {
	b, err := subtotalForm.append(nil, subtotal(s))
	if err != nil {
		return nil, fmt.Errorf("write the subtotal of %s %q at %s: %w", s.Account, s.Tenant, s.Hour, err)
	}
	return b, nil
}

// ParseSubtotal reads a subtotal's hashed form.
func ParseSubtotal(canonical []byte) (record.Subtotal, error) {
	s, err := parse[subtotal](canonical, subtotalForm)
	if err != nil {
		return record.Subtotal{}, fmt.Errorf("subtotal: %w", err)
	}
	return record.Subtotal(s), nil
}

// CanonicalCut is the hashed form of a cut.
func CanonicalCut(c record.Cut) ([]byte, error) {
	b, err := cutForm.append(nil, cut{
		Site: c.Site, Device: c.Device, Epoch: c.Epoch, T: c.T, Boot: c.Boot, Driver: c.Driver, T0: c.T0, T1: c.T1, C0: c.C0, C1: c.C1,
		Run: c.Run, Integral0: c.Integral0, Seen0: c.Seen0, C: c.C, Low: c.Low, High: c.High, Open: c.Open, Interpolated: c.Interpolated,
		Edition: c.Edition,
	})
	if err != nil {
		return nil, fmt.Errorf("write the cut of %s at %s: %w", c.Device, hourText(c.T), err)
	}
	return b, nil
}

// ParseCut reads a cut's hashed form.
func ParseCut(canonical []byte) (record.Cut, error) {
	c, err := parse[cut](canonical, cutForm)
	if err != nil {
		return record.Cut{}, fmt.Errorf("cut: %w", err)
	}
	return record.Cut{
		Site: c.Site, Device: c.Device, Epoch: c.Epoch, T: c.T, Boot: c.Boot, Driver: c.Driver, T0: c.T0, T1: c.T1, C0: c.C0, C1: c.C1,
		Run: c.Run, Integral0: c.Integral0, Seen0: c.Seen0, C: c.C, Low: c.Low, High: c.High, Open: c.Open, Interpolated: c.Interpolated,
		Edition: c.Edition,
	}, nil
}

// CanonicalDeviceHour is the hashed form of a device-hour.
func CanonicalDeviceHour(d record.DeviceHour) ([]byte, error) {
	if d.Flags == nil {
		d.Flags = []string{}
	}
	b, err := deviceHourForm.append(nil, deviceHour(d))
	if err != nil {
		return nil, fmt.Errorf("write the device-hour of %s%s at %s: %w", d.Node, d.Device, d.Hour, err)
	}
	return b, nil
}

// ParseDeviceHour reads a device-hour's hashed form.
func ParseDeviceHour(canonical []byte) (record.DeviceHour, error) {
	d, err := parse[deviceHour](canonical, deviceHourForm)
	if err != nil {
		return record.DeviceHour{}, fmt.Errorf("device-hour: %w", err)
	}
	return record.DeviceHour(d), nil
}

// ParseEntry reads an entry's hashed form.
func ParseEntry(canonical []byte) (record.Entry, error) {
	e, err := parse[record.Entry](canonical, entryForm)
	if err != nil {
		return record.Entry{}, fmt.Errorf("entry: %w", err)
	}
	return e, nil
}

// parse reads a form, and takes it only when it is canonical: what can be written in two ways cannot be named by its hash.
func parse[T any](canonical []byte, f form) (T, error) {
	var v T
	d := json.NewDecoder(bytes.NewReader(canonical))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return v, fmt.Errorf("not of this format (%w): if a newer version wrote it, use that", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return v, fmt.Errorf("%d bytes follow it", len(canonical)-int(d.InputOffset()))
	}
	again, err := f.append(make([]byte, 0, len(canonical)), v)
	if err != nil {
		return v, err
	}
	if !bytes.Equal(again, canonical) {
		at := 0
		for at < len(again) && at < len(canonical) && again[at] == canonical[at] {
			at++
		}
		return v, fmt.Errorf("it is not canonical JSON from byte %d on", at)
	}
	return v, nil
}

// LogRecord is what the log says of a seal: where it stands in the chain of its site, and no entry.
type LogRecord struct {
	Site     string `json:"site"`
	Batch    uint64 `json:"batch"`
	Root     string `json:"root"`
	Previous string `json:"previous"`
	Hour     string `json:"hour"`
}

var logForm = formOf[LogRecord]()

// LogRecordOf is the record of a seal.
func LogRecordOf(s record.Seal) LogRecord {
	return LogRecord{Site: s.Site, Batch: s.Batch, Root: s.Root, Previous: s.Previous, Hour: hourText(s.Hour)}
}

// Canonical is its hashed form.
func (r LogRecord) Canonical() ([]byte, error) {
	b, err := logForm.append(nil, r)
	if err != nil {
		return nil, fmt.Errorf("write the log record of batch %d of %s: %w", r.Batch, r.Site, err)
	}
	return b, nil
}

// ParseLogRecord reads a record's hashed form.
func ParseLogRecord(canonical []byte) (LogRecord, error) {
	r, err := parse[LogRecord](canonical, logForm)
	if err != nil {
		return LogRecord{}, fmt.Errorf("log record: %w", err)
	}
	return r, nil
}
