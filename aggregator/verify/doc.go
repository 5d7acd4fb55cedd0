// Package verify proves a ledger by other means.
//
// It recomputes every entry from the samples as stored, in rational arithmetic and from the statements of the design
// alone: it shares no arithmetic with the packages that close an hour. It sets the ledger against the raw counters, the
// wall time of the devices, the messages that were stored and, where a simulator knows it, the true energy. It promises
// that an entry dropped, doubled, moved or changed by one unit, and a sample dropped, doubled or moved, shows in one of
// its figures. It mends nothing, and leaves reading the database to the Store it is handed.
package verify

import (
	"context"
	"encoding/json"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Period is a stretch of whole hours, [From, To).
type Period struct {
	From, To unit.Micros
	// Settled says that the hours were looked at again after all their samples had come: no edge is held at a reading that only
	// was the last one when its hour closed.
	Settled bool
}

func (p Period) hours() []unit.Micros {
	var out []unit.Micros
	for h := p.From; h < p.To; h += unit.Hour {
		out = append(out, h)
	}
	return out
}

func (p Period) clip(from, to unit.Micros) (unit.Micros, unit.Micros) {
	if to == 0 {
		to = p.To
	}
	from = max(from, p.From)
	return from, max(from, min(to, p.To))
}

// Around is how far from a period readings of meters are looked for: a meter may be read once an hour.
const Around = 2 * unit.Hour

// Memory is for how long the idle power of a device is looked for in the ledger.
const Memory = 30 * 24 * unit.Hour

// Lookahead is how far beyond the end of an hour its closing looks for the sample to the right of it.
const Lookahead = 15 * 60 * unit.Second

// Absent is the value of a counter that was not read.
const Absent = -1

// Sample is what was read of a device at a tick, as far as energy depends on it. What was not read is Absent.
type Sample struct {
	Tick, At unit.Micros // At is the energy counter's own time stamp
	Energy   unit.Millijoules
	Integral unit.Millijoules // of power, by the collector
	Activity unit.Micros      // time SMs had work
	Seen     int64            // how often the collector had seen the counter begin anew within its run
	Read     int64            // ticks the collector had read in its run
	Identity int32            // index into Series.Identities
}

// Identity is what a counter never runs on across: the kernel's boot and the driver, and for the collector's own the run.
type Identity struct{ Boot, Driver, Run string }

// Series is what was read of a device. Neither order nor repeats matter.
type Series struct {
	Identities []Identity
	Samples    []Sample
	// Interval is that of the collector's ticks.
	Interval unit.Micros
}

// Metered is what the raw counter of a device rose by within a period, over all its epochs.
type Metered struct {
	Device string
	Epochs int
	Energy unit.Millijoules
}

// Edges are what the ledger says about the ends of a period, as far as it depends on when hours were looked at.
type Edges struct {
	// Held are those at which a counter is held at its last reading.
	Held map[Edge]bool
	// Until is before which the samples to the right of the period's end lie.
	Until unit.Micros
}

// Counts says what is stored. A sample is (run, sequence, device, tick).
type Counts struct {
	Rows   int64 `json:"rows"`
	Stored int64 `json:"stored"` // distinct samples
	// Repeated are deliveries beyond the first.
	Repeated int64 `json:"repeated"`
	// Declared are the rows of all messages stored, each once. Mismatched is how far the messages' samples are from what
	// they declared, summed message by message.
	Declared   int64 `json:"declared"`
	Mismatched int64 `json:"mismatched"`
}

// Store reads what was stored and what was booked.
type Store interface {
	Sites(ctx context.Context) ([]record.Site, error)
	// Closed is the stretch of the site's sealed hours within p, and whether it begins with the first hour of the ledger.
	Closed(ctx context.Context, site string, p Period) (closed Period, first bool, err error)
	// Kept is the tick of the oldest sample of the site that is stored; 0 when there is none.
	Kept(ctx context.Context, site string) (unit.Micros, error)
	// Nodes and Devices are the inventory as declared, of any time that touches p. Devices are in order of node and uuid.
	Nodes(ctx context.Context, site string, p Period) ([]record.Node, error)
	Devices(ctx context.Context, site string, p Period) ([]record.Device, error)
	// Allocations are all of the site that start before an instant, by device, whenever they ended.
	Allocations(ctx context.Context, site string, before unit.Micros) (map[string][]record.Allocation, error)
	// Samples are those of some devices with a tick in p and, unless first, the newest before it.
	Samples(ctx context.Context, site string, devices []string, p Period, first bool) (map[string]Series, error)
	// Metered is found by a query of its own from the first and last counter of each epoch.
	Metered(ctx context.Context, site string, devices []record.Device, p Period, first bool, edges Edges) ([]Metered, error)
	Entries(ctx context.Context, site string, p Period) ([]record.Entry, error)
	// Readings are those of all meters of the site and its nodes that touch p.
	Readings(ctx context.Context, site string, p Period) ([]record.Reading, error)
	// Factors gives the editions that count for each hour of p.
	Factors(ctx context.Context, site record.Site, p Period) (func(hour unit.Micros) Factors, error)
	// DeviceHours are the newest lines of quality of the hours of p.
	DeviceHours(ctx context.Context, site string, p Period) ([]record.DeviceHour, error)
	// Cuts are the newest editions of those with p.From < t ≤ p.To, and those at p.From.
	Cuts(ctx context.Context, site string, p Period) ([]record.Cut, error)
	// Counts are of samples with p.From < tick ≤ p.To: the tick at the end of a period is the last of it.
	Counts(ctx context.Context, p Period) (Counts, error)
}

// Report is what was proved. Every figure but those that measure size is 0 for a ledger that is right.
type Report struct {
	Samples Counts `json:"samples"`
	Energy  Energy `json:"energy_mj"`
	Time    Time   `json:"device_ms"`
	Truth   Truth  `json:"truth"`
	// Basis says from what hours could be recomputed.
	Basis Basis `json:"basis"`
	// Differences names the first entries that do not agree.
	Differences []string `json:"differences,omitempty"`
}

// JSON is the report on one line.
func (r Report) JSON() ([]byte, error) { return json.Marshal(r) }
