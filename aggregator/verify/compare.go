package verify

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Comparison is how far a ledger is from its recomputation.
type Comparison struct {
	// RuleError sums the absolute differences of every component and of the measured and the estimated part.
	RuleError unit.Millijoules
	// Time and Carbon are those of device time and of carbon.
	Time   unit.DeviceTime
	Carbon unit.MicrogramsCO2e
	// Entries are those that differ, First the first of them in words.
	Entries int
	First   []string
}

// named is how many differences are put in words.
const named = 10

type lineKey struct {
	site, hour, node, device, account, tenant, allocation string
	from, to                                              unit.Micros
}

func keyOf(e record.Entry) lineKey {
	return lineKey{e.Site, e.Hour, e.Node, e.Device, string(e.Account), e.Tenant, e.Allocation, e.From, e.To}
}

func (k lineKey) String() string {
	who := k.account
	if k.tenant != "" {
		who = "tenant " + k.tenant + " allocation " + k.allocation
	}
	return fmt.Sprintf("site %s hour %s node %s device %s %s", k.site, k.hour, k.node, k.device, who)
}

// figures are what is compared, in the order of figureNames.
type figures [9]int64

var figureNames = [9]string{
	"gpu_mj", "cpu_mj", "node_rest_mj", "it_shared_mj", "facility_mj", "measured_mj", "estimated_mj", "device_time", "carbon_ug",
}

const energyFigures = 7

func figuresOf(e record.Entry) figures {
	return figures{
		int64(e.GPU), int64(e.CPU), int64(e.NodeRest), int64(e.ITShared), int64(e.Facility), int64(e.Measured), int64(e.Estimated),
		int64(e.DeviceTime), int64(e.Carbon),
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
			default:
				c.Carbon += unit.MicrogramsCO2e(max(diff, -diff))
			}
		}
		if len(c.First) < named {
			c.First = append(c.First, k.String()+": "+strings.Join(words, ", "))
		}
	}
	return c
}
