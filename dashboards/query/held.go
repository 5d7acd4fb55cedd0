package query

import (
	"slices"
	"strconv"
	"strings"
)

// ofNobody is what the GPUs of each node took, from the sums of nodes, where nothing is asked about who held them; else empty.
func (s statement) ofNobody(o open) string {
	if !s.scope.All {
		return ""
	}
	for d := range bookColumns {
		if d != Site && d != Node && d != Model && (slices.Contains(s.grouping(), d) || s.filtered(d)) {
			return ""
		}
	}
	var parts []string
	for _, seg := range s.state.segments("node_", 2, o.from, o.to) {
		if seg.level == 0 && seg.to-seg.from < levels[1].width {
			continue // the begin of a bucket
		}
		if seg.level == 0 {
			return "" // a small fleet, or sums that are not built
		}
		time := "devices * " + strconv.FormatInt(levels[seg.level].width, 10) + " * 1e6 AS time"
		parts = append(parts, s.nodeSums(seg, "site, node, model, intDiv(toInt64(toUnixTimestamp(bucket)), 3600) * 3600 AS hour, toFloat64(energy_mj) AS amount, "+time,
			s.key(Site, "site"), s.key(Node, "node"), s.key(Model, "model")))
	}
	return "(" + strings.Join(parts, " UNION ALL ") + ")"
}

// nearEdge is how long before an edge a device was read, at most, to count at it.
const nearEdge = 120

// spent is a FROM item: what each device's energy counter grew by in each piece, in mJ: site, node, device, slot, width, amount. A counter need not
// be read all the time to know what it grew by: after the rollups of hours, which the running hour is among as far as it has come, the last readings
// before the ends of hours and before the end of all are enough. A counter that began anew in between shows with the next rollup. Only of
// devices that changed hands every minute is read.
func (s statement) spent(o open) string {
	keep := ""
	if asked := s.askedFor(); asked != "1" {
		keep = s.of("device", o, asked)
	}
	minutes := s.state.segments("", 2, o.from-lookback(2), o.to)
	st, ok := s.state.Levels["1h"]
	if !ok || st.Complete.Unix() <= o.from {
		return s.pieces(minutes, o, s.width(o, "device"), keep)
	}
	edge := min(st.Complete.Unix(), o.to)
	edges := []segment{{len(levels) - 1, o.from - lookback(len(levels)-1), edge}}
	for edge < o.to {
		next := min(floor(edge, 3600)+3600, o.to)
		edges = append(edges, s.state.segments("", 1, max(edge, next-nearEdge), next)...)
		edge = next
	}
	if !s.state.Open.Edged {
		return s.pieces(edges, o, "3600", keep)
	}
	return union(s.pieces(edges, o, "3600", keep, "NOT "+s.of("device", o, s.edge(o))), s.pieces(minutes, o, o.fine(), keep, s.of("device", o, s.edge(o))))
}

// union is a FROM item of the rows of several.
func union(items ...string) string {
	parts := make([]string, len(items))
	for i, item := range items {
		parts[i] = strings.TrimSuffix(strings.TrimPrefix(item, "("), ")")
	}
	return "(" + strings.Join(parts, " UNION ALL ") + ")"
}

// width is that of the pieces of a device.
func (s statement) width(o open, device string) string {
	if !o.energy || !s.state.Open.Edged {
		return "3600"
	}
	return "if(" + s.of(device, o, s.edge(o)) + ", " + o.fine() + ", 3600)"
}

// long is for how long a piece is looked at, in seconds.
func (s statement) long(o open) string {
	return "(least(slot + width, " + s.args.whole(o.to) + ") - slot)"
}

// pieces gives what counters grew by to pieces. Between two readings a device is taken to draw evenly. Sorted by the counter, of each run and epoch a
// reading follows the one before it in time; after an hour without any, only what is known counts.
func (s statement) pieces(segs []segment, o open, width string, keep ...string) string {
	keep = append(keep, s.key(Site, "site"), s.key(Node, "node"))
	if s.scope.All { // of an instance its GPU's counter is read, which counts once; a tenant sees none on it
		keep = append(keep, "device NOT IN "+s.noGPUs())
	}
	parts := make([]string, len(segs))
	for i, seg := range segs {
		parts[i] = s.telemetry(seg, true, []string{"energy_mj"}, nil, nil, keep...)
	}
	readings := "(SELECT site, any(node) AS node, device, " + width + " AS width, arraySort(groupArray((assumeNotNull(energy_mj_hi), intDiv(at, width) * width, assumeNotNull(energy_mj_lo)))) AS r FROM " +
		union(parts...) + " WHERE isNotNull(energy_mj_hi) GROUP BY site, device, run, epoch, held)"
	const steps = "arrayMap((x, p) -> (x.2, if(p.2 > 0 AND x.2 - p.2 BETWEEN 0 AND 3600, (toFloat64(x.1 - p.1), greatest(x.2 - p.2, width)), (toFloat64(x.1 - x.3), width))), r, " +
		"arrayPushFront(arrayPopBack(r), (toUInt64(0), toInt64(0), toUInt64(0))))"
	// Not ARRAY JOIN: the engine takes twice as long to understand what is under one.
	return "(SELECT site, any(node) AS node, device, width, g.1 - back AS slot, sum(g.2.1 * width / g.2.2) AS amount FROM (SELECT site, node, device, width, arrayJoin(" + steps +
		") AS g, arrayJoin(range(0, toInt64(g.2.2), toInt64(width))) AS back FROM " + readings + ") WHERE slot >= " + s.args.whole(o.from) + " GROUP BY site, device, width, slot)"
}

