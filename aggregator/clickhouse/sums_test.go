package clickhouse

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	schema "github.com/wattledger/wattledger/schemas/clickhouse"
)

// checkSums holds that the sums of the ledger are those of its lines, in total and row by row as a migration would make them again.
func checkSums(t *testing.T, conn driver.Conn) {
	t.Helper()
	lines := func(query string) []string {
		t.Helper()
		rows, err := conn.Query(t.Context(), query)
		if err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		defer rows.Close()
		var out []string
		for rows.Next() {
			var text string
			if err := rows.Scan(&text); err != nil {
				t.Fatal(err)
			}
			out = append(out, text)
		}
		return out
	}
	same := func(what string, got, want []string) {
		t.Helper()
		if len(want) == 0 || !slices.Equal(got, want) {
			t.Errorf("%s:\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	sums := func(columns []string) string { return "sum(" + strings.Join(columns, "), sum(") + ")" }
	const holder = "hour, node, model, account, tenant, project, model_id, purpose"
	hour := "SELECT toString((" + holder + ", %s, " + sums(schema.Added) + ")) FROM %s GROUP BY " + holder + " ORDER BY " + holder
	same("hours", lines(fmt.Sprintf(hour, "toUInt64(sum(entries))", "hour_sum")), lines(fmt.Sprintf(hour, "count()", "entry")))

	// The line that counts is that of the last batch.
	const place, known = "hour, node, kind, model", "integral_mj != -1"
	same("quality", lines("SELECT toString(("+place+", "+sums(schema.Flavour{}.Quality())+")) FROM quality_sum GROUP BY "+place+" HAVING sum(devices) > 0 ORDER BY "+place),
		lines("SELECT toString(("+place+`, toInt64(count()), toInt64(countIf(notEmpty(flags))), sum(counter_mj), sum(estimated_mj), sum(interpolated_mj),
			sumIf(counter_mj, `+known+`), sumIf(integral_mj, `+known+`), toInt64(sumIf(abs(counter_mj - integral_mj), `+known+`)), sum(excess_mj), sum(bound_low_mj), sum(bound_high_mj),
			sum(present_us), sum(covered_us), sum(ticks_expected), sum(ticks_read), sum(allocated_time), sum(unallocated_time), sum(unavailable_time),
			toInt64(sum(resets)), toInt64(sum(clock_steps))))
			FROM (SELECT * FROM device_hour ORDER BY batch DESC LIMIT 1 BY site, hour, node, device, kind) GROUP BY `+place+" ORDER BY "+place))

	for _, again := range []struct{ table, key, statement string }{
		{"hour_sums", holder, schema.Flavour{}.SumEntries("1")}, {"quality_sums", place, schema.Flavour{}.SumQuality("1")},
	} {
		all := "SELECT toString(tuple(*)) FROM " + again.table + " FINAL ORDER BY batch, " + again.key
		before := lines(all)
		exec(t, conn, "TRUNCATE TABLE %s", again.table)
		if err := conn.Exec(t.Context(), again.statement); err != nil {
			t.Fatalf("%s: %v", again.statement, err)
		}
		same(again.table+" made again", lines(all), before)
	}
}
