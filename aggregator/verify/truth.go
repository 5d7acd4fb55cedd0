package verify

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/wattledger/wattledger/schemas/unit"
)

// Truth is the ledger against its recomputation and against what really happened.
type Truth struct {
	RuleError unit.Millijoules `json:"rule_error_mj"`
	// TimeError, CarbonError and WaterError are those of device time, carbon and water, Entries the lines that differ in anything.
	TimeError   unit.DeviceTime     `json:"rule_error_device_time"`
	CarbonError unit.MicrogramsCO2e `json:"rule_error_carbon_ug"`
	WaterError  unit.Microlitres    `json:"rule_error_water_ul"`
	Entries     int                 `json:"entries_differing"`
	// Quality counts device-hours and hours of meters that differ.
	Quality int `json:"device_hours_differing"`
	// Cuts counts stored cuts that are not what the samples they name make of them.
	Cuts int `json:"cuts_differing"`

	// MaxTenantPPM is the largest relative difference between a tenant's GPU energy and the true one, and WorstTenant whose.
	MaxTenantPPM float64 `json:"max_tenant_error_ppm"`
	WorstTenant  string  `json:"worst_tenant,omitempty"`
	// Outside counts cuts, entries and tenants' sums whose true energy lies outside their bounds, of those checked.
	Outside        int `json:"outside_bound"`
	CutsChecked    int `json:"cuts_checked"`
	EntriesChecked int `json:"entries_checked"`
	TenantsChecked int `json:"tenants_checked"`
	// Unknown counts cuts, entries and allocations whose edges the truth does not name. They are not checked.
	Unknown int `json:"truth_unknown"`
}

// Reality knows what devices and MIG instances really drew since a common start.
type Reality interface {
	// Energy is that of one up to an instant; false when it is not known.
	Energy(entity string, t unit.Micros) (unit.Microjoules, bool)
}

// TrueEnergy is the energy that devices and MIG instances really drew since a common start, in µJ, at instants.
type TrueEnergy map[string][]TruePoint

// TruePoint is the true energy up to an instant.
type TruePoint struct {
	At     unit.Micros
	Energy unit.Microjoules
}

const truthHeader = "entity,t_us,energy_uj"

// ReadTruth reads the simulator's account of what happened: a line for each entity and instant under the header
// entity,t_us,energy_uj. It names every line it cannot read, and reads the others.
func ReadTruth(r io.Reader) (TrueEnergy, error) {
	s := bufio.NewScanner(r)
	out := TrueEnergy{}
	var faults []error
	for line := 1; s.Scan(); line++ {
		text := strings.TrimRight(s.Text(), "\r")
		if line == 1 {
			if text != truthHeader {
				return nil, fmt.Errorf("line 1 of the truth is %.60q: write the header %s", text, truthHeader)
			}
			continue
		}
		p, entity, err := parseTruth(text)
		if err != nil {
			if faults = append(faults, fmt.Errorf("line %d: %w", line, err)); len(faults) == named {
				break
			}
			continue
		}
		out[entity] = append(out[entity], p)
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("read the truth: %w", err)
	}
	for entity, points := range out {
		slices.SortFunc(points, func(a, b TruePoint) int { return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Energy, b.Energy)) })
		points = slices.Compact(points)
		for i := 1; i < len(points); i++ {
			if points[i].At == points[i-1].At || points[i].Energy < points[i-1].Energy {
				faults = append(faults, fmt.Errorf("the true energy of %s does not rise with time at %d", entity, points[i].At))
				break
			}
		}
		out[entity] = points
	}
	return out, errors.Join(faults...)
}

func parseTruth(text string) (TruePoint, string, error) {
	fields := strings.Split(text, ",")
	if len(fields) != 3 || fields[0] == "" {
		return TruePoint{}, "", fmt.Errorf("%.60q is not entity,t_us,energy_uj", text)
	}
	t, errT := strconv.ParseInt(fields[1], 10, 64)
	e, errE := strconv.ParseInt(fields[2], 10, 64)
	if errT != nil || errE != nil || e < 0 {
		return TruePoint{}, "", fmt.Errorf("%.60q: time and energy are whole numbers of µs and µJ", text)
	}
	return TruePoint{At: unit.Micros(t), Energy: unit.Microjoules(e)}, fields[0], nil
}

// Energy is the true energy at an instant that the truth names.
func (e TrueEnergy) Energy(entity string, t unit.Micros) (unit.Microjoules, bool) {
	points := e[entity]
	i, ok := slices.BinarySearchFunc(points, t, func(p TruePoint, t unit.Micros) int { return cmp.Compare(p.At, t) })
	if !ok {
		return 0, false
	}
	return points[i].Energy, true
}

// between is the true energy of [a, b).
func between(r Reality, entity string, a, b unit.Micros) (int64, bool) {
	from, okA := r.Energy(entity, a)
	to, okB := r.Energy(entity, b)
	return int64(to - from), okA && okB
}

// tenantSum is a tenant's energy: booked in mJ, true in µJ × thousandths.
type tenantSum struct {
	booked, real big.Int
	unknown      bool
	// low and high are how far the stated bounds reach in sum; unbounded says that part of it has none.
	low, high int64
	unbounded bool
}

// outside says that the true energy is not within the bounds stated.
func (s *tenantSum) outside() bool {
	if s.unknown || s.unbounded {
		return false
	}
	diff := new(big.Int).Mul(&s.booked, big.NewInt(1_000_000))
	diff.Sub(&s.real, diff)
	return diff.Cmp(product(-s.low, 1_000_000)) < 0 || diff.Cmp(product(s.high, 1_000_000)) > 0
}

// ppm is how far booked energy is from the true one.
func (s *tenantSum) ppm() (float64, bool) {
	if s.unknown || s.real.Sign() == 0 {
		return 0, false
	}
	diff := new(big.Int).Mul(&s.booked, big.NewInt(1_000_000)) // mJ in µJ × thousandths
	diff.Sub(diff, &s.real).Abs(diff)
	v, _ := new(big.Rat).SetFrac(diff.Mul(diff, big.NewInt(1_000_000)), &s.real).Float64()
	return v, true
}
