package clickhouse_test

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wattledger/wattledger/dashboards/query"
)

// Where a device is after a tenant gave it back, and when it got there, is not the tenant's; where it was, stays so.
func (l *lake) moved(t *testing.T) {
	l = on(l, t)
	move := us(at(21, 0))
	l.exec("INSERT INTO nodes (id, site, rack, model, from_us, revision) VALUES ('n8', 's1', 'r8', 'dgx', 1, 1), ('n9', 's1', 'r9', 'dgx', 1, 1)")
	l.exec(`INSERT INTO devices (uuid, parent_uuid, node, kind, model, serial, driver, vbios, gpu_index, slices, energy_source, limit_mw, from_us, to_us, revision) VALUES
		('GPU-m', '', 'n8', 'gpu', 'B200', 'sm', 'd1', 'v1', 3, 7, 'hardware', 1000000, 1, %d, 1), ('GPU-m', '', 'n9', 'gpu', 'B200', 'sm', 'd2', 'v1', 3, 7, 'hardware', 1000000, %d, 0, 1)`, move, move)
	l.exec(`INSERT INTO allocations (id, site, device, thousandths, start_us, end_us, tenant, project, workload, model_id, purpose, scheduler_ref, revision) VALUES
		('m1', 's1', 'GPU-m', 1000, %d, %d, 'alpha', 'p-alpha', 'w-m1', 'm-alpha', 'training', '', 1), ('m2', 's1', 'GPU-m', 1000, %d, 0, 'beta', 'p-beta', 'w-m2', 'm-beta', 'training', '', 1)`,
		us(base.Add(-time.Hour)), us(at(20, 30)), move)
	defer func() {
		l.exec("ALTER TABLE allocations DELETE WHERE device = 'GPU-m' SETTINGS mutations_sync = 1")
		l.exec("ALTER TABLE devices DELETE WHERE uuid = 'GPU-m' SETTINGS mutations_sync = 1")
		l.exec("ALTER TABLE nodes DELETE WHERE id IN ('n8', 'n9') SETTINGS mutations_sync = 1")
	}()
	for scope, node := range map[query.Scope]string{alpha: "n8", beta: "n9"} {
		other := map[string]string{"n8": "n9", "n9": "n8"}[node]
		for _, metric := range []string{"nodes", "devices", "allocations"} {
			f := l.ask(scope, query.Query{Kind: query.KindInventory, Metric: metric}, hours())[0]
			if nodes := column(t, f, "node").Texts; !slices.Contains(nodes, node) || slices.Contains(nodes, other) {
				t.Errorf("%s sees %s on nodes %v, want %s among them and not %s", scope.Tenant, metric, nodes, node, other)
			}
		}
		for _, d := range []query.Dimension{query.Node, query.Rack} {
			vs, err := l.store.Values(t.Context(), scope, d, nil, other[1:], 100)
			if err != nil || len(vs) > 0 {
				t.Errorf("%s may choose %s %v, %v", scope.Tenant, d, vs, err)
			}
		}
		// Nor can it be found out by asking for what was at a node.
		vs, err := l.store.Values(t.Context(), scope, query.Allocation, []query.Filter{{Dimension: query.Node, Values: []string{other}}}, "", 100)
		if err != nil || len(vs) > 0 {
			t.Errorf("%s had %v on %s, %v", scope.Tenant, vs, other, err)
		}
	}
	f := l.ask(alpha, query.Query{Kind: query.KindInventory, Metric: "devices", Filters: []query.Filter{{Dimension: query.DeviceID, Values: []string{"GPU-m"}}}}, hours())[0]
	if to := column(t, f, "to").Times; len(to) != 1 || !to[0].Equal(at(20, 30)) {
		t.Errorf("alpha's device is there until %v, want 20:30, when it gave it back", to)
	}
	if now := column(t, l.ask(alpha, query.Query{Kind: query.KindDevice, Metric: "now"}, hours())[0], "device").Texts; slices.Contains(now, "GPU-m") || slices.Contains(now, "GPU-a") {
		t.Errorf("alpha holds %v now", now)
	}
	// Of a device that is held in part, too, the node is known.
	f = l.ask(alpha, query.Query{Kind: query.KindInventory, Metric: "allocations", Filters: []query.Filter{{Dimension: query.Node, Values: []string{"n1"}}}}, hours())[0]
	if a := column(t, f, "allocation").Texts; !slices.Contains(a, "b1") {
		t.Errorf("alpha's allocations on n1: %v", a)
	}
	for _, frame := range l.ask(alpha, query.Query{Kind: query.KindUsage, Metric: "device_time", By: []query.Dimension{query.Node}}, hours()) {
		if n := frame.Columns[1].Labels["node"]; n == "n9" {
			t.Errorf("alpha's time on %s", n)
		}
	}
}

