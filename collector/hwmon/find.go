package hwmon

import (
	"cmp"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/wattledger/wattledger/collector/nodemeter"
)

// sensor is a meter with the file that is read for it.
type sensor struct {
	meter nodemeter.Meter
	file  string
}

var (
	// socket is the OEM text of the power meters of a Grace superchip (NVIDIA Grace performance tuning guide, power telemetry).
	socket = regexp.MustCompile(`^(Module|CPU|Grace|SysIO) Power Socket (\d{1,4})\b`)
	// attribute is a reading of a sensor: its average is preferred to the instant, since we integrate it.
	attribute = regexp.MustCompile(`^((power|energy)\d{1,4})_(average|input)$`)
	amdSocket = regexp.MustCompile(`^Esocket(\d{1,4})$`)
	unsafe    = regexp.MustCompile(`[^A-Za-z0-9_.:-]+`)
)

// find lists the sensors that mean something, in order of their names, and says how many it left alone.
func (s *Source) find() (found []sensor, others int) {
	best := map[string]sensor{}
	var whole []sensor
	for _, dir := range s.glob(s.cfg.Root, "hwmon*") {
		taken := map[string]bool{}
		chip := cmp.Or(s.text(dir, "name"), s.text(filepath.Join(dir, "device"), "name"))
		// The attributes of an ACPI power meter stand in the device's folder or, on newer kernels, one level higher.
		for _, at := range []string{dir, filepath.Join(dir, "device")} {
			for _, file := range s.readings(at) {
				id, _, _ := strings.Cut(filepath.Base(file), "_")
				if taken[id] {
					continue
				}
				taken[id] = true
				x, ok := s.recognise(chip, dir, at, id)
				if !ok {
					others++
					continue
				}
				x.file = file
				x.meter.Node = s.cfg.Node
				x.meter.Counter = strings.HasPrefix(id, "energy")
				if x.meter.Counter {
					x.meter.PerMillijoule = 1000
				}
				if x.meter.Quantity == "" {
					whole = append(whole, x)
					continue
				}
				if _, ok := best[x.meter.Name]; ok {
					others++ // a second folder with the same text
					continue
				}
				best[x.meter.Name] = x
			}
		}
	}
	if s.cfg.PowerMeterIsNode && len(whole) == 1 {
		whole[0].meter.Quantity, whole[0].meter.Of = "node_energy", "node"
		best[whole[0].meter.Name] = whole[0]
	} else {
		others += len(whole)
	}
	s.several = len(whole)
	for name, x := range best {
		n, grace := strings.CutPrefix(name, s.name("grace"))
		if _, ok := best[s.name("cpu"+n)]; grace && ok {
			others++
			continue
		}
		found = append(found, x)
	}
	slices.SortFunc(found, func(a, b sensor) int { return cmp.Compare(a.meter.Name, b.meter.Name) })
	return found, others
}

// readings lists the files of a folder that can be read out, averages before instants.
func (s *Source) readings(dir string) []string {
	files := append(s.glob(dir, "power*_average"), append(s.glob(dir, "power*_input"), s.glob(dir, "energy*_input")...)...)
	return slices.DeleteFunc(files, func(f string) bool { return !attribute.MatchString(filepath.Base(f)) })
}

// recognise says what a sensor measures. An ACPI power meter without a text has no quantity yet.
func (s *Source) recognise(chip, dir, at, id string) (x sensor, ok bool) {
	label := s.text(at, id+"_label")
	for _, c := range s.cfg.Sensors {
		if c.Chip == chip && (c.Sensor == id || c.Label != "" && c.Label == label) {
			x.meter = nodemeter.Meter{Name: s.name(c.Meter), Quantity: c.Quantity, Of: c.Meter, Module: c.Module}
			return x, true
		}
	}
	if m := socket.FindStringSubmatch(s.text(at, id+"_oem_info")); m != nil {
		switch n := m[2]; m[1] {
		case "Module":
			x.meter = nodemeter.Meter{Name: s.name("module" + n), Quantity: "module_energy", Of: "module" + n, Module: n}
		case "CPU":
			x.meter = nodemeter.Meter{Name: s.name("cpu" + n), Quantity: "cpu_energy", Of: "cpu" + n, Module: n}
		case "Grace": // the CPU with its memory and its SoC: better than nothing where the CPU has no meter of its own
			x.meter = nodemeter.Meter{Name: s.name("grace" + n), Quantity: "cpu_energy", Of: "cpu" + n, Module: n}
		default:
			return x, false
		}
		return x, true
	}
	switch m := amdSocket.FindStringSubmatch(label); {
	case chip == "amd_energy" && m != nil:
		x.meter = nodemeter.Meter{Name: s.name("cpu" + m[1]), Quantity: "cpu_energy", Of: "cpu" + m[1]}
		return x, true
	case chip == "power_meter" && s.text(at, id+"_is_battery") != "1":
		x.meter = nodemeter.Meter{Name: s.name(cmp.Or(s.device(dir), chip))}
		return x, true
	default:
		return x, false
	}
}

// device is the name of the device behind a folder, as the firmware gives it: ACPI000D:00.
func (s *Source) device(dir string) string {
	target, err := filepath.EvalSymlinks(filepath.Join(dir, "device"))
	if err != nil || filepath.Base(target) == "device" {
		return ""
	}
	return filepath.Base(target)
}

func (s *Source) name(of string) string { return s.cfg.Node + "/" + unsafe.ReplaceAllString(of, "_") }

func (s *Source) glob(dir, pattern string) []string {
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		return nil // only a malformed pattern
	}
	return files
}
