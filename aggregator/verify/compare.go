package verify

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Comparison is how far a ledger is from its recomputation.
type Comparison struct {
	// RuleError sums the absolute differences of every component, of the measured, the estimated and the modelled part, and of
	// heat handed on.
	RuleError unit.Millijoules
	// Time, Carbon and Water are those of device time, of the three figures of carbon and of water.
	Time   unit.DeviceTime
	Carbon unit.MicrogramsCO2e
	Water  unit.Microlitres
	// Quality counts device-hours and hours of meters whose counter, estimate or excess differ.
	Quality int
	// Cuts counts those that are not what the samples they name make of them.
	Cuts int
	// Entries are the lines that differ, First the first of them in words.
	Entries int
	First   []string
}

// named is how many differences are put in words.
const named = 10

// lineKey is what makes lines of an hour one and the same: an adjustment has the key of what it corrects.
type lineKey struct {
	site, hour, node, device, kind, model, account          string
	tenant, project, allocation, workload, modelID, purpose string
	from, to                                                unit.Micros
}

func keyOf(e record.Entry) lineKey {
	return lineKey{
		e.Site, e.Hour, e.Node, e.Device, e.DeviceKind, e.Model, string(e.Account),
		e.Tenant, e.Project, e.Allocation, e.Workload, e.ModelID, e.Purpose, e.From, e.To,
	}
}

func (k lineKey) String() string {
	who := k.account
	if k.tenant != "" {
		who += " of tenant " + k.tenant + " allocation " + k.allocation
	}
	return fmt.Sprintf("site %s hour %s node %s device %s %s", k.site, k.hour, k.node, k.device, who)
}

// figures are what is compared, in the order of figureNames: first energy, then device time, carbon and water.
type figures [14]int64

var figureNames = [14]string{
	"gpu_mj", "cpu_mj", "node_rest_mj", "it_shared_mj", "facility_mj", "measured_mj", "estimated_mj", "modelled_mj", "heat_reused_mj",
	"device_time", "carbon_ug", "carbon_market_ug", "carbon_embodied_ug", "water_ul",
}

const (
	energyFigures = 9
	carbonFigures = energyFigures + 4
)

func figuresOf(e record.Entry) figures {
	return figures{
		int64(e.GPU), int64(e.CPU), int64(e.NodeRest), int64(e.ITShared), int64(e.Facility), int64(e.Measured), int64(e.Estimated),
		int64(e.Modelled), int64(e.HeatReused), int64(e.DeviceTime), int64(e.Carbon), int64(e.CarbonMarket), int64(e.CarbonEmbodied),
		int64(e.Water),
	}
}

// Compare sets entries, adjustments included, against their recomputation. A line that only one side has counts in full.
func Compare(entries, recomputed []record.Entry) Comparison {
	type pair struct{ have, want figures }
	lines := map[lineKey]*pair{}
	var order []lineKey
	at := func(e record.Entry) *pair {
		k := keyOf(e)
		if lines[k] == nil {
			lines[k] = &pair{}
			order = append(order, k)
		}
		return lines[k]
	}
	for _, e := range entries {
		p := at(e)
		for i, v := range figuresOf(e) {
			p.have[i] += v
		}
	}
	for _, e := range recomputed {
		p := at(e)
		for i, v := range figuresOf(e) {
			p.want[i] += v
		}
	}
	slices.SortFunc(order, func(a, b lineKey) int { return strings.Compare(a.hour+a.String(), b.hour+b.String()) })
	var c Comparison
	for _, k := range order {
		p := lines[k]
		if p.have == p.want {
			continue
		}
		c.Entries++
		var words []string
		for i := range p.have {
			diff := p.have[i] - p.want[i]
			if diff == 0 {
				continue
			}
			words = append(words, fmt.Sprintf("%s is %d, recomputed %d", figureNames[i], p.have[i], p.want[i]))
			switch {
			case i < energyFigures:
				c.RuleError += unit.Millijoules(max(diff, -diff))
			case i == energyFigures:
				c.Time += unit.DeviceTime(max(diff, -diff))
			case i < carbonFigures:
				c.Carbon += unit.MicrogramsCO2e(max(diff, -diff))
			default:
				c.Water += unit.Microlitres(max(diff, -diff))
			}
		}
		if len(c.First) < named {
			c.First = append(c.First, k.String()+": "+strings.Join(words, ", "))
		}
	}
	return c
}

// CompareQuality sets what the ledger holds about device-hours and meters against what their counters say, as far as it can be
// recomputed: counter, estimate and excess.
func CompareQuality(have, recomputed []record.DeviceHour) Comparison {
	type key struct{ site, hour, node, device, kind string }
	type counted struct {
		counter, estimated, excess unit.Millijoules
		unusable                   bool // a meter of which the entries made no use
	}
	keyed := func(d record.DeviceHour) (key, counted) {
		unusable := slices.Contains(d.Flags, "meter_incomplete") || slices.Contains(d.Flags, "meter_refused")
		return key{d.Site, d.Hour, d.Node, d.Device, d.Kind}, counted{d.Counter, d.Estimated, d.Excess, unusable}
	}
	held := map[key]counted{}
	for _, d := range have {
		k, v := keyed(d)
		held[k] = v // a later line replaces an earlier one
	}
	var c Comparison
	differ := func(k key, a, b counted) {
		c.Quality++
		c.RuleError += abs(a.counter-b.counter) + abs(a.estimated-b.estimated) + abs(a.excess-b.excess)
		if len(c.First) < named {
			c.First = append(c.First, fmt.Sprintf("quality of site %s hour %s node %s device %s %s: counter %d, estimated %d, excess %d; recomputed %d, %d, %d",
				k.site, k.hour, k.node, k.device, k.kind, a.counter, a.estimated, a.excess, b.counter, b.estimated, b.excess))
		}
	}
	for _, d := range recomputed {
		k, want := keyed(d)
		have, ok := held[k]
		have.unusable = false
		if !ok || have != want {
			differ(k, have, want)
		}
		delete(held, k)
	}
	left := slices.SortedFunc(maps.Keys(held), func(a, b key) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	for _, k := range left {
		if v := held[k]; v.excess != 0 || (v.counter != 0 && !v.unusable) {
			differ(k, v, counted{})
		}
	}
	return c
}

func abs(v unit.Millijoules) unit.Millijoules { return max(v, -v) }
