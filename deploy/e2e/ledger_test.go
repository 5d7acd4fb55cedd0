package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The ledger of a demo is checked by the command that an auditor uses, each kind of entry is explained down to what the ledger
// holds, and in a copy in which one bit of a stored figure was turned the check names it.
func TestTheLedgerOfTheDemo(t *testing.T) {
	t.Parallel() // its data are its own
	data := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(data, os.DirFS(undisturbed(t).data)); err != nil {
		t.Fatal(err)
	}
	// What is copied can be read by all, which is not taken for a secret.
	keys, err := filepath.Glob(filepath.Join(data, "keys", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(keys, filepath.Join(data, "clickhouse", "password")) {
		if err := os.Chmod(name, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	embeddedClickHouse(t, data)
	run := func(code int, args ...string) map[string]any {
		t.Helper()
		r := wattledger(t, options{limit: 3 * time.Minute}, append(args, "--embedded", "--data", data, "--json")...)
		if got := r.wait(); got != code {
			t.Fatalf("%s: ended with %d, want %d: %s", r.line, got, code, r.err.String())
		}
		var out map[string]any
		if err := json.Unmarshal(r.lastLine(), &out); err != nil {
			t.Fatalf("%s: %v", r.lastLine(), err)
		}
		return out
	}
	if found := run(0, "ledger", "verify")["found"]; found != 0.0 {
		t.Errorf("verify found %v faults in an untouched ledger", found)
	}
	part := run(0, "ledger", "verify", "--from", "2026-03-01T01:00:00Z")["recomputed"].(map[string]any)
	if part["samples_from"] != "2026-03-01T01:00:00Z" || len(part["differences"].(map[string]any)) == 0 {
		t.Errorf("the second hour alone: %v", part)
	}
	if d := run(0, "doctor"); d["hours"] != 4.0 || d["refused"] != 0.0 {
		t.Errorf("doctor looked at %v hours and found %v records refused", d["hours"], d["refused"])
	}
	for what, condition := range map[string]string{
		"held whole": "account = 'tenant' AND split = 'slots' AND device_time > 3000000000", "shared": "account = 'tenant' AND split = 'slots' AND device_time < 1900000000",
		"an instance": "account = 'tenant' AND device_kind = 'mig'", "held idle": "account = 'held_idle'",
		"nobody's": "account = 'unallocated' AND gpu_mj > 0", "of a superchip": "account = 'tenant' AND cpu_mj > 0",
	} {
		id, err := query(t.Context(), data, "SELECT id FROM entry WHERE "+condition+" ORDER BY id LIMIT 1")
		if err != nil || id == "" {
			t.Errorf("%s: no entry, %v", what, err)
			continue
		}
		x := run(0, "ledger", "explain", id[:16])
		if steps, _ := x["steps"].([]any); x["agrees"] != true || x["id"] != id || len(steps) < 4 {
			t.Errorf("%s: entry %s is explained in %d steps, agrees: %v", what, id, len(steps), x["agrees"])
		}
	}
	r := wattledger(t, options{}, "ledger", "explain", "ffffffff", "--embedded", "--data", data)
	if code := r.wait(); code != 1 || !strings.Contains(r.err.String(), "ledger show entries") {
		t.Errorf("an entry that is not there: ended with %d, %s", code, r.err.String())
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	found, err := query(ctx, data, "SELECT id, device FROM entries WHERE account = 'tenant' ORDER BY id LIMIT 1")
	if err != nil {
		t.Fatal(err)
	}
	id, device, _ := strings.Cut(found, "\t")
	if _, err := query(ctx, data, fmt.Sprintf("ALTER TABLE entries UPDATE gpu_mj = bitXor(gpu_mj, 1) WHERE id = '%s' SETTINGS mutations_sync = 2", id)); err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprint(run(1, "ledger", "verify", "--seals-only")["findings"]); !strings.Contains(text, device) || !strings.Contains(text, "gpu_mj is stored as") {
		t.Errorf("one bit of gpu_mj of an entry of %s was turned, and the check says %s", device, text)
	}
}
