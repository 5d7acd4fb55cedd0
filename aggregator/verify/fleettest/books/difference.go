package books

import (
	"slices"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// line is what makes entries of an hour the same line.
type line struct {
	node, device, kind, model, account, tenant, project, allocation, workload, modelID, purpose string
	from, to                                                                                    unit.Micros
}

func lineOf(e record.Entry) line {
	return line{
		e.Node, e.Device, e.DeviceKind, e.Model, string(e.Account), e.Tenant, e.Project, e.Allocation, e.Workload, e.ModelID, e.Purpose,
		e.From, e.To,
	}
}

// Difference is what has to be booked so that an hour that was booked as one list of entries sums to another, line by line.
func Difference(booked, right []record.Entry) []record.Entry {
	lines := map[line]record.Entry{}
	for _, e := range booked {
		lines[lineOf(e)] = add(lines[lineOf(e)], e, -1)
	}
	for _, e := range right {
		was := lines[lineOf(e)]
		sum := e // what is not summed is as it is now known to be
		for i, v := range additive(&sum) {
			*v += *additive(&was)[i]
		}
		lines[lineOf(e)] = sum
	}
	var out []record.Entry
	for _, e := range lines {
		if slices.ContainsFunc(additive(&e), func(v *int64) bool { return *v != 0 }) {
			e.Kind = record.Adjustment
			out = append(out, e)
		}
	}
	slices.SortFunc(out, record.CompareEntries)
	return out
}

func add(to, e record.Entry, sign int64) record.Entry {
	sum := e
	for i, v := range additive(&sum) {
		*v = *additive(&to)[i] + sign**v
	}
	return sum
}

// additive are the fields of an entry that are summed.
func additive(e *record.Entry) []*int64 {
	return []*int64{
		(*int64)(&e.DeviceTime), (*int64)(&e.Unavailable), (*int64)(&e.GPU), (*int64)(&e.CPU), (*int64)(&e.NodeRest), (*int64)(&e.ITShared),
		(*int64)(&e.Facility), (*int64)(&e.Measured), (*int64)(&e.Estimated), (*int64)(&e.Modelled), (*int64)(&e.Interpolated),
		(*int64)(&e.BoundLow), (*int64)(&e.BoundHigh), (*int64)(&e.Uncertainty), (*int64)(&e.SMActive), &e.TicksExpected, &e.TicksRead,
		(*int64)(&e.Carbon), (*int64)(&e.CarbonMarket), (*int64)(&e.CarbonEmbodied), (*int64)(&e.Water), (*int64)(&e.HeatReused),
	}
}
