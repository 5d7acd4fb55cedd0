package redfish

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// word is a string, or empty where a BMC writes something else.
type word string

// UnmarshalJSON never fails.
func (w *word) UnmarshalJSON(data []byte) error {
	var s string
	if json.Unmarshal(data, &s) != nil {
		s = ""
	}
	*w = word(s)
	return nil
}

// link is a reference to a resource: an object with an @odata.id, or a bare path.
type link string

// UnmarshalJSON never fails.
func (l *link) UnmarshalJSON(data []byte) error {
	var o struct {
		ID word `json:"@odata.id"`
	}
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte(`"`)) {
		_ = json.Unmarshal(data, &o.ID) // a word never fails
	} else if json.Unmarshal(data, &o) != nil {
		o.ID = ""
	}
	*l = link(o.ID)
	return nil
}

// list is an array whose elements are read one by one: what is no T is left out, what is no array is empty.
type list[T any] []T

// UnmarshalJSON never fails.
func (l *list[T]) UnmarshalJSON(data []byte) error {
	*l = nil
	var raw []json.RawMessage
	if json.Unmarshal(data, &raw) != nil {
		raw = nil
	}
	for _, r := range raw {
		var t T
		if json.Unmarshal(r, &t) == nil {
			*l = append(*l, t)
		}
	}
	return nil
}

// object is a T, or an empty one where a BMC writes something else.
type object[T any] struct{ is T }

// UnmarshalJSON never fails.
func (o *object[T]) UnmarshalJSON(data []byte) error {
	var t T
	if json.Unmarshal(data, &t) == nil {
		o.is = t
	}
	return nil
}

// excerpt is a sensor's value inside another resource: an object with a Reading, or on some BMCs the bare number.
type excerpt struct {
	reading number
	// there says that the BMC has the property, be it without a value now.
	there bool
	// reset is when the counter began anew, in whatever form: it only tells one life of it from another.
	reset word
}

// UnmarshalJSON never fails.
func (e *excerpt) UnmarshalJSON(data []byte) error {
	var o struct {
		Reading         number
		SensorResetTime word
	}
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		_ = json.Unmarshal(data, &o) // its fields never fail
	} else {
		_ = json.Unmarshal(data, &o.Reading) // a number never fails
	}
	e.reading, e.there, e.reset = o.Reading, true, o.SensorResetTime
	return nil
}

// control is an element of PowerControl in the Power resource.
type control struct {
	MemberId           word
	Name               word
	PhysicalContext    word
	PowerConsumedWatts number
}

// links is the Links object of a resource.
type links struct {
	Sessions    link
	Chassis     list[link]
	ContainedBy link
}

// resource is what we read of any resource. One type is enough: DMTF's property names mean the same everywhere.
type resource struct {
	Path            link `json:"@odata.id"`
	Id              word
	Name            word
	ChassisType     word
	PhysicalContext word

	Members list[link]
	Next    word `json:"Members@odata.nextLink"`
	Links   object[links]

	Chassis            link
	Systems            link
	EnvironmentMetrics link
	Power              link
	Sensors            link
	PowerSubsystem     link
	PowerSupplies      link
	Metrics            link

	// EnvironmentMetrics and PowerSupplyMetrics.
	PowerWatts      excerpt
	InputPowerWatts excerpt
	EnergykWh       excerpt
	EnergyJoules    excerpt
	// Power, the older resource.
	PowerControl list[control]
	// Sensor.
	ReadingType     word
	ReadingUnits    word
	Reading         number
	SensorResetTime word
}

// decode reads a resource.
func decode(data []byte) (*resource, error) {
	var r resource
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("not a JSON object: %w", err)
	}
	return &r, nil
}

// parts of a node that have a power of their own: none of them is the node's input.
var parts = []string{
	"accelerator", "asic", "cpu", "cpusubsystem", "fan", "fpga", "gpu", "gpusubsystem", "memory", "memorysubsystem",
	"networkingdevice", "powersupply", "powersupplybay", "processor", "storagedevice", "storagesubsystem", "voltageregulator",
}

// isPart says whether a physical context is that of a part.
func isPart(context word) bool {
	for _, p := range parts {
		if strings.EqualFold(string(context), p) {
			return true
		}
	}
	return false
}

// total is the member of PowerControl that is the chassis's total: the first that is not about a part. They are never
// added up, since the parts are in the total.
func (r *resource) total() (number, bool) {
	for _, c := range r.PowerControl {
		if !isPart(c.PhysicalContext) {
			return c.PowerConsumedWatts, true
		}
	}
	return "", false
}

// measure is what one answer says: power, or an energy counter, or both.
type measure struct {
	power  number // in W × 10^-places
	places int
	// powered says that the BMC gives power here, be it without a value now.
	powered bool
	kwh     excerpt
	joules  excerpt
}

// environment is the measure of EnvironmentMetrics.
func (r *resource) environment() measure {
	return measure{power: r.PowerWatts.reading, powered: r.PowerWatts.there, kwh: r.EnergykWh, joules: r.EnergyJoules}
}

// sensor is the measure of a Sensor.
func (r *resource) sensor() measure {
	e := excerpt{r.Reading, true, r.SensorResetTime}
	switch strings.ToLower(string(r.ReadingType)) {
	case "power":
		if strings.EqualFold(string(r.ReadingUnits), "kW") {
			return measure{power: r.Reading, places: 3, powered: true}
		}
		return measure{power: r.Reading, powered: true}
	case "energykwh":
		return measure{kwh: e}
	case "energyjoules":
		return measure{joules: e}
	default:
		return measure{}
	}
}

// any says whether there is a value at all.
func (m measure) any() bool {
	return m.power != "" || m.kwh.reading != "" || m.joules.reading != ""
}

// promised says that there is a place for a value.
func (m measure) promised() bool { return m.powered || m.kwh.there || m.joules.there }
