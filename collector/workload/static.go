package workload

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Assignment says that a tenant holds devices of this node from one instant to another, whoever runs what on them.
type Assignment struct {
	// Tenant and Project say who; the tenant is required.
	Tenant  string `yaml:"tenant"`
	Project string `yaml:"project"`
	// Devices are UUIDs, or the single word all, which is also what leaving it out means. A GPU that is divided into
	// MIG instances is held by its instances.
	Devices DeviceList `yaml:"devices"`
	// From and To bound the time, in RFC 3339 (2026-01-01T00:00:00+01:00). Without to the tenant holds them until further
	// notice; without from since the collector first saw them.
	From string `yaml:"from"`
	To   string `yaml:"to"`
}

// DeviceList is a list of UUIDs, or one text in its place.
type DeviceList []string

// UnmarshalYAML reads either.
func (l *DeviceList) UnmarshalYAML(decode func(any) error) error {
	var one string
	if decode(&one) == nil {
		*l = DeviceList{one}
		return nil
	}
	return decode((*[]string)(l))
}

func (a Assignment) all() bool {
	return len(a.Devices) == 0 || (len(a.Devices) == 1 && a.Devices[0] == "all")
}

func (a Assignment) times() (from, to unit.Micros, err error) {
	parse := func(key, text string) (unit.Micros, error) {
		if text == "" {
			return 0, nil
		}
		t, err := time.Parse(time.RFC3339, text)
		if err != nil || t.Year() < 2000 || t.Year() > 2100 {
			return 0, fmt.Errorf("%s: %q is not an instant as in 2026-01-01T00:00:00+01:00", key, text)
		}
		return unit.MicrosOf(t), nil
	}
	from, err1 := parse("from", a.From)
	to, err2 := parse("to", a.To)
	if err1 == nil && err2 == nil && to != 0 && to <= from {
		err1 = fmt.Errorf("to: %s is not after from, %s", a.To, a.From)
	}
	if err2 == nil && to != 0 && a.From == "" {
		err1 = errors.New("from: missing; an assignment that ends needs a start")
	}
	return from, to, errors.Join(err1, err2)
}

func (a Assignment) faults() (faults []error) {
	if strings.TrimSpace(a.Tenant) == "" {
		faults = append(faults, errors.New("tenant: empty; name the tenant as the inventory does"))
	}
	if !a.all() {
		seen := map[string]bool{}
		for _, d := range a.Devices {
			switch {
			case !strings.HasPrefix(d, "GPU-") && !strings.HasPrefix(d, "MIG-"):
				faults = append(faults, fmt.Errorf("devices: %q is not a UUID that begins with GPU- or MIG-; write UUIDs, or the single word all", d))
			case seen[d]:
				faults = append(faults, fmt.Errorf("devices: %s is there twice", d))
			}
			seen[d] = true
		}
	}
	_, _, err := a.times()
	if all, ok := err.(interface{ Unwrap() []error }); ok { // joined, for each to be named on its own
		faults = append(faults, all.Unwrap()...)
	}
	return faults
}

// staticMemory is how long an assignment that has ended is still stated: a collector that was down meanwhile ends it rightly.
const staticMemory = 24 * unit.Hour

// Static states what the configuration says.
type Static struct {
	assignments []Assignment
	clock       agent.Clock
}

// NewStatic takes validated assignments.
func NewStatic(assignments []Assignment, clock agent.Clock) *Static {
	return &Static{assignments, clock}
}

// Name is static.
func (s *Static) Name() string { return "static" }

// Run only waits: the passing of from and to is found by asking.
func (s *Static) Run(ctx context.Context, _ func(unit.Micros)) error {
	<-ctx.Done()
	return ctx.Err()
}

// Holds states each assignment of each device that exists, once it has begun.
func (s *Static) Holds(_ context.Context, devices []agent.Device) (Statement, error) {
	now := s.clock.Now()
	var st Statement
	for _, a := range s.assignments {
		from, to, err := a.times()
		if err != nil {
			return Statement{}, fmt.Errorf("static assignment to %s: %w", a.Tenant, err)
		}
		if from > now {
			continue
		}
		if to != 0 && to < now-staticMemory {
			continue
		}
		if to > now {
			to = 0
		}
		for _, d := range Leaves(devices) {
			if !a.all() && !a.names(d) {
				continue
			}
			st.Holds = append(st.Holds, Hold{
				Ref: "static/" + a.Tenant, Key: strings.Join([]string{a.Tenant, a.Project, a.From}, "\x1f"), Device: d.UUID, Start: from, End: to,
				Names: Names{Tenant: a.Tenant, Project: a.Project},
			})
		}
	}
	return st, nil
}

func (a Assignment) names(d agent.Device) bool {
	for _, uuid := range a.Devices {
		if uuid == d.UUID || (d.Parent != "" && uuid == d.Parent) {
			return true
		}
	}
	return false
}
