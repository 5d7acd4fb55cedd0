package clickhouse

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Retention is for how many days rows are kept after their receipt. 0 keeps them for ever. The ledger is always kept. `wattledger migrate`
// brings the tables to it; a whole part goes when its last row may, which is up to a day later, of messages and minutes up to a month,
// of hours up to a year.
type Retention struct {
	// Samples are the raw rows. As long as they are there, `verify` recomputes from them.
	Samples int `yaml:"samples_days"`
	// Messages are the lines by which repeats are recognised, gaps asked and samples audited. Older messages that come again are stored again.
	// It must be longer than Kafka keeps messages and collectors keep a spool.
	Messages int `yaml:"messages_days"`
	// Readings are those of meters, Incidents what happened on nodes.
	Readings  int `yaml:"readings_days"`
	Incidents int `yaml:"incidents_days"`
	// Rollup10s, Rollup1m and Rollup1h are the buckets of 10 s, of a minute and of an hour.
	Rollup10s int `yaml:"rollup_10s_days"`
	Rollup1m  int `yaml:"rollup_1m_days"`
	Rollup1h  int `yaml:"rollup_1h_days"`
	// Node10s, Node1m and Node1h are the sums by node of the same buckets.
	Node10s int `yaml:"node_10s_days"`
	Node1m  int `yaml:"node_1m_days"`
	Node1h  int `yaml:"node_1h_days"`
}

// DefaultRetention keeps raw samples as long as databases made before it could be configured do.
func DefaultRetention() Retention {
	return Retention{Samples: 400, Messages: 62, Readings: 400, Incidents: 400, Rollup10s: 92, Rollup1m: 1100, Rollup1h: 3660, Node10s: 92, Node1m: 1100, Node1h: 3660}
}

// minMessages is how long lines of messages are kept at least: Kafka keeps messages for a week unless told otherwise.
const minMessages = 8

// Validate reports every fault at once.
func (r Retention) Validate() error {
	var faults []error
	for _, d := range r.days() {
		if d.days < 0 || d.days > 36500 {
			faults = append(faults, fmt.Errorf("%s_days: %d; must lie between 0, which is for ever, and 36500", d.table, d.days))
		}
	}
	if r.Messages != 0 && r.Messages < minMessages {
		faults = append(faults, fmt.Errorf("messages_days: %d; must be 0 or at least %d, or what Kafka delivers again is not recognised", r.Messages, minMessages))
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("retention: %w", err)
	}
	return nil
}

type kept struct {
	table string
	days  int
}

func (r Retention) days() []kept {
	return []kept{
		{"samples", r.Samples},
		{"messages", r.Messages},
		{"readings", r.Readings},
		{"incidents", r.Incidents},
		{"rollup_10s", r.Rollup10s},
		{"rollup_1m", r.Rollup1m},
		{"rollup_1h", r.Rollup1h},
		{"node_10s", r.Node10s},
		{"node_1m", r.Node1m},
		{"node_1h", r.Node1h},
	}
}

var ttlDays = regexp.MustCompile(` TTL toDateTime\(received\) \+ toIntervalDay\((\d+)\)`)

// Retain brings the tables to the retention, and says which it changed. What is as it should be is not touched.
func Retain(ctx context.Context, db *sql.DB, f Flavour, r Retention) ([]string, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	var changed []string
	for _, k := range r.days() {
		text, err := f.created(ctx, db, k.table)
		if err != nil {
			return changed, err
		}
		have := 0
		if m := ttlDays.FindStringSubmatch(text); m != nil {
			if have, err = strconv.Atoi(m[1]); err != nil {
				return changed, fmt.Errorf("read the retention of %s: %w", k.table, err)
			}
		}
		if have == k.days {
			continue
		}
		statement := "ALTER TABLE " + f.Table(k.table) + " REMOVE TTL"
		if k.days > 0 {
			statement = fmt.Sprintf("ALTER TABLE %s MODIFY TTL toDateTime(received) + toIntervalDay(%d)", f.Table(k.table), k.days)
		}
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return changed, fmt.Errorf("set the retention of %s to %d days: %w", k.table, k.days, err)
		}
		changed = append(changed, k.table)
	}
	return changed, nil
}

// created is the statement that makes the table as it is now.
func (f Flavour) created(ctx context.Context, db *sql.DB, table string) (string, error) {
	name, _, _ := strings.Cut(f.Table(table), " ")
	var text string
	err := db.QueryRowContext(ctx, "SELECT create_table_query FROM system.tables WHERE database = currentDatabase() AND name = ?", name).Scan(&text)
	if err != nil {
		return "", fmt.Errorf("read how %s was made: %w", name, err)
	}
	return text, nil
}

// unmeasured turns off the statistics that newer servers make of every column at every merge: they cost a quarter of it, some megabytes
// a part, and no query of ours asks for them. Older servers do not know the setting.
func unmeasured(ctx context.Context, db *sql.DB, f Flavour) error {
	const setting = "auto_statistics_types"
	var known uint64
	if err := db.QueryRowContext(ctx, "SELECT count() FROM system.merge_tree_settings WHERE name = '"+setting+"'").Scan(&known); err != nil {
		return fmt.Errorf("read the settings of tables: %w", err)
	}
	if known == 0 {
		return nil
	}
	for _, table := range unmeasuredTables() {
		text, err := f.created(ctx, db, table)
		if err != nil {
			return err
		}
		if strings.Contains(text, setting) {
			continue
		}
		if _, err := db.ExecContext(ctx, "ALTER TABLE "+f.Table(table)+" MODIFY SETTING "+setting+" = ''"); err != nil {
			return fmt.Errorf("turn off the statistics of %s: %w", table, err)
		}
	}
	return nil
}

func unmeasuredTables() []string {
	tables := []string{"samples", "messages"}
	for _, t := range Tiers {
		tables = append(tables, t.Table)
	}
	for _, s := range Sums {
		tables = append(tables, s.Table)
	}
	return append(tables, "hour_sums", "quality_sums")
}
