package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/embedded/clickhouse/chtest"
	"github.com/wattledger/wattledger/internal/process"
	schema "github.com/wattledger/wattledger/schemas/clickhouse"
)

// factorServers are an engine and a publisher that says one value for every hour it is asked for.
func factorServers(t *testing.T) (run func(args ...string) (int, map[string]any), value *int, set []string) {
	t.Helper()
	db := chtest.Start(t)
	goose, err := chconn.OpenDB(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	defer goose.Close()
	if _, err := schema.Migrate(t.Context(), goose, schema.Flavour{}); err != nil {
		t.Fatal(err)
	}
	said := 30
	publisher := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, _ := time.Parse(time.RFC3339, r.URL.Query().Get("start"))
		to, _ := time.Parse(time.RFC3339, r.URL.Query().Get("end"))
		var points []string
		for h := from; h.Before(to); h = h.Add(time.Hour) {
			if h.Hour() != 3 {
				points = append(points, fmt.Sprintf(`{"datetime":%q,"carbonIntensity":%d}`, h.Format(time.RFC3339), said))
			}
		}
		fmt.Fprintf(w, `{"zone":"FR","data":[%s]}`, strings.Join(points, ","))
	}))
	t.Cleanup(publisher.Close)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("test-token"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &servers{t: t}
	for key, v := range map[string]string{
		"clickhouse.addresses": "[" + db.Addresses[0] + "]", "clickhouse.database": db.Database, "clickhouse.password_file": db.PasswordFile,
		"carbon.electricity_maps.url": publisher.URL, "carbon.electricity_maps.token_file": token, "carbon.electricity_maps.every": "0s",
	} {
		s.args = append(s.args, "--set", key+"="+v)
		set = append(set, key+"="+v)
	}
	return s.run, &said, set
}

// counted imports a file and holds the count of a refusal against what is wanted.
func counted(t *testing.T, set []string, file, reason string, want int) {
	t.Helper()
	env := process.NewEnv(process.Flags{Set: set}, io.Discard, io.Discard, nil)
	if err := (&factorImportCmd{File: file}).Run(t.Context(), env); err == nil {
		t.Errorf("%s was taken", file)
	}
	families, err := env.Metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got int
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "wattledger_factor_refused_total" && m.GetLabel()[1].GetValue() == reason {
				got += int(m.GetCounter().GetValue())
			}
		}
	}
	if got != want {
		t.Errorf("%d refusals are counted for %s, want %d", got, reason, want)
	}
}

