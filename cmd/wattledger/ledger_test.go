package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/aggregator/clickhouse"
	"github.com/wattledger/wattledger/aggregator/keyring"
	"github.com/wattledger/wattledger/aggregator/ledger"
	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// The ledger is shown, exported, checked offline and in the database, and a changed figure is named.
func TestLedgerCommands(t *testing.T) {
	s := startServers(t)
	dir := t.TempDir()
	code, made := s.run("ledger", "keygen", "--dir", filepath.Join(dir, "keys"), "--origin", "ledger.example.org/test")
	if code != process.ExitDone || !strings.HasPrefix(fmt.Sprint(made["vkey"]), "ledger.example.org/test+") {
		t.Fatalf("keygen ends with %d: %v", code, made)
	}
	if code, _ := s.run("ledger", "keygen", "--dir", filepath.Join(dir, "keys")); code != process.ExitFailed {
		t.Errorf("keygen over keys ends with %d", code)
	}
	cfg := keyring.Config{SiteSecretFile: fmt.Sprint(made["site_secret_file"]), NoteKeyFile: fmt.Sprint(made["note_key_file"]), Origin: "ledger.example.org/test"}
	keyFlags := []string{"--set", "ledger.site_secret_file=" + cfg.SiteSecretFile, "--set", "ledger.note_key_file=" + cfg.NoteKeyFile}
	run := func(args ...string) (int, map[string]any) {
		return s.run(append(append([]string{"ledger"}, args...), keyFlags...)...)
	}
	book(t, s, cfg)

	code, got := run("show")
	if seals, _ := got["seals"].([]any); code != process.ExitDone || len(seals) != 2 {
		t.Errorf("show ends with %d: %v", code, got)
	}
	code, got = run("show", "entries", "--tenant", "t1", "--device", "GPU-1", "--limit", "1")
	list, _ := got["entries"].([]any)
	if code != process.ExitDone || len(list) != 1 || got["left_out"] != 1.0 {
		t.Errorf("show entries ends with %d: %v", code, got)
	}
	if code, _ := run("show", "--tenant", "t1"); code != process.ExitUsage {
		t.Errorf("seals of a tenant end with %d", code)
	}
	if code, got := run("export", "--out", filepath.Join(dir, "of-nobody"), "--tenant", "t9"); code != process.ExitFailed || !strings.Contains(fmt.Sprint(got["error"]), "no entry of tenant") {
		t.Errorf("export of a tenant without lines ends with %d: %v", code, got)
	}
	for _, tenant := range []string{"", "t1"} {
		out := filepath.Join(dir, "bundle"+tenant)
		if code, got := run("export", "--out", out, "--tenant", tenant); code != process.ExitDone {
			t.Fatalf("export ends with %d: %v", code, got)
		}
		if code, got := s.run("ledger", "verify", "--bundle", out, "--vkey", fmt.Sprint(made["vkey_file"])); code != process.ExitDone || got["found"] != 0.0 || got["checkpoint"] != true {
			t.Errorf("verify --bundle ends with %d: %v", code, got)
		}
		file := filepath.Join(out, "batches", "s", "00000001.jsonl")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(strings.Replace(string(text), `"gpu_mj":1001`, `"gpu_mj":1002`, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, got := s.run("ledger", "verify", "--bundle", out); code != process.ExitFailed || !strings.Contains(fmt.Sprint(got["findings"]), "batch:1") {
			t.Errorf("verify of a changed bundle ends with %d: %v", code, got)
		}
	}
	checkpoint := filepath.Join(dir, "bundle", "checkpoint")
	code, got = run("verify", "--seals-only", "--checkpoint", checkpoint)
	if code != process.ExitDone || got["entries"] != 4.0 || got["found"] != 0.0 {
		t.Errorf("verify ends with %d: %v", code, got)
	}
	s.exec("ALTER TABLE entries UPDATE gpu_mj = gpu_mj + 1 WHERE batch = 1 AND device = 'GPU-1' SETTINGS mutations_sync = 2")
	code, got = run("verify", "--seals-only")
	if code != process.ExitFailed || !strings.Contains(fmt.Sprint(got["findings"]), "gpu_mj is stored as 1002, sealed as 1001") {
		t.Errorf("verify of a changed ledger ends with %d: %v", code, got)
	}
	// Keys that the ledger was not sealed with prove nothing.
	if code, _ := s.run("ledger", "verify", "--seals-only", "--data", t.TempDir()); code != process.ExitFailed {
		t.Errorf("verify without keys ends with %d", code)
	}
}

// book books two batches and publishes them.
func book(t *testing.T, s *servers, cfg keyring.Config) {
	t.Helper()
	keys, _, err := keyring.Open(cfg, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	store, err := clickhouse.New(s.conn)
	if err != nil {
		t.Fatal(err)
	}
	previous := ""
	for n := range uint64(2) {
		at := (500_000 + unit.Micros(n)) * unit.Hour
		e := record.Entry{
			Site: "s", Hour: at.Time().Format(time.RFC3339), Kind: record.Closing, Account: record.AccountTenant, Tenant: "t1", Node: "n", Device: "GPU-1",
			From: at, To: at + unit.Hour, GPU: 1001, Measured: 1001, Rules: ledger.Rules,
		}
		nobody := e
		nobody.Account, nobody.Tenant, nobody.Device = record.AccountUnallocated, "", "GPU-2"
		sealed, err := ledger.Make(ledger.Batch{Site: "s", Number: n, Previous: previous, Hour: at, Closing: "complete", Entries: []record.Entry{e, nobody}}, keys.Secret.Site("s"))
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Append(t.Context(), sealed); err != nil {
			t.Fatal(err)
		}
		previous = sealed.Seal.Root
	}
	log, err := keys.Log(store, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Update(t.Context()); err != nil {
		t.Fatal(err)
	}
}
