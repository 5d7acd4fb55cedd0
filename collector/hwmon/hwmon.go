package hwmon

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

// Source reads the sensors of one machine. It is for one goroutine.
type Source struct {
	cfg   Config
	log   *slog.Logger
	reg   prometheus.Registerer
	count *prometheus.GaugeVec
	read  func(path string) ([]byte, error)

	sensors []sensor
	others  int  // sensors that are left alone
	several int  // ACPI power meters that do not say what they measure
	away    bool // none of the sensors is where it was
	reads   int
}

// lookEvery is after how many readings the sensors are listed anew.
const lookEvery = 6

// Open finds the sensors. A machine without any has none: that is no fault, and sensors that appear later are found.
func Open(cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Source, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("hwmon: %w", err)
	}
	s := &Source{
		cfg: cfg, log: log, reg: reg, read: os.ReadFile,
		count: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "wattledger_collector_hwmon_sensors", Help: "Power and energy sensors of the kernel, by state: read, forbidden, left alone.",
		}, []string{"state"}),
	}
	if reg != nil {
		if err := reg.Register(s.count); err != nil {
			return nil, fmt.Errorf("hwmon: %w", err)
		}
	}
	s.sensors, s.others = s.find()
	if cfg.PowerMeterIsNode && s.several != 1 {
		log.Warn("no power meter is the whole node", "power_meters", s.several, "remedy", "power_meter_is_node needs exactly one; name the right one in sensors")
	}
	return s, nil
}

// Close forgets the metrics.
func (s *Source) Close() error {
	if s.reg != nil {
		s.reg.Unregister(s.count)
	}
	return nil
}

// Meters lists the sensors.
func (s *Source) Meters() []nodemeter.Meter {
	var out []nodemeter.Meter
	for _, x := range s.sensors {
		out = append(out, x.meter)
	}
	return out
}

// Read reads every sensor.
func (s *Source) Read(ctx context.Context, at unit.Micros, values []nodemeter.Value) error {
	if s.away || len(s.sensors) == 0 {
		found, others := s.find()
		switch {
		case len(found) > 0:
			s.sensors, s.others, s.away = found, others, false
			return agent.ErrChanged
		case s.away:
			return fmt.Errorf("read %d sensors in %s: %w", len(s.sensors), s.cfg.Root, fs.ErrNotExist)
		}
	}
	begun := time.Now()
	var good, forbidden, gone int
	for i, x := range s.sensors {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("read %s: %w", x.file, err)
		}
		data, err := s.read(x.file)
		switch {
		case errors.Is(err, fs.ErrPermission):
			values[i].Why = nodemeter.Forbidden
			forbidden++
		case errors.Is(err, fs.ErrNotExist):
			gone++
		case err != nil: // a driver says ENODATA or EIO when it has nothing
			s.log.Debug("sensor not read", "file", x.file, "error", err)
		default:
			values[i] = value(data, x.meter.Counter)
			if values[i].Why == "" {
				values[i].At = at + unit.Micros(time.Since(begun).Microseconds())
				good++
			}
		}
	}
	s.count.WithLabelValues("read").Set(float64(good))
	s.count.WithLabelValues("forbidden").Set(float64(forbidden))
	s.count.WithLabelValues("left_alone").Set(float64(s.others))
	if s.reads++; gone == 0 && s.reads%lookEvery != 0 {
		return nil
	}
	found, others := s.find()
	if len(found) == 0 {
		s.away = true // they are still ours, and missed
		return fmt.Errorf("read %d sensors in %s: %w", gone, s.cfg.Root, fs.ErrNotExist)
	}
	if slices.Equal(found, s.sensors) {
		return nil
	}
	s.sensors, s.others = found, others
	return agent.ErrChanged
}

// value is what the text of a sensor says: µW or µJ.
func value(data []byte, counter bool) nodemeter.Value {
	n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	switch {
	case err != nil:
		return nodemeter.Value{Why: nodemeter.Missing}
	case n < 0:
		return nodemeter.Value{Why: nodemeter.Refused}
	case counter:
		return nodemeter.Value{Count: uint64(n)}
	case n == 0:
		return nodemeter.Value{Why: nodemeter.Zero}
	default:
		return nodemeter.Value{Power: unit.Milliwatts(n/1000 + n%1000/500)}
	}
}

func (s *Source) text(dir, file string) string {
	data, err := s.read(filepath.Join(dir, file))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
