package main

import (
	"fmt"
	"slices"

	"github.com/wattledger/wattledger/aggregator/verify"
	"github.com/wattledger/wattledger/aggregator/verify/fleettest"
	"github.com/wattledger/wattledger/aggregator/verify/fleettest/books"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Result is what was found about one fleet.
type Result struct {
	seed     uint64
	lossless bool
	hours    int

	entries, adjustments int
	rules, quality, cuts verify.Comparison
	// residual is how far sums of the ledger are from counters, meters and wall time.
	residual unit.Millijoules
	time     unit.DeviceTime
	truth    verify.Truth
}

// Total sums what was found about all fleets.
type Total struct {
	Fleets int `json:"fleets"`
	// Rule errors are absolute differences from the recomputation: energy (with heat handed on), device time, carbon, water.
	RuleError  unit.Millijoules    `json:"rule_error_mj"`
	RuleTime   unit.DeviceTime     `json:"rule_error_device_time"`
	RuleCarbon unit.MicrogramsCO2e `json:"rule_error_carbon_ug"`
	RuleWater  unit.Microlitres    `json:"rule_error_water_ul"`
	// MaxTenantPPM is the largest error of a tenant's total where every second was read; of the other fleets apart.
	MaxTenantPPM     float64 `json:"max_tenant_error_ppm"`
	MaxTenantPPMLoss float64 `json:"max_tenant_error_ppm_with_losses"`
	// Residual and DeviceTimeResidual are what sums are off by.
	Residual           unit.Millijoules `json:"residual_mj"`
	DeviceTimeResidual unit.DeviceTime  `json:"residual_device_time"`
	Outside            int              `json:"outside_stated_bound"`
	CutsWrong          int              `json:"cuts_differing"`
	// What was checked.
	Lossless       int `json:"fleets_lossless_1s"`
	Hours          int `json:"hours"`
	Entries        int `json:"entries"`
	Adjustments    int `json:"adjustments"`
	TenantsChecked int `json:"tenants_checked"`
	BoundsChecked  int `json:"bounds_checked"`
	Failed         int `json:"failed,omitempty"`
}

func (t *Total) add(r Result) {
	t.Fleets++
	t.RuleError += r.rules.RuleError + r.quality.RuleError
	t.RuleTime += r.rules.Time
	t.RuleCarbon += r.rules.Carbon
	t.RuleWater += r.rules.Water
	t.Residual += r.residual
	t.DeviceTimeResidual += r.time
	t.Outside += r.truth.Outside
	t.CutsWrong += r.cuts.Cuts
	if r.lossless {
		t.Lossless++
		t.MaxTenantPPM = max(t.MaxTenantPPM, r.truth.MaxTenantPPM)
	} else {
		t.MaxTenantPPMLoss = max(t.MaxTenantPPMLoss, r.truth.MaxTenantPPM)
	}
	t.Hours += r.hours
	t.Entries += r.entries
	t.Adjustments += r.adjustments
	t.TenantsChecked += r.truth.TenantsChecked
	t.BoundsChecked += r.truth.CutsChecked + r.truth.EntriesChecked
}

// faults are the limits that the fleet breaks, in words.
func (r Result) faults() []string {
	var out []string
	fault := func(format string, args ...any) {
		out = append(out, fmt.Sprintf("fleet of seed %d: ", r.seed)+fmt.Sprintf(format, args...))
	}
	if r.rules.Entries > 0 {
		fault("%d lines are not their recomputation: %v", r.rules.Entries, r.rules.First[:1])
	}
	if r.quality.Quality > 0 {
		fault("%d device-hours are not their recomputation: %v", r.quality.Quality, r.quality.First[:1])
	}
	if r.cuts.Cuts > 0 {
		fault("%d cuts are not what their samples make of them", r.cuts.Cuts)
	}
	if r.residual != 0 || r.time != 0 {
		fault("sums are off by %d mJ and %d ms × thousandths", r.residual, r.time)
	}
	if r.truth.Outside > 0 {
		fault("the truth lies outside %d stated bounds", r.truth.Outside)
	}
	if r.lossless && r.truth.MaxTenantPPM > limitPPM {
		fault("%s is %.1f ppm from the truth, though every second was read", r.truth.WorstTenant, r.truth.MaxTenantPPM)
	}
	return out
}

// options of a fleet by its seed: some read every second without a loss, some every ten with losses, some at odd times, with
// data that comes late, devices that fall silent and MIG instances that are never said to have ended.
func options(seed uint64) fleettest.Options {
	o := fleettest.Options{Meters: true, Factors: true}
	switch seed % 6 {
	case 0, 3:
		o.Lossless = true
	case 1:
		o.Step = 10 * unit.Second
	case 2:
		o.Step, o.Late = 10*unit.Second, true
	case 4:
		o.Late, o.Crowded, o.Silence = true, true, fleettest.DeviceSilent
	case 5:
		o.Late, o.Silence = true, fleettest.CollectorAway
	}
	return o
}

// prove plays a fleet, keeps its ledger and holds it against the rules and the truth.
func prove(seed uint64) (Result, error) {
	f := fleettest.NewWith(seed, options(seed))
	r := Result{seed: seed, lossless: f.Lossless, hours: f.Hours}
	book, err := books.Settled(f)
	if err != nil {
		return r, fmt.Errorf("close: %w", err)
	}
	p := f.Period()
	p.Settled = true
	lines, quality, err := verify.Recompute(f.Site, f.Nodes, p, true)
	if err != nil {
		return r, err
	}
	r.entries, r.adjustments = len(book.Entries), book.Adjustments
	r.rules, r.quality = verify.Compare(book.Entries, lines), verify.CompareQuality(book.DeviceHours, quality)
	var devices []record.Device
	for _, n := range f.Nodes {
		devices = append(devices, n.Devices...)
		of := slices.DeleteFunc(slices.Clone(book.Cuts), func(c record.Cut) bool { _, on := n.Series[c.Device]; return !on })
		r.cuts.Cuts += verify.CompareCuts(n.Series, of).Cuts
	}
	r.residual = verify.BalanceLevels(devices, quality, book.Entries).Sum()
	r.time = verify.BalanceTime(devices, p, book.Entries).Residual
	r.truth = verify.CheckTruth(f, f.Nodes, p, book.Entries, book.Cuts)
	return r, nil
}
