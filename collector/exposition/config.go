package exposition

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Config says what is shown at /metrics besides the collector's own metrics, and how it is labelled.
type Config struct {
	// CountersFile is a list of metrics in dcgm-exporter's CSV; empty means its default set.
	CountersFile string `yaml:"counters_file"`
	// HostnameLabel is how the label of the host is spelled: Hostname as in releases of dcgm-exporter up to 4.8.2, hostname as
	// in later ones, or off.
	HostnameLabel string `yaml:"hostname_label"`
	// Entities are the GPUs and instances shown: f for the instances of a GPU in MIG mode and else the GPU, g for GPUs, i for
	// instances; g and i may name indices, as in g:0,2-3.
	Entities string `yaml:"entities"`
	// OldNamespace writes the labels of dcgm-exporter 1.x: uuid, pod_name, pod_namespace, container_name.
	OldNamespace bool `yaml:"old_namespace"`
	// DashesInModel writes NVIDIA-B200 for NVIDIA B200.
	DashesInModel bool `yaml:"dashes_in_model"`
	// SeriesPerHolder repeats the series of a shared device for each who holds it, with the same value. A sum then counts it
	// several times. Without it a shared device has one series, which names no holder.
	SeriesPerHolder bool `yaml:"series_per_holder"`
	// StalePeriods is after how many periods without a new sample a value is no longer shown. 0 shows the last for ever, as
	// dcgm-exporter does.
	StalePeriods int `yaml:"stale_periods"`
	// XIDWindow is the time over which DCGM_EXP_XID_ERRORS_COUNT counts.
	XIDWindow time.Duration `yaml:"xid_window"`
	// Host is the value of the label of the host.
	Host string `yaml:"-"`
	// Period is the time between readings: the agent's.
	Period time.Duration `yaml:"-"`
}

// DefaultConfig shows what dcgm-exporter shows by default.
func DefaultConfig() Config {
	return Config{HostnameLabel: "Hostname", Entities: "f", StalePeriods: 3, XIDWindow: 5 * time.Minute, Period: time.Second}
}

// Validate reports every fault at once.
func (c Config) Validate() error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	switch c.HostnameLabel {
	case "Hostname", "hostname", "off":
	default:
		bad("hostname_label: %q; write Hostname, hostname or off", c.HostnameLabel)
	}
	if _, err := parseEntities(c.Entities); err != nil {
		bad("entities: %w", err)
	}
	if c.StalePeriods < 0 {
		bad("stale_periods: %d; must not be negative", c.StalePeriods)
	}
	if c.XIDWindow < time.Second || c.XIDWindow > 24*time.Hour {
		bad("xid_window: %v; must lie between 1s and 24h", c.XIDWindow)
	}
	if c.Period < time.Millisecond {
		bad("period: %v; must be at least 1ms", c.Period)
	}
	return errors.Join(faults...)
}

// entities is what to show.
type entities struct {
	kind byte // f, g or i
	// ids are the indices asked for, nil for all.
	ids map[uint32]bool
}

func (e entities) has(index uint32) bool { return e.ids == nil || e.ids[index] }

func parseEntities(text string) (entities, error) {
	kind, list, named := strings.Cut(text, ":")
	if kind != "f" && kind != "g" && kind != "i" || kind == "f" && named {
		return entities{}, fmt.Errorf("%q; write f, g or i, the latter two with indices if wanted, as in g:0,2-3", text)
	}
	e := entities{kind: kind[0]}
	if !named {
		return e, nil
	}
	e.ids = map[uint32]bool{}
	for part := range strings.SplitSeq(list, ",") {
		const highest = 1023
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		a, errA := strconv.ParseUint(strings.TrimSpace(from), 10, 32)
		b, errB := strconv.ParseUint(strings.TrimSpace(to), 10, 32)
		if errA != nil || errB != nil || a > b || b > highest {
			return entities{}, fmt.Errorf("%q in %q is no index and no range of indices up to %d", part, text, highest)
		}
		for i := a; i <= b; i++ {
			e.ids[uint32(i)] = true
		}
	}
	return e, nil
}