// An operator's day with factors: fetched, fetched again, revised; stated in a file, and refused from one.
func TestFactor(t *testing.T) {
	run, said, args := factorServers(t)
	f := func(code int, want string, keys []string, args ...string) map[string]any {
		t.Helper()
		got, object := run(append([]string{"factor"}, args...)...)
		var values []string
		for _, k := range keys {
			if list, ok := object[k].([]any); ok {
				values = append(values, fmt.Sprint(len(list)))
			} else {
				values = append(values, fmt.Sprint(object[k]))
			}
		}
		if text := strings.Join(values, " "); got != code || text != want {
			t.Errorf("%v ends with %d and %s, want %d and %s: %v", args, got, text, code, want, object)
		}
		return object
	}
	fetch := []string{"fetch", "--provider", "electricitymaps", "--zone", "FR", "--from", "2026-11-03T00:00:00Z", "--to", "2026-11-03T06:00:00Z"}
	took := []string{"editions", "stored", "revised", "known", "sequence", "missing"}
	f(0, "5 0 0 0 0 1", took, append(fetch, "--dry-run")...)
	f(0, "5 5 0 0 1 1", took, fetch...)
	f(0, "5 0 0 5 0 1", took, fetch...)
	*said = 31
	f(0, "5 5 5 0 2 1", took, fetch...)

	file := filepath.Join(t.TempDir(), "factors.csv")
	write := func(rows ...string) {
		t.Helper()
		header := "kind,key,from,to,value,unit,method,source,name,licence,boundary,resolution"
		if err := os.WriteFile(file, []byte(strings.Join(append([]string{header}, rows...), "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stated := []string{"editions", "stored", "faults", "refused"}
	write("pue,fr-1,2026-01-01,,1.2,ratio,declared,operator,x,own,,", "wue,fr-1,2026-01-01,,1.2,gallons,declared,operator,x,own,,")
	f(1, "1 0 1 0", stated, "import", file) // whole or not at all
	counted(t, args, file, "row", 1)
	write("pue,fr-1,2026-01-01,,1.2,ratio,declared,operator,x,own,,", "pue,fr-1,2026-02-01,,1.1,ratio,declared,operator,x,own,,")
	f(1, "2 0 0 1", stated, "import", file)
	counted(t, args, file, "overlap", 1)
	write("pue,fr-1,2026-01-01,2026-02-01,1.2,ratio,declared,operator,x,own,,", "pue,fr-1,2026-03-01,,1.1,ratio,declared,operator,x,own,,")
	f(1, "2 0 0 1", stated, "import", file)
	f(0, "2 2 0 0", stated, "import", file, "--allow-gaps")
	write("grid,FR,2026-11-03T01:00:00Z,2026-11-03T02:00:00Z,40,g/kWh,m,another publisher,x,own,lifecycle,hourly")
	f(1, "1 0 0 1", stated, "import", file)
	f(0, "1 1 0 0", stated, "import", file, "--set", "carbon.chains=[{zone: FR, boundary: lifecycle, steps: [{source: Electricity Maps, resolution: hourly}]}]")
	f(1, "3 1", []string{"findings", "refused"}, "check") // without the chain it is not said whose word counts

	at := []string{"list", "--kind", "grid", "--key", "FR", "--at", "2026-11-03T04:00:00Z"}
	counts := func(want string, args ...string) {
		t.Helper()
		if got := fmt.Sprint(f(0, "", nil, args...)["chosen"]); !strings.Contains(got, want) {
			t.Errorf("%v: %s counts, want %s", args, got, want)
		}
	}
	counts("31000000µg/kWh", at...)
	counts("30000000µg/kWh", append(at, "--as-of", "1")...)
	f(0, "2 1", []string{"editions", "chosen"}, at...)
	f(0, "1 1", []string{"editions", "chosen"}, append(at, "--latest")...)

	if code, _, errs := execute(t, "factor", "fetch", "--provider", "rte", "--zone", "FR", "--from", "2026-11-03T00:30:00Z", "--to", "2026-11-03T06:00:00Z"); code != process.ExitUsage || !strings.Contains(errs, "whole hours") {
		t.Errorf("half an hour ends with %d: %s", code, errs)
	}
}

// What is wrong with a chain is said before anything starts.
func TestCarbonConfig(t *testing.T) {
	f := func(want string, set ...string) {
		t.Helper()
		var args []string
		for _, s := range set {
			args = append(args, "--set", s)
		}
		code, _, errs := execute(t, append([]string{"aggregate", "--check"}, args...)...)
		if code != process.ExitUsage || !strings.Contains(errs, want) {
			t.Errorf("%v ends with %d: %s; want %q", set, code, errs, want)
		}
	}
	page, err := os.ReadFile("../../docs/carbon.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(page), "```yaml\n")
	example, _, _ = strings.Cut(example, "```")
	cfg := defaultConfig(t.TempDir())
	if err := errors.Join(process.DecodeYAML("docs/carbon.md", []byte(example), &cfg), cfg.Carbon.Validate()); err != nil || len(cfg.Carbon.Chains) != 2 {
		t.Errorf("the manual's example: %+v, %v", cfg.Carbon.Chains, err)
	}
	f("steps is empty", "carbon.chains=[{zone: FR, boundary: direct}]")
	f("write direct or lifecycle", "carbon.chains=[{zone: FR, boundary: both, steps: [{resolution: hourly}]}]")
	f("resolution of step 1", "carbon.chains=[{zone: FR, boundary: direct, steps: [{resolution: daily}]}]")
	f("write https", "carbon.rte.url=http://example.org")
	f("factors_file and factors_name", "carbon.entsoe.factors_file=x.csv")
	f("write lifecycle or direct", "carbon.electricity_maps.boundary=both")
}
