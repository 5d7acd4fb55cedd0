package record

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/wattledger/wattledger/schemas/unit"
)

// Purposes are the values Allocation.Purpose may take.
var Purposes = []string{"training", "fine-tuning", "inference", "research"}

// What a declared figure may be at most. One beyond is a wrong unit, and would not fit into the sums it goes into.
const (
	maxPUEThousandths                 = 10_000
	maxNodeRest       unit.Milliwatts = 1_000_000_000 // 1 MW
	maxDeviceLimit    unit.Milliwatts = 100_000_000   // 100 kW
	// migSlices are the compute slices of a GPU in MIG mode.
	migSlices = 7
)

// faults gathers what is wrong with a record.
type faults []error

func (f *faults) add(format string, args ...any) { *f = append(*f, fmt.Errorf(format, args...)) }

func (f *faults) need(name, v string) {
	if strings.TrimSpace(v) == "" {
		f.add("%s is empty", name)
	}
}

func (f *faults) country(name, v string, optional bool) {
	if optional && v == "" {
		return
	}
	upper := func(i int) bool { return v[i] >= 'A' && v[i] <= 'Z' }
	if len(v) != 2 || !upper(0) || !upper(1) {
		f.add("%s is %q; write a country in two capital letters (ISO 3166-1 alpha-2)", name, v)
	}
}

func (f *faults) stay(from, to unit.Micros) {
	if from < 0 || to < 0 {
		f.add("from is %d µs and to %d µs; write instants from 1970 on, or leave them out", from, to)
	} else if to != 0 && to <= from {
		f.add("to %s is not after from %s", stamp(to), stamp(from))
	}
}

func (f *faults) within(name string, v, limit unit.Milliwatts) {
	if v < 0 || v > limit {
		f.add("%s is %d mW; write from 0 to %d", name, v, limit)
	}
}

// Validate reports every fault of the stay at once.
func (s Stay) Validate() error {
	var f faults
	f.need("site", s.Site)
	f.need("node", s.Node)
	if s.To == 0 || s.To != s.From {
		f.stay(s.From, s.To)
	}
	return errors.Join(f...)
}

// Validate reports every fault of the site at once.
func (s Site) Validate() error {
	var f faults
	f.need("id", s.ID)
	f.need("grid zone", s.Zone)
	f.country("country", s.Country, false)
	f.country("operator country", s.OperatorCountry, true)
	if s.PUEThousandths < 1000 || s.PUEThousandths > maxPUEThousandths {
		f.add("PUE × 1000 is %d; a PUE is at least 1 (ISO/IEC 30134-2) and at most %d here", s.PUEThousandths, maxPUEThousandths/1000)
	}
	return errors.Join(f...)
}

// Validate reports every fault of the node at once.
func (n Node) Validate() error {
	var f faults
	f.need("id", n.ID)
	f.need("site", n.Site)
	f.within("rest", n.RestMilliwatts, maxNodeRest)
	f.stay(n.From, n.To)
	return errors.Join(f...)
}

// Validate reports every fault of the device at once.
func (d Device) Validate() error {
	var f faults
	f.need("uuid", d.UUID)
	f.need("node", d.Node)
	if d.Kind < KindGPU || d.Kind > KindCPU {
		f.add("kind is %s; write one of %s, %s, %s", d.Kind, KindGPU, KindMIG, KindCPU)
	}
	if d.Slices > migSlices {
		f.add("it has %d compute slices; a GPU has %d", d.Slices, migSlices)
	}
	if d.Kind == KindMIG {
		f.need("parent of a MIG instance", d.Parent)
	}
	f.within("limit", d.LimitMilliwatts, maxDeviceLimit)
	f.within("idle power", d.IdleMilliwatts, maxDeviceLimit)
	f.stay(d.From, d.To)
	return errors.Join(f...)
}

// Validate reports every fault of the tenant at once.
func (t Tenant) Validate() error {
	var f faults
	f.need("id", t.ID)
	f.country("country", t.Country, true)
	for _, c := range t.AllowedCountries {
		f.country("allowed country", c, false)
	}
	return errors.Join(f...)
}

// Validate reports every fault of the allocation at once.
func (a Allocation) Validate() error {
	var f faults
	f.need("allocation_id", a.ID)
	f.need("device", a.Device)
	f.need("tenant", a.Tenant)
	if a.Share < 1 || a.Share > unit.WholeDevice {
		f.add("thousandths is %d; write a share from 1 to 1000", a.Share)
	}
	if a.Start <= 0 {
		f.add("start is missing")
	}
	if a.End != 0 && a.End <= a.Start {
		f.add("end %s is not after start %s", stamp(a.End), stamp(a.Start))
	}
	if a.Purpose != "" && !slices.Contains(Purposes, a.Purpose) {
		f.add("purpose is %q; write one of %s", a.Purpose, strings.Join(Purposes, ", "))
	}
	return errors.Join(f...)
}

// Validate reports every rule of the ledger that the entry breaks.
func (e Entry) Validate() error {
	var f faults
	f.need("site", e.Site)
	f.need("hour", e.Hour)
	if e.Account != AccountPlatform { // what no node can carry is the site's
		f.need("node", e.Node)
	}
	if e.Kind != Closing && e.Kind != Adjustment {
		f.add("kind is %q", e.Kind)
	}
	switch e.Account {
	case AccountTenant, AccountHeldIdle:
		f.need("tenant", e.Tenant)
		f.need("device", e.Device)
	case AccountUnallocated, AccountPlatform:
		if e.Tenant != "" {
			f.add("%s energy names the tenant %s", e.Account, e.Tenant)
		}
	default:
		f.add("account is %q", e.Account)
	}
	if sum := e.Measured + e.Estimated + e.Modelled; sum != e.Total() {
		f.add("measured, estimated and modelled sum to %d mJ, the components to %d mJ", sum, e.Total())
	}
	if e.Kind == Closing && (e.BoundLow < 0 || e.BoundHigh < 0 || e.Uncertainty < 0) {
		f.add("its bounds are %d and %d mJ and its uncertainty %d mJ; they are distances, and not negative", e.BoundLow, e.BoundHigh, e.Uncertainty)
	}
	if e.Kind == Closing && (e.DeviceTime < 0 || e.Unavailable < 0 || e.Unavailable > e.DeviceTime) {
		f.add("unavailable time %d is not within device time %d", e.Unavailable, e.DeviceTime)
	}
	if e.To < e.From {
		f.add("it ends at %s, before it begins at %s", stamp(e.To), stamp(e.From))
	}
	if (e.Kind == Adjustment) != (e.Corrects != "") {
		f.add("an adjustment, and nothing else, names the entry it corrects")
	}
	return errors.Join(f...)
}

func stamp(t unit.Micros) string { return t.Time().Format("2006-01-02T15:04:05.000000Z") }
