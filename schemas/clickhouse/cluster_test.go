package clickhouse_test

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/embedded/clickhouse/chtest"
	"github.com/wattledger/wattledger/schemas/clickhouse"
)

// What the engine needs to know to take Replicated and Distributed tables. Its own test Keeper lives in memory, and the servers of
// the cluster are not there: tables can be made and looked at, not filled.
const clusterXML = `<clickhouse>
	<zookeeper><implementation>testkeeper</implementation></zookeeper>
	<macros><shard>1</shard><replica>r1</replica></macros>
	<remote_servers><main>
		<shard><internal_replication>true</internal_replication><replica><host>127.0.0.1</host><port>1</port></replica></shard>
		<shard><internal_replication>true</internal_replication><replica><host>127.0.0.1</host><port>2</port></replica></shard>
	</main></remote_servers>
</clickhouse>`

// cluster is an engine that knows a cluster named main, with three databases: single has the migrations of a single server, cluster
// those of a cluster with plain engines for Replicated ones, replicated the tables of a cluster as they are created.
type cluster struct {
	*testing.T
	db *sql.DB
}

var statementPattern = regexp.MustCompile(`(?s)-- \+goose StatementBegin\n(.*?)-- \+goose StatementEnd`)

// statements are those of all migrations of a flavour, in order.
func statements(t *testing.T, f clickhouse.Flavour) []string {
	t.Helper()
	fsys, err := clickhouse.Render(f)
	if err != nil {
		t.Fatal(err)
	}
	names, err := fs.Glob(fsys, "*.sql")
	if err != nil || len(names) == 0 {
		t.Fatalf("migrations: %v, %v", names, err)
	}
	var out []string
	for _, name := range names {
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range statementPattern.FindAllStringSubmatch(string(text), -1) {
			out = append(out, strings.TrimSuffix(strings.TrimSpace(m[1]), ";"))
		}
	}
	return out
}

var replicatedPattern = regexp.MustCompile(`Replicated(\w*MergeTree)\('[^']*', '[^']*'(?:, )?`)

func startCluster(t *testing.T) *cluster {
	t.Helper()
	data := t.TempDir()
	dir := filepath.Join(data, "clickhouse", "config.d")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cluster.xml"), []byte(clusterXML), 0o600); err != nil {
		t.Fatal(err)
	}
	server := chtest.StartAt(t, data).Config(t)
	c := &cluster{T: t}
	for _, database := range []string{"single", "cluster", "replicated"} {
		if database != "single" {
			if err := c.db.Close(); err != nil {
				t.Fatal(err)
			}
		}
		server.Database = "default"
		c.open(server)
		c.exec("CREATE DATABASE " + database)
		if err := c.db.Close(); err != nil {
			t.Fatal(err)
		}
		server.Database = database
		c.open(server)
		if database == "single" {
			if _, err := clickhouse.Migrate(t.Context(), c.db, clickhouse.Flavour{}); err != nil {
				t.Fatal(err)
			}
			continue
		}
		for _, statement := range statements(t, clickhouse.Flavour{Cluster: "main"}) {
			if strings.HasPrefix(statement, "INSERT INTO") {
				continue // tables can be made, not filled
			}
			statement = strings.Replace(statement, "ON CLUSTER 'main'", "", 1) // there is nobody to hand it on to
			if database == "cluster" {
				c.exec(replicatedPattern.ReplaceAllString(statement, "$1("))
			} else if strings.Contains(statement, "ENGINE = Replicated") {
				c.exec(statement)
			}
		}
		if database == "cluster" { // as Migrate does after the migrations
			for _, table := range clickhouse.Unmeasured() {
				c.exec("ALTER TABLE " + table + "_local MODIFY SETTING auto_statistics_types = ''")
			}
		}
	}
	t.Cleanup(func() { _ = c.db.Close() }) // the engine is killed after
	return c
}

func (c *cluster) open(cfg chconn.Config) {
	c.Helper()
	var err error
	if c.db, err = chconn.OpenDB(c.Context(), cfg); err != nil {
		c.Fatal(err)
	}
}

func (c *cluster) exec(statement string) {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), time.Minute)
	defer cancel()
	if _, err := c.db.ExecContext(ctx, statement); err != nil {
		c.Fatalf("%s: %v", statement, err)
	}
}

// lines are what a query with one column of text answers.
func (c *cluster) lines(query string, args ...any) []string {
	c.Helper()
	rows, err := c.db.QueryContext(c.Context(), query, args...)
	if err != nil {
		c.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			c.Fatal(err)
		}
		out = append(out, s)
	}
	if err := rows.Err(); err != nil {
		c.Fatal(err)
	}
	return out
}

func (c *cluster) tables(database, engines string) []string {
	c.Helper()
	return c.lines("SELECT name FROM system.tables WHERE database = ? AND match(engine, ?) AND name != 'goose_db_version' ORDER BY name", database, engines)
}

