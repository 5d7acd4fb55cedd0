package clickhouse_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/wattledger/wattledger/dashboards/query"
)

// What every panel asks of messages is in projections of the table: an expression that is not as there would read every line.
func (l *lake) projections(t *testing.T) {
	l = on(l, t)
	l.exec(`INSERT INTO messages (topic, site, source, run, seq, schema_version, complete_up_to, rows, first_tick, last_tick, received, kafka_partition, kafka_offset)
		SELECT 'wl.sample.v1', 's1', 'n' || toString(number %% 2 + 1), 'aa', number, 1, at, 8, at, at, at + 0.5, 0, number FROM (SELECT number, toDateTime64(%d + number / 100, 6, 'UTC') AS at FROM numbers(100000))`, base.Unix())
	reads := func(what, sql string, args query.Args, projections ...string) {
		t.Helper()
		var named []any
		for name, v := range args {
			named = append(named, clickhouse.Named(name, v))
		}
		rows, err := l.conn.Query(t.Context(), "EXPLAIN "+sql, named...)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		defer rows.Close()
		var text strings.Builder
		for rows.Next() {
			var line string
			if err := rows.Scan(&line); err != nil {
				t.Fatal(err)
			}
			text.WriteString(line + "\n")
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(text.String(), ".messages)") || !slices.ContainsFunc(projections, func(p string) bool { return strings.Contains(text.String(), "("+p+")") }) {
			t.Errorf("%s does not read a projection of %v alone:\n%s", what, projections, text.String())
		}
	}
	for metric, projection := range map[string]string{"rows": "ticks", "messages": "ticks", "delay": "ticks", "delay_max": "ticks", "age": "heads", "nodes": "heads"} {
		q := query.Query{Kind: query.KindPipeline, Metric: metric}
		m, err := q.Validate()
		if err != nil {
			t.Fatal(err)
		}
		for _, form := range m.Forms {
			if q.Form = form; slices.Contains(m.By, query.Site) && metric != "nodes" {
				q.By = []query.Dimension{query.Site}
			}
			plan, err := query.New(q, all, hours(), query.State{At: until}, query.Options{})
			if err != nil {
				t.Fatal(err)
			}
			reads(metric, plan.Statements[0].SQL, plan.Statements[0].Args, projection)
		}
	}
	for i, s := range query.StateStatements() {
		if strings.Contains(s.SQL, "messages") {
			reads("state "+strconv.Itoa(i), s.SQL, s.Args, "heads", "ticks")
		}
	}
	for _, s := range query.HealthStatements(all) {
		if strings.Contains(s.SQL, "messages") {
			reads("health", s.SQL, s.Args, "heads", "ticks")
		}
	}
}