// holders is a FROM item: who held which GPU in which piece: site, device, slot, and an array of who, with the share of the piece's time and of
// the device, and which instance of it. A MIG instance has its slices' part of its GPU.
func (s statement) holders(o open) string {
	first := "greatest(intDiv(start_us, 1000000), " + s.args.whole(o.from) + ")"
	end := s.args.whole(o.to)
	last := "if(end_us = 0, " + end + ", least(intDiv(end_us + 999999, 1000000), " + end + "))"
	raw := "(SELECT *, toInt64(" + s.width(o, "gpu") + ") AS width, arrayJoin(range(intDiv(" + first + ", width) * width, " + last + ", width)) AS slot, " + s.long(o) + " AS long, " +
		"least(if(end_us = 0, 9223372036854775807, end_us), (slot + long) * 1000000) - greatest(start_us, slot * 1000000) AS overlap FROM " +
		s.allocated(o, "id AS allocation, site, gpu, instance, part, start_us, end_us, tenant, project, workload, model_id, purpose") + ")"
	return "(SELECT site AS h_site, gpu AS h_device, slot AS h_slot, " +
		"groupArray((toString(tenant), toString(project), workload, allocation, model_id, toString(purpose), overlap / (long * 1000000.) * part, instance)) AS who FROM " +
		raw + " WHERE overlap > 0 GROUP BY h_site, h_device, h_slot)"
}

// shared gives what a device took in a piece to those who held it, by their share, and the rest to nobody; and the time of a device, in ms ×
// thousandths, alike. Of a tenant, what a device took while it held it is its own as a whole.
func (s statement) shared(amounts, held string, o open) string {
	who, part := "arrayConcat(w, [('', '', '', '', '', '', greatest(1. - claimed, 0.), '')])", "x.7"
	if !s.scope.All {
		who, part = "w", "x.7 / claimed"
	}
	rows := "(SELECT site, node, if(x.8 = '', gpu, x.8) AS device, intDiv(slot, 3600) * 3600 AS hour, if(x.1 = '', 'unallocated', 'tenant') AS account, " +
		"x.1 AS tenant, x.2 AS project, x.3 AS workload, x.4 AS allocation, x.5 AS model_id, x.6 AS purpose, amount * " + part + " AS amount, " + s.long(o) + " * 1e6 * x.7 AS time FROM " +
		"(SELECT e.site AS site, e.node AS node, e.device AS gpu, e.slot AS slot, e.width AS width, e.amount AS amount, h.who AS w, arraySum(y -> y.7, w) AS claimed, arrayJoin(" + who + ") AS x FROM " + amounts + " AS e LEFT JOIN " + held +
		" AS h ON h_site = site AND h_device = gpu AND h_slot = slot) WHERE x.7 > 0)"
	if !s.filtered(Model) && !slices.Contains(s.grouping(), Model) {
		return rows
	}
	return "(SELECT r.*, k.model AS model FROM " + rows + " AS r LEFT ANY JOIN " + s.models() + " AS k ON k.device = r.device)"
}

// timeRows are the times that devices were held, and the rest of the time of each GPU.
func (s statement) timeRows(o open) string {
	held := s.holders(o)
	if !s.scope.All { // What was held is all that a tenant sees: the holdings themselves are the rows.
		gpus := "(SELECT h_site AS site, any(d.node) AS node, h_device AS device, h_slot AS slot, 3600 AS width, 0. AS amount FROM (SELECT *, (h_slot + 3600) * 1000000 - 1 AS h_till FROM " + held + ")" +
			" AS g ASOF LEFT JOIN " + s.stays() + " AS d ON d.site = h_site AND d.device = h_device AND h_till >= d.from_us GROUP BY site, device, slot)"
		return s.shared(gpus, held, o)
	}
	var hours []int64
	for h := o.from; h < o.to; h += 3600 {
		hours = append(hours, h)
	}
	gpus := "(SELECT DISTINCT site, node, device, arrayJoin(" + s.args.wholes(hours) + ") AS slot, 3600 AS width, 0. AS amount FROM " +
		s.devices("kind = 'gpu'", "from_us < "+s.args.whole(o.to*1_000_000), "(to_us = 0 OR to_us > "+s.args.whole(o.from*1_000_000)+")", s.key(Site, "site"), s.key(Node, "node")) + ")"
	return s.shared(gpus, held, o)
}
