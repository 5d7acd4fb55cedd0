package chtest

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/wattledger/wattledger/internal/chconn"
)

// pattern is a database that was prepared once, and the statements that make another like it.
var pattern struct {
	database string
	tables   []statement
	views    []statement
}

type statement struct {
	name, create string
	rows         bool
}

// StartLike answers the connection to a fresh database that is as prepare leaves one: it is called once in a test binary, and what it
// made is made again for each test after that, table by table as the engine says they were made, rows included. Migrations take some
// thirteen times as many statements.
func StartLike(t testing.TB, prepare func(ctx context.Context, cfg chconn.Config) error) chconn.Config {
	t.Helper()
	cfg := Start(t)
	conn, err := chconn.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if pattern.database == "" {
		if err := draw(t.Context(), conn, cfg, prepare); err != nil {
			t.Fatalf("prepare a database: %v", err)
		}
	}
	if err := copyTo(t.Context(), conn, cfg.Database); err != nil {
		t.Fatalf("make a database like the one that was prepared: %v", err)
	}
	return cfg
}

// draw prepares a database of its own, which stays until the engine ends, and notes how its tables are made.
func draw(ctx context.Context, conn driver.Conn, cfg chconn.Config, prepare func(ctx context.Context, cfg chconn.Config) error) error {
	name := "pattern_" + cfg.Database
	if err := conn.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		return err
	}
	cfg.Database = name
	if err := prepare(ctx, cfg); err != nil {
		return err
	}
	rows, err := conn.Query(ctx, "SELECT name, create_table_query, engine LIKE '%View', coalesce(total_rows, 0) > 0 FROM system.tables WHERE database = '"+name+"' ORDER BY name")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var s statement
		var view, filled uint8
		if err := rows.Scan(&s.name, &s.create, &view, &filled); err != nil {
			return err
		}
		if s.rows = filled != 0; view != 0 {
			pattern.views = append(pattern.views, s)
		} else {
			pattern.tables = append(pattern.tables, s)
		}
	}
	pattern.database = name
	return rows.Err()
}

func copyTo(ctx context.Context, conn driver.Conn, database string) error {
	create := func(s statement) error {
		return conn.Exec(ctx, strings.ReplaceAll(s.create, pattern.database+".", database+"."))
	}
	for _, s := range pattern.tables {
		if err := create(s); err != nil {
			return err
		}
		if s.rows {
			if err := conn.Exec(ctx, fmt.Sprintf("INSERT INTO %s.%s SELECT * FROM %s.%[2]s", database, s.name, pattern.database)); err != nil {
				return err
			}
		}
	}
	// A view may read another, so those that cannot be made yet are tried again after the others.
	for left := pattern.views; len(left) > 0; {
		var again []statement
		var last error
		for _, s := range left {
			if err := create(s); err != nil {
				again, last = append(again, s), err
			}
		}
		if len(again) == len(left) {
			return last
		}
		left, pattern.views = again, append(without(pattern.views, again), again...) // next time in this order
	}
	return nil
}

// without is the list less some of it.
func without(list, less []statement) []statement {
	var out []statement
	for _, s := range list {
		in := false
		for _, l := range less {
			in = in || l.name == s.name
		}
		if !in {
			out = append(out, s)
		}
	}
	return out
}
