package closing

import (
	"errors"
	"fmt"
	"slices"

	"github.com/wattledger/wattledger/aggregator/attribution"
	"github.com/wattledger/wattledger/aggregator/carbon"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// addRest spreads the node's declared draw over its entries by device time, held or not, and hands the entries over.
func (c *nodeCloser) addRest() ([]record.Entry, error) {
	from, to := max(c.hour.Start, c.node.From), c.hour.End()
	if c.node.To != 0 {
		to = min(to, c.node.To)
	}
	if to <= from || c.node.RestMilliwatts == 0 {
		return c.entries, nil
	}
	rest, err := unit.FloorMulDiv(int64(c.node.RestMilliwatts), int64(to-from), 1_000_000)
	if err != nil {
		return nil, err
	}
	weights := make([]uint64, len(c.entries))
	order(c.entries)
	for i, e := range c.entries {
		weights[i] = uint64(max(e.DeviceTime, 0))
	}
	parts, err := attribution.Split(unit.Millijoules(rest), weights)
	if errors.Is(err, attribution.ErrNoWeight) {
		e := c.hour.entry(c.node, Device{}, record.AccountUnallocated)
		e.NodeRest, e.Modelled = unit.Millijoules(rest), unit.Millijoules(rest)
		flag(&e, flagRestModelled)
		return append(c.entries, e), nil
	}
	if err != nil {
		return nil, err
	}
	for i, p := range parts {
		c.entries[i].NodeRest = p
		c.entries[i].Modelled += p
		flag(&c.entries[i], flagRestModelled)
	}
	return c.entries, nil
}

// addFacility spreads (PUE − 1) × IT over nodes by their IT energy, then over the entries of a node by theirs.
func addFacility(h Hour, entries []record.Entry) error {
	order(entries)
	byNode := map[string][]int{}
	var nodes []string
	for i, e := range entries {
		if _, ok := byNode[e.Node]; !ok {
			nodes = append(nodes, e.Node)
		}
		byNode[e.Node] = append(byNode[e.Node], i)
	}
	it := make([]uint64, len(nodes))
	var total unit.Millijoules
	for k, n := range nodes {
		for _, i := range byNode[n] {
			total += entries[i].Total()
			it[k] += weight(entries[i])
		}
	}
	overhead, err := unit.FloorMulDiv(int64(max(total, 0)), h.Site.PUEThousandths-1000, 1000)
	if err != nil {
		return err
	}
	parts, err := attribution.Split(unit.Millijoules(overhead), it)
	if err != nil {
		return err
	}
	for k, n := range nodes {
		weights := make([]uint64, len(byNode[n]))
		for j, i := range byNode[n] {
			weights[j] = weight(entries[i])
		}
		split, err := attribution.Split(parts[k], weights)
		if err != nil {
			return fmt.Errorf("node %s: %w", n, err)
		}
		for j, i := range byNode[n] {
			entries[i].Facility = split[j]
			entries[i].Modelled += split[j]
			flag(&entries[i], flagFacility)
			flag(&entries[i], flagSharedUnknown)
		}
	}
	return nil
}

// weight is an entry's IT energy. The difference of two virtual counters can fall by one mJ over a window in which next to
// nothing was drawn; such an entry takes no part in what is spread.
func weight(e record.Entry) uint64 { return uint64(max(e.Total(), 0)) }

// addCarbon rounds each entry once; a total is the sum of entries.
func addCarbon(h Hour, entries []record.Entry) error {
	for i := range entries {
		e := &entries[i]
		v, err := carbon.Of(e.Total(), h.Grid)
		if err != nil {
			return err
		}
		e.Carbon, e.Factor = v, h.Grid.Ref()
		slices.Sort(e.Flags)
	}
	return nil
}

// order puts entries into an order of their content, so that largest remainders do not depend on the order of devices.
func order(entries []record.Entry) {
	slices.SortFunc(entries, record.CompareEntries)
}
