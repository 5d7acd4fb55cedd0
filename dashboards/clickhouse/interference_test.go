package clickhouse_test

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/wattledger/wattledger/dashboards/query"
)

// Whatever others do, hold, take or are called, a tenant is answered the same, to the last digit.
func (l *lake) others(t *testing.T) {
	l = on(l, t)
	operators := func() [3]float64 {
		return [3]float64{l.total(all, query.Query{Kind: query.KindEnergy, Metric: "total"}, hours()), l.total(all, query.Query{Kind: query.KindFleet, Metric: "power"}, hours()), l.total(all, query.Query{Kind: query.KindEvents, Metric: "count"}, hours())}
	}
	before, seen := l.answers(alpha), operators()
	// Others take more, in the batches that are there.
	for _, table := range []string{"entries", "hour_sums", "subtotals"} {
		change := "tenant = 'gamma'"
		if table == "entries" {
			change += ", id = concat(substring(id; 1; 60); 'ffff'), position = position + 1000, device = 'GPU-z', node = 'n7', workload = 'w-z', allocation = 'z1'"
		}
		l.like(table, "tenant IN ('beta', '')", change+", gpu_mj = gpu_mj * 3 + 7, facility_mj = facility_mj * 5, carbon_ug = carbon_ug * 9, device_time = device_time * 2")
	}
	l.like("device_hours", "device = 'GPU-d'", "device = 'GPU-z', node = 'n7', counter_mj = counter_mj * 3")
	l.like("quality_sums", "node = 'n2'", "node = 'n7', counter_mj = counter_mj * 3")
	// They hold what nobody held, and what alpha gave back.
	l.exec(`INSERT INTO nodes (id, site, rack, model, from_us, revision) VALUES ('n7', 's1', 'r7', 'dgx', 1, 1)`)
	l.exec(`INSERT INTO devices (uuid, parent_uuid, node, kind, model, serial, driver, vbios, gpu_index, slices, energy_source, limit_mw, from_us, revision) VALUES
		('GPU-z', '', 'n7', 'gpu', 'B999', 'sz', 'd9', 'v9', 0, 7, 'hardware', 1000000, 1, 1), ('MIG-c3', 'GPU-c', 'n2', 'mig', 'B200', '', 'd1', '', 0, 1, 'none', 0, 1, 1)`)
	l.exec(`INSERT INTO tenants (id, name, sector, size_class, country, vat_id, allowed_countries, revision) VALUES ('gamma', 'Gamma', 'lab', 'small', 'FR', 'x', ['FR'], 1)`)
	for i, hold := range []struct {
		device   string
		part     int
		from, to int64
	}{
		{"GPU-f", 1000, us(base), 0}, {"GPU-z", 1000, us(base), 0}, {"MIG-c3", 1000, us(at(21, 0)), us(at(22, 0))}, {"GPU-d", 200, us(at(22, 0)), 0}, {"GPU-b", 100, us(base), 0},
	} {
		l.exec("INSERT INTO allocations (id, site, device, thousandths, start_us, end_us, tenant, project, workload, model_id, purpose, revision) VALUES ('z%d', '%s', '%s', %d, %d, %d, 'gamma', 'p-gamma', 'w-gamma', 'm-gamma', 'research', 1)",
			i, map[bool]string{true: "s2", false: "s1"}[hold.device == "GPU-f"], hold.device, hold.part, hold.from, hold.to)
	}
	// Their devices read something else, and something happens to them.
	more := "energy_mj = energy_mj + 1, seq = seq + 100000, xid = 48"
	l.like("samples", "device IN ('GPU-d', 'GPU-f')", "device = 'GPU-z', node = 'n7', energy_mj = energy_mj * 2, xid = 48")
	l.like("samples", "device IN ('GPU-b', 'GPU-c', 'MIG-c2', 'GPU-d', 'GPU-f')", "tick = tick + INTERVAL 3 SECOND, energy_ts = energy_ts + 3000000, "+more)
	l.like("samples", "device = 'GPU-a' AND tick > fromUnixTimestamp64Micro("+fmt.Sprint(us(at(21, 30)))+")", "tick = tick + INTERVAL 3 SECOND, energy_ts = energy_ts + 3000000, power_w = 999, "+more)
	for _, table := range []string{"rollup_10s", "rollup_1m", "rollup_1h"} {
		l.like(table, "device IN ('GPU-b', 'GPU-c', 'MIG-c2', 'GPU-d', 'GPU-f')", "energy_epoch = 7, energy_mj_max = energy_mj_max + 1000000, xid = 48")
		l.like(table, "device = 'GPU-d'", "device = 'GPU-z', node = 'n7'")
	}
	for _, table := range []string{"node_10s", "node_1m", "node_1h"} {
		l.like(table, "1", "power_mw = power_mw * 2, devices = devices + 1, known = known + 1")
	}
	for _, device := range []string{"GPU-d", "GPU-f", "GPU-b", "GPU-z", ""} {
		l.exec("INSERT INTO incidents (site, node, kind, reason, device, from_us, to_us, amount, run, first_seq, last_seq, received) VALUES ('s1', 'n2', 'gap', 'silent', '%s', %d, %d, 9, '', 0, 0, now64(6))", device, us(at(22, 10)), us(at(22, 20)))
	}
	after := l.answers(alpha)
	for i, now := range operators() {
		if now == seen[i] {
			t.Errorf("the operator's figure %d does not change, so this proves nothing", i)
		}
	}
	for what, was := range before {
		if is := after[what]; is != was {
			a, b := strings.Split(was, "\n"), strings.Split(is, "\n")
			for i := range max(len(a), len(b)) {
				if i >= len(a) || i >= len(b) || a[i] != b[i] {
					t.Errorf("%s changes with what others do, %d lines then %d: %.300s | %.300s", what, len(a), len(b), strings.Join(a[min(i, len(a)):], " "), strings.Join(b[min(i, len(b)):], " "))
					break
				}
			}
		}
	}
}