// What an answer says besides figures is within the scope, too.
func (l *lake) asOf(t *testing.T) {
	l = on(l, t)
	for _, m := range query.Metrics {
		if m.Kind != query.KindUsage && m.Name != "batches" && m.Name != "open_hours" {
			continue
		}
		for scope, want := range map[query.Scope]int{beta: 1, alpha: 2, all: 2} {
			for _, f := range l.ask(scope, query.Query{Kind: m.Kind, Metric: m.Name, Filters: []query.Filter{{Dimension: query.Site, Values: []string{"s1", "s2"}}}}, hours()) {
				if len(f.AsOf) != want && len(f.AsOf) > 0 {
					t.Errorf("%v is told that %s %s is as of %v", scope, m.Kind, m.Name, f.AsOf)
				}
			}
		}
	}
}

// A figure over a range is of that range, however wide the panel, and a day begins with its first moment.
func (l *lake) edges(t *testing.T) {
	l = on(l, t)
	count := func(kind query.Kind, span query.Span) float64 {
		return l.total(all, query.Query{Kind: kind, Metric: "ecc_sbe", Filters: []query.Filter{{Dimension: query.Node, Values: []string{"n3"}}}}, span)
	}
	for _, kind := range []query.Kind{query.KindFleet, query.KindDevice} {
		// Two devices whose count grows by one every 1,000 seconds.
		for _, points := range []int{1, 7, 1000, 1_000_000} {
			if got := count(kind, query.Span{From: at(22, 15), To: at(23, 0), MaxPoints: points}); got != 4 {
				t.Errorf("%s: %v errors from 22:15 to 23:00 with %d points, want 4", kind, got, points)
			}
		}
		whole := count(kind, query.Span{From: base, To: until, MaxPoints: 1})
		parts := 0.0
		for from := base; from.Before(until); from = from.Add(10 * time.Minute) {
			parts += count(kind, query.Span{From: from, To: from.Add(10 * time.Minute), MaxPoints: 3})
		}
		if whole != parts || whole != 22 {
			t.Errorf("%s: %v errors in all, %v in parts, want 22", kind, whole, parts)
		}
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []query.Kind{query.KindFleet, query.KindDevice} {
		q := query.Query{Kind: kind, Metric: "ecc_sbe", Form: query.FormSeries, Filters: []query.Filter{{Dimension: query.Node, Values: []string{"n3"}}}}
		if kind == query.KindDevice {
			q.Filters, q.By = []query.Filter{{Dimension: query.DeviceID, Values: []string{"GPU-f"}}}, []query.Dimension{query.DeviceID}
		}
		f := l.ask(all, q, query.Span{From: at(23, 0), To: at(23, 10), Interval: 24 * time.Hour, Zone: berlin})[0]
		sum := 0.0
		for _, v := range f.Columns[1].Numbers {
			if !math.IsNaN(v) {
				sum += v
			}
		}
		if want := map[query.Kind]float64{query.KindFleet: 2, query.KindDevice: 1}[kind]; sum != want {
			t.Errorf("%s: %v errors on the new day, want %v", kind, sum, want)
		}
	}
	// Rows per second do not fall because the last slot is not over.
	f := l.ask(all, query.Query{Kind: query.KindPipeline, Metric: "rows"}, query.Span{From: at(22, 0), To: at(22, 32), MaxPoints: 10, Interval: 10 * time.Minute})[0]
	if v := f.Columns[1].Numbers; len(v) == 0 || math.Abs(v[len(v)-1]-v[0]) > 0.01 {
		t.Errorf("rows per second are %v", v)
	}
}

// What cannot be answered is refused before the engine is asked, in one line.
func (l *lake) refusals(t *testing.T) {
	l = on(l, t)
	power := query.Query{Kind: query.KindFleet, Metric: "power"}
	limit := power
	limit.Limit = -1
	year := func(y int) time.Time { return time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC) }
	for name, c := range map[string]struct {
		q    query.Query
		span query.Span
		want query.Reason
	}{
		"backwards":   {power, query.Span{From: until, To: base}, query.ReasonSpan},
		"empty":       {power, query.Span{From: base, To: base}, query.ReasonSpan},
		"nothing":     {power, query.Span{}, query.ReasonSpan},
		"1970":        {power, query.Span{From: year(1970), To: year(1971)}, query.ReasonSpan},
		"2200":        {power, query.Span{From: year(2199), To: year(2200)}, query.ReasonSpan},
		"far":         {power, query.Span{From: year(1), To: year(290_000)}, query.ReasonSpan},
		"below no":    {limit, hours(), query.ReasonLimit},
		"other kinds": {query.Query{Kind: "FLEET", Metric: "power"}, hours(), query.ReasonKind},
	} {
		for _, scope := range []query.Scope{all, alpha} {
			_, err := l.store.Query(t.Context(), scope, c.q, c.span)
			if reason(err) != c.want || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: %v, want %s", name, err, c.want)
			}
		}
	}
}
