package hwmon

import (
	"errors"
	"fmt"
	"slices"

	"github.com/wattledger/wattledger/schemas/record"
)

// Config says where the sensors are and what those are that do not say it themselves.
type Config struct {
	// Root is the folder of the kernel's sensors.
	Root string `yaml:"root"`
	// PowerMeterIsNode says that the ACPI power meter of this machine measures its whole input. Many measure less; compare it
	// with the power supplies or a PDU first. A machine with several such meters has none that is the whole.
	PowerMeterIsNode bool `yaml:"power_meter_is_node"`
	// Sensors names sensors that are not recognised, and what they measure.
	Sensors []Sensor `yaml:"sensors"`
	// Node is the name of this node, the first part of each meter's name.
	Node string `yaml:"-"`
}

// Sensor is a sensor that the operator knows.
type Sensor struct {
	// Chip is the text of the file name in the sensor's folder.
	Chip string `yaml:"chip"`
	// Sensor is power1, power2, energy1 and so on; or Label is what its label file says.
	Sensor string `yaml:"sensor"`
	Label  string `yaml:"label"`
	// Meter is the name of the meter on this node.
	Meter string `yaml:"meter"`
	// Quantity is node_energy, cpu_energy, dram_energy, module_energy or switch_energy.
	Quantity string `yaml:"quantity"`
	// Module is the superchip module that the measured part is on, if there are modules.
	Module string `yaml:"module"`
}

// Quantities lists what Sensor.Quantity may be.
var Quantities = []string{"node_energy", "cpu_energy", "dram_energy", "module_energy", "switch_energy"}

// DefaultConfig reads this machine's sensors, those that say themselves what they are.
func DefaultConfig() Config { return Config{Root: "/sys/class/hwmon"} }

// Validate reports every fault at once.
func (c Config) Validate() error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.Root == "" {
		bad("root: empty; the kernel's is /sys/class/hwmon")
	}
	if c.Node == "" {
		bad("node: empty; name the node as the inventory does")
	}
	seen := map[string]bool{}
	for i, s := range c.Sensors {
		if s.Chip == "" || (s.Sensor == "") == (s.Label == "") {
			bad("sensors[%d]: chip is %q, sensor %q and label %q; name the chip, and either the sensor or its label", i, s.Chip, s.Sensor, s.Label)
		}
		if s.Meter == "" || seen[s.Meter] {
			bad("sensors[%d].meter: %q; every sensor needs a name of its own", i, s.Meter)
		}
		seen[s.Meter] = true
		if _, ok := record.ReadingUnits[s.Quantity]; !ok || !slices.Contains(Quantities, s.Quantity) {
			bad("sensors[%d].quantity: %q; must be one of %v", i, s.Quantity, Quantities)
		}
	}
	return errors.Join(faults...)
}
