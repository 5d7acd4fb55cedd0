package rapl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/nodemeter"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Config says where the counters are.
type Config struct {
	// Root is the folder of the kernel's power zones.
	Root string `yaml:"root"`
	// MaxWatts is more than any zone can ever draw. A counter that wraps is unwrapped only where this shows that it wrapped
	// once between two readings; a rise beyond it ends the counter's epoch. The smallest counters begin anew after 65 kJ: with
	// 1000 W they must be read within a minute.
	MaxWatts int64 `yaml:"max_watts"`
	// Node is the name of this node, the first part of each meter's name.
	Node string `yaml:"-"`
}

// DefaultConfig reads this machine's zones; no CPU package draws a kilowatt.
func DefaultConfig() Config {
	return Config{Root: "/sys/class/powercap", MaxWatts: 1000}
}

// Validate reports every fault at once.
func (c Config) Validate() error {
	var faults []error
	if c.Root == "" {
		faults = append(faults, errors.New("root: empty; the kernel's is /sys/class/powercap"))
	}
	if c.MaxWatts < 1 || c.MaxWatts > 100_000 {
		faults = append(faults, fmt.Errorf("max_watts: %d; must lie between 1 and 100000", c.MaxWatts))
	}
	if c.Node == "" {
		faults = append(faults, errors.New("node: empty; name the node as the inventory does"))
	}
	return errors.Join(faults...)
}

// remedy is what an operator can do about counters that we may not read.
const remedy = "since Linux 5.10 only root reads them: run as root, add AmbientCapabilities=CAP_DAC_READ_SEARCH to the unit, " +
	"or let a udev rule make energy_uj readable to the collector's group"

// Source reads the zones of one machine. It is for one goroutine.
type Source struct {
	cfg   Config
	log   *slog.Logger
	reg   prometheus.Registerer
	zones *prometheus.GaugeVec
	read  func(path string) ([]byte, error)

	meters    []nodemeter.Meter
	files     []string
	reads     int
	forbidden bool // said once, until it changes
}

// lookEvery is after how many readings the zones are listed anew.
const lookEvery = 6

// Open finds the zones. A machine without any has none: that is no fault, and zones that appear later are found.
func Open(cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Source, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("rapl: %w", err)
	}
	s := &Source{
		cfg: cfg, log: log, reg: reg, read: os.ReadFile,
		zones: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "wattledger_collector_rapl_zones", Help: "Power zones of the CPUs that are read, and those that we may not read, by state.",
		}, []string{"state"}),
	}
	if reg != nil {
		if err := reg.Register(s.zones); err != nil {
			return nil, fmt.Errorf("rapl: %w", err)
		}
	}
	s.find()
	return s, nil
}

// Close forgets the metrics.
func (s *Source) Close() error {
	if s.reg != nil {
		s.reg.Unregister(s.zones)
	}
	return nil
}

// Meters lists the zones.
func (s *Source) Meters() []nodemeter.Meter { return s.meters }

// Status says in a line what is read and, where something is not, how to mend it.
func (s *Source) Status() string {
	switch {
	case len(s.meters) == 0:
		return "no power zones in " + s.cfg.Root + ": the CPU or the virtual machine has none, or the module intel_rapl_msr is not loaded"
	case s.forbidden:
		return "power zones in " + s.cfg.Root + " may not be read: " + remedy
	default:
		return fmt.Sprintf("%d power zones", len(s.meters))
	}
}