// like inserts rows like those for which a condition holds, with changes.
func (l *lake) like(table, where, changes string) {
	l.t.Helper()
	var list []string
	for _, c := range strings.Split(changes, ", ") {
		name, expr, _ := strings.Cut(c, " = ")
		list = append(list, strings.ReplaceAll(expr, ";", ",")+" AS "+name)
	}
	l.exec("INSERT INTO %[1]s SELECT * REPLACE (%[2]s) FROM (SELECT * FROM %[1]s WHERE %[3]s)", table, strings.Join(list, ", "), where)
}

// answers are those to every metric, as text.
func (l *lake) answers(scope query.Scope) map[string]string {
	entry := l.firstEntry(scope)
	out := map[string]string{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan struct{}, 2)
	ask := func(q query.Query) {
		frames, err := l.store.Query(l.t.Context(), scope, q, hours())
		text := fmt.Sprint(err)
		for _, f := range frames {
			text += fmt.Sprintf("\n%s %v %s %s %v", f.Name, f.Notices, f.Source, f.Step, f.AsOf)
			for _, c := range f.Columns {
				text += fmt.Sprintf("\n%s %v %v %v", c.Name, c.Labels, c.Provisional, c.Texts)
				for _, v := range c.Numbers {
					if math.IsNaN(v) {
						text += " -"
						continue
					}
					text += fmt.Sprintf(" %.9g", v)
				}
				for i := range c.Times {
					text += " " + c.Times[i].UTC().Format("02T15:04:05")
				}
			}
		}
		mu.Lock()
		defer mu.Unlock()
		out[fmt.Sprintf("%s %s as %s by %v", q.Kind, q.Metric, q.Form, q.By)] = text
	}
	for i, m := range query.Metrics {
		for j, form := range m.Forms {
			if j != i%len(m.Forms) && !everyCross {
				continue
			}
			q := query.Query{Kind: m.Kind, Metric: m.Name, Form: form, Limit: 5}
			if i%2 == 0 && len(m.By) > 0 {
				q.By = m.By[len(m.By)-1:]
			}
			if m.Name == "explain" {
				q.Filters = []query.Filter{{Dimension: query.EntryID, Values: []string{entry}}}
			}
			wg.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				ask(q)
			})
		}
	}
	for _, d := range query.Dimensions {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			got, err := l.store.Values(l.t.Context(), scope, d, nil, "", 0)
			mu.Lock()
			defer mu.Unlock()
			out["values of "+string(d)] = fmt.Sprintf("%v %v", got, err)
		})
	}
	wg.Wait()
	return out
}
