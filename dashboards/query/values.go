package query

import "slices"

// Dimensions are all dimensions.
var Dimensions = []Dimension{
	Site, Rack, Node, DeviceID, Model, Tenant, Account, Project, Workload, Allocation, ModelID, Purpose, Verdict, EventKind, EntryID, Component, Provenance,
}

// fixed are the values of dimensions that have few, always the same.
var fixed = map[Dimension][]string{
	Account:    {"tenant", "held_idle", "unallocated", "platform"},
	Verdict:    {"pass", "fail", "unknown"},
	EventKind:  {"adjustment", "clock_step", "closing", "epoch", "gap", "loss", "missing", "restart", "violation", "xid"},
	Component:  {"gpu", "cpu", "node_rest", "it_shared", "facility"},
	Provenance: {"measured", "estimated", "modelled"},
}

// newestEntries is how many lines of the ledger a variable offers; any other is found by its id.
const newestEntries = 500

// Choices plans the list of values that a variable offers: the statement has two text columns, what to show and what to filter by.
func Choices(scope Scope, d Dimension, filters []Filter, match string, limit int) (Statement, error) {
	if err := scope.Check(); err != nil {
		return Statement{}, refuse(ReasonNoScope, "%s", err)
	}
	if !slices.Contains(Dimensions, d) {
		return Statement{}, refuse(ReasonDimension, "dimension %s has no list of values: ask for %s", quoted(d), list(Dimensions))
	}
	m := Metric{Name: "values", By: Dimensions, Forms: []Form{FormTable}}
	q := Query{Filters: filters, Limit: min(max(limit, 0), mostRows), Form: FormTable}
	if err := q.against(m); err != nil {
		return Statement{}, err
	}
	if len(match) > 1024 {
		return Statement{}, refuse(ReasonFilter, "what to look for is too long: 1024 bytes at most")
	}
	b := &builder{q: q, m: m, form: FormTable, scope: scope}
	s := b.begin()
	text, value, from, order, n := "value", "", "", "text, value", s.limit()
	switch d {
	case EntryID:
		// Of the ledger's lines, which are without number, the newest: those of the last batches of each site.
		conds := []string{"(site, batch) IN (SELECT site, batch FROM " + s.seals(s.key(Site, "site")) + " ORDER BY batch DESC LIMIT 3 BY site)"}
		for _, f := range []Dimension{Site, Node, DeviceID, Model, Account, Tenant, Project, Workload, Allocation, ModelID, Purpose} {
			conds = append(conds, s.key(f, bookColumns[f].column))
		}
		text = "any(formatDateTime(hour, '%F %R', 'UTC') || ' ' || site || ' ' || node || ' ' || if(tenant = '', toString(account), toString(tenant)))"
		value, from, order, n = "id", s.lines(entries, "id, hour, site, node, account, tenant", conds...), "text DESC, value", min(n, newestEntries)
	case Site:
		value, from = "site", s.sites(s.key(Site, "id"))
	case Rack, Node:
		value, from = string(d), s.nodes(s.key(Site, "site"), s.in(Rack, "rack"), s.key(Node, "id"))
	case DeviceID:
		text, value, from = "any(node || ' ' || toString(kind) || ' ' || toString(gpu_index) || ' ' || value)", "device", s.devices(s.devicePlaces()...)
	case Model:
		value, from = "model", s.devices(append(s.devicePlaces(), "kind = 'gpu'")...)
	case Tenant:
		text, value, from = "any(if(name = '', value, name))", "tenant", s.tenants(s.key(Tenant, "id"))
	case Project, Workload, Allocation, ModelID, Purpose:
		conds := []string{"1"}
		for _, f := range []Dimension{Site, DeviceID, Tenant, Project, Workload, ModelID, Purpose} {
			conds = append(conds, s.key(f, bookColumns[f].column))
		}
		value, from = bookColumns[d].column, s.allocations(conds...)
		if s.filtered(Node) {
			from = item("*", s.placed(conds...), s.key(Node, "node"))
		}
	default:
		value, from = "v", "(SELECT arrayJoin("+s.args.texts(fixed[d])+") AS v)"
	}
	look := ""
	if match != "" {
		look = " AND (positionCaseInsensitiveUTF8(text, " + s.args.text(match) + ") > 0 OR positionCaseInsensitiveUTF8(value, " + s.args.text(match) + ") > 0)"
	}
	if text == "value" {
		text = "any(value)"
	}
	s.end("SELECT text, value FROM (SELECT value, "+text+" AS text FROM (SELECT *, toString("+value+") AS value FROM "+from+") GROUP BY value) WHERE value != ''"+look+" ORDER BY "+order+" LIMIT "+s.args.whole(int64(n)),
		Result{Name: string(d), Table: columnsOf("text text, text value"), Limit: n, Source: "inventory"})
	return b.plan.Statements[0], nil
}
