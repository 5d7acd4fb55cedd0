package factor

import (
	"fmt"
	"strconv"
)

// Sensor is how far what measures, or a model that stands in for it, may be off.
type Sensor struct {
	// Class names it: gpu_counter, node_meter, declared.
	Class string
	// Permille is how far it may be off, in thousandths of what it states.
	Permille int64
	// Basis is "datasheet", "standard" or "assumed".
	Basis, Source string
}

// The classes of the committed table.
const (
	SensorGPUCounter = "gpu_counter"
	SensorCPUCounter = "cpu_counter"
	SensorIntegrated = "integrated"
	SensorEstimated  = "estimated"
	SensorNodeMeter  = "node_meter"
	SensorSiteMeter  = "site_meter"
	SensorDeclared   = "declared"
)

// Sensors is the committed table of sensor classes by name.
func Sensors() (map[string]Sensor, error) {
	out := map[string]Sensor{}
	err := eachRow("sensors.csv", 4, func(f []string) error {
		v, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil || v < 0 || v > 1000 {
			return fmt.Errorf("permille %q is not an integer from 0 to 1000", f[1])
		}
		if _, twice := out[f[0]]; twice {
			return fmt.Errorf("class %s stands twice", f[0])
		}
		out[f[0]] = Sensor{Class: f[0], Permille: v, Basis: f[2], Source: f[3]}
		return nil
	})
	return out, err
}
