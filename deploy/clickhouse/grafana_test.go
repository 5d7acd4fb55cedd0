package clickhouse_test

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/embedded/clickhouse/chtest"
	schema "github.com/wattledger/wattledger/schemas/clickhouse"
)

// statements are those of a script, without its comments. None has a semicolon in a text.
func statements(script string) []string {
	var kept []string
	for line := range strings.Lines(script) {
		if !strings.HasPrefix(strings.TrimSpace(line), "--") {
			kept = append(kept, line)
		}
	}
	var out []string
	for s := range strings.SplitSeq(strings.Join(kept, ""), ";") {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// The embedded engine runs no statement about users, but it is ClickHouse and reads them.
func TestTheLoginsOfGrafanaParse(t *testing.T) {
	script, err := os.ReadFile("grafana-users.sql")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := chconn.Open(t.Context(), chtest.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	parse := func(s string) (string, error) {
		var formatted string
		return formatted, conn.QueryRow(t.Context(), "SELECT formatQuerySingleLine(?)", s).Scan(&formatted)
	}
	all := statements(string(script))
	if len(all) < 10 {
		t.Fatalf("%d statements", len(all))
	}
	for _, s := range all {
		if _, err := parse(s); err != nil {
			t.Errorf("%s\n%v", s, err)
		}
		first, rest, _ := strings.Cut(s, " ")
		if _, err := parse(first + " SURELY " + rest); err == nil {
			t.Errorf("the parser takes anything: %s SURELY %s", first, rest)
		}
	}
	rendered, err := schema.Render(schema.Flavour{})
	if err != nil {
		t.Fatal(err)
	}
	var migrations strings.Builder
	if err := fs.WalkDir(rendered, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := fs.ReadFile(rendered, path)
		migrations.Write(raw)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`wattledger\.([a-z0-9_]+)`).FindAllStringSubmatch(strings.Join(all, " "), -1) {
		if !regexp.MustCompile(`CREATE TABLE (IF NOT EXISTS )?` + m[1] + `\b`).MatchString(migrations.String()) {
			t.Errorf("no migration makes the table %s", m[1])
		}
	}
}