// definitions are how the engine itself would create the tables of a database: a line for each column, index and clause.
func (c *cluster) definitions(database string) map[string][]string {
	c.Helper()
	out := map[string][]string{}
	for _, text := range c.lines("SELECT concat(name, '\n', formatQuery(create_table_query)) FROM system.tables WHERE database = ? AND engine != 'Distributed'", database) {
		table, text, _ := strings.Cut(text, "\n")
		text = strings.NewReplacer(
			database+"."+table, strings.TrimSuffix(table, "_local"), database+".", "",
			"non_replicated_deduplication_window = 1000", "deduplication window", "replicated_deduplication_window = 10000", "deduplication window",
		).Replace(text)
		for line := range strings.Lines(text) {
			out[table] = append(out[table], strings.TrimRight(strings.TrimSpace(line), ","))
		}
	}
	return out
}

// columns are names, types and defaults, in order: what a Distributed table has in common with those below it.
func (c *cluster) columns(database string) map[string][]string {
	c.Helper()
	out := map[string][]string{}
	for _, line := range c.lines("SELECT concat(table, ' ', name, ' ', type, ' ', default_kind, ' ', default_expression) FROM system.columns WHERE database = ? ORDER BY table, position", database) {
		table, column, _ := strings.Cut(line, " ")
		out[table] = append(out[table], column)
	}
	return out
}

// differences between the two flavours, each a line that names the table.
func (c *cluster) differences() []string {
	c.Helper()
	var out []string
	differ := func(table string, want, got []string) {
		for _, line := range want {
			if !slices.Contains(got, line) {
				out = append(out, table+": only on a single server: "+line)
			}
		}
		for _, line := range got {
			if !slices.Contains(want, line) {
				out = append(out, table+": only in a cluster: "+line)
			}
		}
		if !slices.Equal(want, got) && slices.Equal(slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(got))) {
			out = append(out, table+": in another order")
		}
	}
	plain := c.tables("single", "MergeTree")
	defined, below, single, over := c.definitions("single"), c.definitions("cluster"), c.columns("single"), c.columns("cluster")
	for _, table := range plain {
		local := table + "_local"
		differ(local, defined[table], below[local])
		differ(table, single[table], over[table])
	}
	views := c.tables("single", "View")
	for _, view := range views {
		differ(view, defined[view], below[view])
	}
	var locals []string
	for _, table := range plain {
		locals = append(locals, table+"_local")
	}
	differ("tables that hold rows", locals, c.tables("cluster", "MergeTree"))
	differ("tables that spread rows", plain, c.tables("cluster", "Distributed"))
	differ("tables that are replicated", locals, c.tables("replicated", "^Replicated"))
	differ("views", views, c.tables("cluster", "View"))
	return out
}

// What the migrations leave behind in a cluster is what they leave behind on a single server: tables, columns, types, codecs,
// defaults, comments, keys, TTL, indices, views.
func TestClusterFlavourIsTheSingleOne(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	for _, d := range c.differences() {
		t.Error(d)
	}
	if n := len(c.tables("cluster", "Distributed")); n < 10 {
		t.Errorf("only %d tables were compared", n)
	}
	f := func(name string, check func(*cluster)) {
		t.Run(name, func(t *testing.T) { check(&cluster{t, c.db}) })
	}
	f("Replicas", (*cluster).replicas)
	f("ShardingKeys", (*cluster).shardingKeys)
	f("Views", (*cluster).views)
	f("Mutations", (*cluster).mutations) // last: it damages the cluster
}

// Every table has a path of its own in Keeper, which names the shard; the engine below is that of the single server.
func (c *cluster) replicas() {
	paths := c.lines("SELECT zookeeper_path FROM system.replicas WHERE database = 'replicated' ORDER BY 1")
	if len(paths) == 0 || len(slices.Compact(slices.Clone(paths))) != len(paths) {
		c.Errorf("paths in Keeper: %v; want one of its own for each table", paths)
	}
	for _, table := range c.tables("replicated", "") {
		want := c.lines("SELECT concat('Replicated', engine, ' /clickhouse/tables/1/wattledger/', name) FROM system.tables WHERE database = 'single' AND name = ?", strings.TrimSuffix(table, "_local"))
		got := c.lines("SELECT concat(t.engine, ' ', r.zookeeper_path) FROM system.tables AS t INNER JOIN system.replicas AS r ON r.database = t.database AND r.table = t.name "+
			"WHERE t.database = 'replicated' AND t.name = ?", table)
		if !slices.Equal(got, want) {
			c.Errorf("%s is %v, want %v", table, got, want)
		}
	}
}

var distributedPattern = regexp.MustCompile(`^Distributed\('main', 'cluster', '(\w+)_local', (.*)\)$`)

