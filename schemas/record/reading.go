package record

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/wattledger/wattledger/schemas/unit"
)

// ReadingUnits is the unit of each quantity that a meter can state. Values are integers in that unit.
//
// Only node_energy is the whole of a node, and site_energy the whole of a site. it_shared_energy is IT on no node: network,
// storage, NVLink trays. The others are parts that are already in the whole: they are evidence and are never added to it.
// module_energy of a superchip holds its GPUs and its CPU.
var ReadingUnits = map[string]string{
	"site_energy": "mJ", "it_shared_energy": "mJ", "node_energy": "mJ", "cpu_energy": "mJ", "dram_energy": "mJ", "module_energy": "mJ", "switch_energy": "mJ",
	"water": "ml", "heat": "mJ", "grid_intensity": "ug/kWh",
}

// Reading is one value of a meter, for an interval or as a counter.
type Reading struct {
	// Meter is its name, stable and unique at the site.
	Meter    string
	Quantity string
	Unit     string
	// From and To are the interval; for a counter both are the instant of the reading.
	From, To unit.Micros
	Value    int64
	Counter  bool
	// Node is the node that a meter of a node is on.
	Node string
	// Method says how the value came about: counter as read, or power integrated by trapezoid.
	Method string
	// Epoch tells one life of a counter from the next: a counter only rises within one.
	Epoch string
}

// Methods of a reading.
const (
	MethodCounter  = "counter"
	MethodIntegral = "trapezoid"
)

// Validate reports every fault of the reading at once.
func (r Reading) Validate() error {
	var f faults
	f.need("meter", r.Meter)
	if u, ok := ReadingUnits[r.Quantity]; !ok {
		f.add("quantity is %q; write one of %s", r.Quantity, strings.Join(slices.Sorted(maps.Keys(ReadingUnits)), ", "))
	} else if r.Unit != u {
		f.add("unit is %q; %s is stated in %s", r.Unit, r.Quantity, u)
	}
	if r.From <= 0 {
		f.add("from is missing")
	}
	if r.To < r.From {
		f.add("it ends at %s, before it begins at %s", stamp(r.To), stamp(r.From))
	}
	if r.Counter && r.To != r.From {
		f.add("a counter is read at one instant, not from %s to %s", stamp(r.From), stamp(r.To))
	}
	if r.Counter && r.Value < 0 {
		f.add("a counter reads %d; it is not negative", r.Value)
	}
	return errors.Join(f...)
}
