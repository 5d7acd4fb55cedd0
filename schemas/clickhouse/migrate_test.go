package clickhouse_test

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/embedded/clickhouse/chtest"
	"github.com/wattledger/wattledger/schemas/clickhouse"
	"github.com/wattledger/wattledger/schemas/record"
)

func TestMigrate(t *testing.T) {
	t.Parallel()
	cfg := chtest.Start(t)
	db, err := chconn.OpenDB(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	applied, err := clickhouse.Migrate(t.Context(), db, clickhouse.Flavour{})
	if err != nil {
		t.Fatal(err)
	}
	again, err := clickhouse.Migrate(t.Context(), db, clickhouse.Flavour{})
	if err != nil {
		t.Fatal(err)
	}
	if len(applied) == 0 || len(again) != 0 {
		t.Errorf("%d migrations applied, then %d; want some, then none", len(applied), len(again))
	}
	have, want, err := clickhouse.Version(t.Context(), db, clickhouse.Flavour{})
	if err != nil || have != want {
		t.Errorf("version %d of %d, %v", have, want, err)
	}
	for _, m := range record.Metrics {
		var n uint64
		if err := db.QueryRowContext(t.Context(), "SELECT count() FROM system.columns WHERE database = currentDatabase() AND table IN ('samples', 'sample') AND name = '"+m.Name+"'").Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n != 2 {
			t.Errorf("metric %s is in %d of the table and its view", m.Name, n)
		}
	}
}

// What tests start from is what migrations leave: the same tables, views and settings, and the same version.
func TestADatabaseLikeAMigratedOneIsTheSame(t *testing.T) {
	t.Parallel()
	migrate := func(ctx context.Context, cfg chconn.Config) error {
		db, err := chconn.OpenDB(ctx, cfg)
		if err != nil {
			return err
		}
		defer db.Close()
		_, err = clickhouse.Migrate(ctx, db, clickhouse.Flavour{})
		return err
	}
	read := func(cfg chconn.Config) map[string]string {
		t.Helper()
		db, err := chconn.OpenDB(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if have, want, err := clickhouse.Version(t.Context(), db, clickhouse.Flavour{}); err != nil || have != want {
			t.Errorf("version %d of %d, %v", have, want, err)
		}
		rows, err := db.QueryContext(t.Context(), "SELECT name, replaceAll(create_table_query, database || '.', '') FROM system.tables WHERE database = currentDatabase()")
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		made := map[string]string{}
		for rows.Next() {
			var name, create string
			if err := rows.Scan(&name, &create); err != nil {
				t.Fatal(err)
			}
			made[name] = create
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		return made
	}
	plain := chtest.Start(t)
	if err := migrate(t.Context(), plain); err != nil {
		t.Fatal(err)
	}
	want, got := read(plain), read(chtest.StartLike(t, migrate))
	if len(want) < 20 || !maps.Equal(want, got) {
		for name := range want {
			if got[name] != want[name] {
				t.Errorf("%s is\n%s\nwant\n%s", name, got[name], want[name])
			}
		}
		t.Errorf("%d tables and views, want %d", len(got), len(want))
	}
}

// A database made before collectors stated epochs gets the column; of its rows the epochs are unknown.
func TestAnOlderSamplesTableGetsItsEpochs(t *testing.T) {
	t.Parallel()
	cfg := chtest.Start(t)
	db, err := chconn.OpenDB(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	migrate := func() {
		t.Helper()
		if _, err := clickhouse.Migrate(t.Context(), db, clickhouse.Flavour{}); err != nil {
			t.Fatal(err)
		}
	}
	migrate()
	for _, statement := range []string{
		"DROP VIEW sample", "DROP VIEW device", "DROP VIEW node", "DROP TABLE stays", "DROP VIEW incident", "DROP VIEW reading", "DROP TABLE incidents", "DROP TABLE readings", "ALTER TABLE samples DROP COLUMN energy_epoch",
		"INSERT INTO samples (site, node, device, tick, energy_ts, received) VALUES ('s', 'n', 'd', now64(6), 1, now64(6))",
		"ALTER TABLE goose_db_version DELETE WHERE version_id >= 4 SETTINGS mutations_sync = 2",
	} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	migrate()
	var unknown uint64
	if err := db.QueryRowContext(t.Context(), "SELECT countIf(energy_epoch IS NULL) FROM sample").Scan(&unknown); err != nil || unknown != 1 {
		t.Errorf("%d rows of unknown epoch, want 1: %v", unknown, err)
	}
}

func TestAnotherVersionIsAClearError(t *testing.T) {
	t.Parallel()
	cfg := chtest.Start(t)
	db, err := chconn.OpenDB(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	f := func(what, want string) {
		t.Helper()
		err := clickhouse.Check(t.Context(), func(ctx context.Context, query string) clickhouse.Row { return db.QueryRowContext(ctx, query) })
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", what, err)
		case want != "" && (!errors.Is(err, clickhouse.ErrVersion) || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want it to say %q", what, err, want)
		}
	}
	exec := func(statement string) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	f("an empty database", "has no tables")
	if _, err := clickhouse.Migrate(t.Context(), db, clickhouse.Flavour{}); err != nil {
		t.Fatal(err)
	}
	f("after migration", "")
	exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)")
	f("a database of tomorrow", "it is at 999 and this program knows")
	exec("ALTER TABLE goose_db_version DELETE WHERE version_id > 3 SETTINGS mutations_sync = 2")
	f("a database of yesterday", "it is at 3 and this program needs")
	exec("DROP TABLE goose_db_version")
	f("another server of a cluster", "")
}

// ON CLUSTER cannot run here: it needs Keeper and servers. The engine's own parser reads every statement with it.
func TestClusterFlavourParses(t *testing.T) {
	t.Parallel()
	cfg := chtest.Start(t)
	db, err := chconn.OpenDB(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	all := statements(t, clickhouse.Flavour{Cluster: "main"})
	for _, sql := range all {
		var formatted string
		if err := db.QueryRowContext(t.Context(), "SELECT formatQuery(?)", sql).Scan(&formatted); err != nil {
			t.Errorf("%v\n%s", err, sql)
		}
		if !strings.Contains(sql, "ON CLUSTER 'main'") && !strings.HasPrefix(sql, "INSERT INTO") { // one server spreads what it inserts
			t.Errorf("not for the cluster:\n%s", sql)
		}
	}
	if len(all) < 20 {
		t.Errorf("only %d statements", len(all))
	}
}