// Read reads every counter.
func (s *Source) Read(ctx context.Context, at unit.Micros, values []nodemeter.Value) error {
	begun := time.Now()
	var gone, forbidden, good int
	for i, file := range s.files {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("read %s: %w", file, err)
		}
		data, err := s.read(file)
		n, ok := counter(data)
		switch {
		case errors.Is(err, fs.ErrPermission):
			values[i].Why = nodemeter.Forbidden
			forbidden++
		case errors.Is(err, fs.ErrNotExist):
			gone++
		case err != nil || !ok:
			s.log.Debug("power zone not read", "file", file, "error", err)
		default:
			values[i] = nodemeter.Value{At: at + unit.Micros(time.Since(begun).Microseconds()), Count: n}
			good++
		}
	}
	s.zones.WithLabelValues("read").Set(float64(good))
	s.zones.WithLabelValues("forbidden").Set(float64(forbidden))
	if was := s.forbidden; was != (forbidden > 0) {
		s.forbidden = !was
		if s.forbidden {
			s.log.Warn("power zones may not be read", "zones", forbidden, "remedy", remedy)
		} else {
			s.log.Info("power zones can be read now", "zones", good)
		}
	}
	if s.reads++; gone > 0 || len(s.files) == 0 || s.reads%lookEvery == 0 {
		return s.lookAgain(gone)
	}
	return nil
}

// lookAgain lists the zones anew; gone of those that were listed are not where they were.
func (s *Source) lookAgain(gone int) error {
	before := len(s.files)
	meters := s.meters
	s.find()
	switch {
	case len(s.files) == 0 && before > 0:
		s.meters = meters // still ours, and missed
		s.files = make([]string, len(meters))
		for i := range s.files {
			s.files[i] = filepath.Join(s.cfg.Root, "gone")
		}
		return fmt.Errorf("read %d power zones in %s: %w", gone, s.cfg.Root, fs.ErrNotExist)
	case !slices.Equal(meters, s.meters):
		return agent.ErrChanged
	case gone > 0 && gone == before:
		return agent.ErrChanged // the same zones are back: read them at once
	}
	return nil
}

// find lists the zones. Their folders are all links in the root, however deep they are nested.
func (s *Source) find() {
	s.meters, s.files = nil, nil
	dirs, err := filepath.Glob(filepath.Join(s.cfg.Root, "intel-rapl:*"))
	if err != nil {
		return // only a malformed pattern
	}
	seen := map[string]bool{}
	for _, dir := range dirs {
		name := s.text(dir, "name")
		zone, parent, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), "intel-rapl:"), ":")
		m := nodemeter.Meter{Node: s.cfg.Node, Counter: true, PerMillijoule: 1000, Limit: unit.Milliwatts(s.cfg.MaxWatts * 1000)}
		switch {
		case parent == "" && strings.HasPrefix(name, "package-"):
			m.Quantity, m.Of = "cpu_energy", "cpu"+strings.TrimPrefix(name, "package-")
			m.Name = s.cfg.Node + "/" + name
		case parent != "" && name == "dram":
			outer := s.text(filepath.Join(s.cfg.Root, "intel-rapl:"+zone), "name")
			m.Quantity, m.Of = "dram_energy", "dram"+strings.TrimPrefix(outer, "package-")
			m.Name = s.cfg.Node + "/" + strings.TrimPrefix(outer+"-dram", "-")
		default:
			continue
		}
		if seen[m.Name] {
			continue
		}
		seen[m.Name] = true
		if most, ok := counter([]byte(s.text(dir, "max_energy_range_uj"))); ok {
			m.Range = modulus(most)
		}
		s.meters = append(s.meters, m)
		s.files = append(s.files, filepath.Join(dir, "energy_uj"))
	}
}

func (s *Source) text(dir, file string) string {
	data, err := s.read(filepath.Join(dir, file))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// counter reads a number as sysfs writes it.
func counter(data []byte) (n uint64, ok bool) {
	n, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 63)
	return n, err == nil
}

// modulus is the number of µJ after which a counter begins anew, given the largest that it shows. The register has 32 bits
// and counts units of a fixed number of nJ, so it begins anew one unit after the largest value. The unit follows from the
// largest value; where it does not, the counter is no such register and begins anew one µJ later.
func modulus(most uint64) uint64 {
	const largest = 1<<32 - 1
	switch {
	case most == 0:
		return 0
	case most > 1<<53:
		return most + 1
	}
	nano := (most*1000 + largest - 1) / largest
	if nano == 0 || nano*largest/1000 != most {
		return most + 1
	}
	return nano * (largest + 1) / 1000
}
