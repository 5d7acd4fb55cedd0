package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// day is a demo to be played: the same values give the same ledger.
type day struct {
	seed  uint64
	start time.Time
	hours int
}

// short is the day most cases use: short, and the same for all, so that they can be compared.
var short = day{seed: 7, start: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), hours: 2}

// args are a demo's, less --once and --json.
func (d day) args(t *testing.T, data, out string) []string {
	t.Helper()
	return []string{
		"demo", "--seed", strconv.FormatUint(d.seed, 10), "--start", d.start.Format(time.RFC3339), "--hours", strconv.Itoa(d.hours),
		"--data", data, "--out", out, "--library", binaries(t).library,
		"--clickhouse-listen", "127.0.0.1:0", "--kafka-listen", "127.0.0.1:0",
	}
}

// once starts a demo that ends by itself.
func (d day) once(t *testing.T, data, out string) *running {
	t.Helper()
	return wattledger(t, options{limit: 8 * time.Minute}, append(d.args(t, data, out), "--once", "--json")...)
}

// result is the last line of a demo, by the names of design §10. Pointers tell what is 0 from what is not there.
type result struct {
	Samples struct {
		Sent, Stored, Refused, Repeated *int64
	}
	Energy struct {
		Metered, Tenants, Unallocated *int64
		NodeRest                      *int64 `json:"node_rest"`
		Facility, Residual            *int64
	} `json:"energy_mj"`
	Device struct{ Residual *int64 } `json:"device_ms"`
	Truth  struct {
		RuleError    *int64   `json:"rule_error_mj"`
		MaxTenantPPM *float64 `json:"max_tenant_error_ppm"`
		Outside      *int64   `json:"outside_bound"`
	}
	Wall  map[string]float64 `json:"wall_seconds"`
	Error string
}

// proven waits for a demo and checks everything that must hold of each.
func proven(t *testing.T, r *running) result {
	t.Helper()
	code := r.wait()
	var res result
	if err := json.Unmarshal(r.lastLine(), &res); err != nil {
		t.Fatalf("last line %q: %v", r.lastLine(), err)
	}
	if code != 0 || res.Error != "" {
		t.Errorf("ended with %d: %s", code, res.Error)
	}
	equal := func(name string, got *int64, want int64) {
		t.Helper()
		switch {
		case got == nil:
			t.Errorf("%s is missing", name)
		case *got != want:
			t.Errorf("%s is %d, want %d", name, *got, want)
		}
	}
	positive := func(name string, got *int64) {
		t.Helper()
		if got == nil || *got <= 0 {
			t.Errorf("%s is missing or not positive", name)
		}
	}
	positive("samples.sent", res.Samples.Sent)
	if res.Samples.Sent != nil {
		equal("samples.stored", res.Samples.Stored, *res.Samples.Sent)
	}
	equal("samples.refused", res.Samples.Refused, 0)
	if res.Samples.Repeated == nil {
		t.Error("samples.repeated is missing")
	}
	positive("energy_mj.metered", res.Energy.Metered)
	positive("energy_mj.tenants", res.Energy.Tenants)
	positive("energy_mj.unallocated", res.Energy.Unallocated)
	positive("energy_mj.node_rest", res.Energy.NodeRest)
	positive("energy_mj.facility", res.Energy.Facility)
	equal("energy_mj.residual", res.Energy.Residual, 0)
	equal("device_ms.residual", res.Device.Residual, 0)
	equal("truth.rule_error_mj", res.Truth.RuleError, 0)
	equal("truth.outside_bound", res.Truth.Outside, 0)
	if res.Truth.MaxTenantPPM == nil {
		t.Error("truth.max_tenant_error_ppm is missing")
	}
	if res.Wall["total"] <= 0 {
		t.Error("wall_seconds.total is missing")
	}
	if t.Failed() {
		t.FailNow()
	}
	return res
}

// played is a day that was played undisturbed.
type played struct {
	data, out string
	result    result
}

type playedOnce struct {
	sync.Mutex
	played *played
}

var undisturbedOnce, wholeDayOnce playedOnce

// demoDay is the day that the README shows, as `wattledger demo --once` plays it.
var demoDay = day{seed: 7, start: short.start, hours: 24}

// undisturbed is the short day, played once for all cases that compare with it or read it.
func undisturbed(t *testing.T) played {
	t.Helper()
	return undisturbedOnce.play(t, "undisturbed", short)
}

// wholeDay is the demo's day, played once for all cases that look at it as a whole.
func wholeDay(t *testing.T) played {
	t.Helper()
	return wholeDayOnce.play(t, "whole-day", demoDay)
}

func (o *playedOnce) play(t *testing.T, name string, d day) played {
	t.Helper()
	o.Lock()
	defer o.Unlock()
	if o.played == nil {
		dir := filepath.Join(binaries(t).dir, name)
		p := played{data: filepath.Join(dir, "data"), out: filepath.Join(dir, "out")}
		p.result = proven(t, d.once(t, p.data, p.out))
		o.played = &p
	}
	return *o.played
}

// files are the contents of a folder by path.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(dir, name))
		found[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// sameFiles fails unless two folders hold the same to the byte.
func sameFiles(t *testing.T, got, want string) {
	t.Helper()
	g, w := files(t, got), files(t, want)
	if len(w) == 0 || w["ledger.jsonl"] == "" {
		t.Fatalf("%s: no ledger to compare with", want)
	}
	for _, name := range slices.Sorted(maps.Keys(w)) {
		if body, ok := g[name]; !ok {
			t.Errorf("%s: missing", name)
		} else if body != w[name] {
			t.Errorf("%s: %s", name, firstDifference(body, w[name]))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(g)) {
		if _, ok := w[name]; !ok {
			t.Errorf("%s: not expected", name)
		}
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d of %d differs:\n got %.400s\nwant %.400s", i+1, len(w), g[i], w[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}

// query asks the embedded engine of a data folder over HTTP, as curl would. Values come separated by tabs.
func query(ctx context.Context, data, sql string) (string, error) {
	endpoint, err := os.ReadFile(filepath.Join(data, "clickhouse", "endpoint"))
	if err != nil {
		return "", err
	}
	password, err := os.ReadFile(filepath.Join(data, "clickhouse", "password"))
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+strings.TrimSpace(string(endpoint))+"/?database=wattledger", strings.NewReader(sql))
	if err != nil {
		return "", err
	}
	req.SetBasicAuth("default", strings.TrimSpace(string(password)))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", res.Status, body)
	}
	return string(bytes.TrimSpace(body)), err
}

// number is a query for one number.
func number(data, sql string) (int64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	body, err := query(ctx, data, sql)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(body, 10, 64)
}

// count is a number that may not be there yet: −1 while the engine does not answer.
func count(data, sql string) int64 {
	n, err := number(data, sql)
	if err != nil {
		return -1
	}
	return n
}