// Rows that replace one another meet on one shard only where the sharding key is part of what makes them equal. The rows of one message lie on
// one shard, so that an insert that is cut off stores a message whole or not at all. Each key has its reason in docs/scale.md.
func (c *cluster) shardingKeys() {
	page, err := os.ReadFile("../../docs/scale.md")
	if err != nil {
		c.Fatal(err)
	}
	word := regexp.MustCompile(`\w+`)
	for _, engine := range c.lines("SELECT engine_full FROM system.tables WHERE database = 'cluster' AND engine = 'Distributed' ORDER BY name") {
		m := distributedPattern.FindStringSubmatch(engine)
		if m == nil {
			c.Errorf("%s is not over a local table of the cluster with a sharding key", engine)
			continue
		}
		table, key := m[1], m[2]
		if !strings.Contains(string(page), fmt.Sprintf("| `%s` | `%s` |", table, key)) {
			c.Errorf("docs/scale.md does not say why %s is sharded by %s: add a line | `%s` | `%s` | and the reason", table, key, table, key)
		}
		of := c.lines("SELECT concat(engine, ' ', sorting_key) FROM system.tables WHERE database = 'single' AND name = ?", table)[0]
		for _, column := range word.FindAllString(strings.TrimPrefix(key, "cityHash64"), -1) {
			if strings.HasPrefix(of, "Replacing") && !slices.Contains(word.FindAllString(of, -1), column) {
				c.Errorf("%s is sharded by %s, but rows that differ in %s replace one another: %s", table, key, column, of)
			}
		}
	}
}

// A view that joins two Distributed tables is refused by servers as they come. With the setting that docs/scale.md asks for it goes as
// far as dialling the shards.
func (c *cluster) views() {
	if _, err := c.db.ExecContext(c.Context(), "SELECT * FROM cluster.entry"); chconn.Code(err) != 288 { // DISTRIBUTED_IN_JOIN_SUBQUERY_DENIED
		c.Errorf("without the setting: %v; is it needed no more?", err)
	}
	for _, view := range c.tables("cluster", "View") {
		_, err := c.db.ExecContext(c.Context(), "SELECT * FROM cluster."+view+" SETTINGS distributed_product_mode = 'global'")
		if chconn.Code(err) != 279 { // ALL_CONNECTION_TRIES_FAILED
			c.Errorf("%s: %v; want that no shard answers", view, err)
		}
	}
}

// The comparison finds what a migration that forgot one flavour would leave.
func (c *cluster) mutations() {
	before := c.differences()
	f := func(statement, want string) {
		c.Helper()
		c.exec(statement)
		after := c.differences()
		fresh := slices.DeleteFunc(slices.Clone(after), func(d string) bool { return slices.Contains(before, d) })
		before = after
		if !slices.ContainsFunc(fresh, func(d string) bool { return strings.Contains(d, want) }) {
			c.Errorf("%s: found %q, want %q among it", statement, fresh, want)
		}
	}
	f("ALTER TABLE cluster.samples_local MODIFY COLUMN period_ms CODEC(NONE)", "samples_local: only in a cluster: `period_ms` UInt32 CODEC(NONE)")
	f("ALTER TABLE cluster.samples_local MODIFY COLUMN seq UInt32", "samples_local: only in a cluster: `seq` UInt32")
	f("ALTER TABLE cluster.samples_local RENAME COLUMN driver TO drivers", "samples_local: only on a single server: `driver`")
	f("ALTER TABLE cluster.samples_local MODIFY TTL toDateTime(received) + INTERVAL 40 DAY", "samples_local: only in a cluster: TTL")
	f("ALTER TABLE cluster.samples_local DROP INDEX by_offset", "samples_local: only on a single server: INDEX by_offset")
	f("ALTER TABLE cluster.samples_local MODIFY SETTING ttl_only_drop_parts = 0", "samples_local: only in a cluster: SETTINGS")
	f("ALTER TABLE cluster.cuts_local MODIFY COLUMN seen0 DEFAULT -2", "cuts_local: only in a cluster: `seen0` Int64 DEFAULT -2")
	f("ALTER TABLE cluster.stays_local ADD COLUMN more UInt8, MODIFY ORDER BY (site, node, device, from_us, more)", "stays_local: only in a cluster: ORDER BY")
	f("ALTER TABLE cluster.samples DROP COLUMN energy_epoch", "samples: only on a single server: energy_epoch UInt32")
	f("CREATE OR REPLACE VIEW cluster.reading AS SELECT 1", "reading: only in a cluster: ")
	f("DROP TABLE cluster.sites", "tables that spread rows: only on a single server: sites")
	f("DROP TABLE cluster.tenants_local SYNC", "tables that hold rows: only on a single server: tenants_local")
}
