package evidence

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/wattledger/wattledger/aggregator/keyring"
	"github.com/wattledger/wattledger/aggregator/ledger"
	"github.com/wattledger/wattledger/aggregator/transparency"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

var update = flag.Bool("update", false, "write the vectors anew; a change of theirs changes every id and root: it needs a new edition of the rules")

const vectorFile = "../../docs/ledger-vectors.json"

// vectors are a batch with all that its root is made from, for whoever writes this anew.
type vectors struct {
	Comment     string              `json:"comment"`
	Secret      string              `json:"secret"`
	Site        string              `json:"site"`
	SiteKey     string              `json:"site_key"`
	Batch       uint64              `json:"batch"`
	BatchKey    string              `json:"batch_key"`
	Entries     []map[string]string `json:"entries"`
	Subtotals   []map[string]string `json:"subtotals"`
	SiteLeaves  []string            `json:"site_leaves"`
	Cuts        []string            `json:"cuts"`
	DeviceHours []string            `json:"device_hours"`
	Header      map[string]string   `json:"header"`
	Root        string              `json:"root"`
	LogRecord   string              `json:"log_record"`
	VKey        string              `json:"vkey"`
	Checkpoint  string              `json:"checkpoint"`
}

// vectorBatch is one entry of a tenant with every field set, one of nobody with none that can be left out, and a correction.
func vectorBatch() ledger.Batch {
	return ledger.Batch{
		Site: "fr-1", Number: 0, Previous: "", Hour: 1_769_900_400_000_000, Closing: "lateness", Reason: "no word from node-b",
		Samples: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", SampleRows: 7, Inputs: "in no hash",
		Entries: []record.Entry{
			{
				Site: "fr-1", Hour: "2026-01-31T23:00:00Z", Kind: record.Closing, Account: record.AccountTenant, Node: "node-a", Device: "GPU-1",
				DeviceKind: "gpu", Model: "NVIDIA B200", Tenant: "tenant-a", Project: `p "<&>\`, Allocation: "a1", Workload: "é\u2028\t\x01😀", ModelID: "m",
				Purpose: "fine-tuning", From: 1_769_900_400_000_001, To: 1_769_904_000_000_000, DeviceTime: 3_599_999_250, Unavailable: 1,
				GPU: 9_007_199_254_740_980, CPU: 2, NodeRest: 3, ITShared: 4, Facility: -5, Measured: 9_007_199_254_740_981, Estimated: 1, Modelled: 2,
				Interpolated: 7, BoundLow: 8, BoundHigh: 9, Uncertainty: 14, SMActive: 10, IdleLimit: 15, TicksExpected: 11, TicksRead: 12,
				Carbon: 13, CarbonMarket: 16, CarbonEmbodied: 17, Water: 18, HeatReused: 19,
				Rules: "2026-12", Split: "slots", RestSource: "meter bmc", SharedSource: "meter net", FacilitySource: "declared PUE 1200",
				WaterSource: "meter w", HeatSource: "meter h", FactorMarket: "PPA", FactorEmbodied: "PCF",
				Factor: "Ember 2024 FR lifecycle yearly 44180000µg/kWh", Flags: []string{"interpolated", "rest_modelled"},
			},
			{
				Site: "fr-1", Hour: "2026-01-31T23:00:00Z", Kind: record.Closing, Account: record.AccountUnallocated, Node: "node-a", Device: "GPU-0",
				From: 1_769_900_400_000_000, To: 1_769_904_000_000_000,
			},
			{
				Site: "fr-1", Hour: "2026-01-31T22:00:00Z", Kind: record.Adjustment, Account: record.AccountTenant, Node: "node-a", Device: "GPU-2", Tenant: "tenant-a",
				From: 1_769_896_800_000_000, To: 1_769_900_400_000_000, GPU: -1, Measured: -1, Corrects: "seal:00ff", Reason: "late_data samples",
			},
		},
		Cuts: []record.Cut{
			{
				Site: "fr-1", Device: "GPU-1", Epoch: 5, T: 1_769_904_000_000_000, Boot: "b", Driver: "d", T0: 1, T1: 2, C0: 1<<63 - 1, C1: 4, Run: "r", Integral0: -1,
				Seen0: 3, C: 6, Low: 5, High: 7, Open: true, Interpolated: true, Edition: 8,
			},
			{Site: "fr-1", Device: "GPU-0", T: 1_769_904_000_000_000},
		},
		DeviceHours: []record.DeviceHour{{
			Site: "fr-1", Hour: "2026-01-31T23:00:00Z", Node: "node-a", Device: "GPU-1", Kind: "gpu", Model: "NVIDIA B200", Counter: 1, Estimated: 2, Interpolated: 3,
			Integral: record.NoIntegral, Excess: 4, BoundLow: 5, BoundHigh: 6, Present: unit.Hour, Covered: 7, TicksExpected: 8, TicksRead: 9, Allocated: 10,
			Unallocated: 11, Unavailable: 12, Resets: 13, ClockSteps: 14, Sensor: "gpu_counter", Flags: []string{"second_opinion"},
		}},
	}
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func makeVectors(t *testing.T) vectors {
	t.Helper()
	text := must[[]byte](t)
	secret := ledger.SecretFrom("vectors")
	raw := secret.Reveal() // the vectors' is no secret
	key := secret.Site("fr-1")
	s, err := ledger.Make(vectorBatch(), key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := keyring.MakePublic(dir, "vectors"); err != nil {
		t.Fatal(err)
	}
	keys, _, err := keyring.Open(keyring.DefaultConfig(), dir)
	if err != nil {
		t.Fatal(err)
	}
	batch := key.Batch(0)
	v := vectors{
		Comment: "Test vectors of docs/ledger-format.md. Bytes are hex, canonical forms are text. The secret is for these vectors alone.",
		Secret:  hex.EncodeToString(secretBytes(t, raw)), Site: "fr-1", SiteKey: hexOf(keyBytes(key)), BatchKey: hexOf(keyBytes(batch)), Root: s.Seal.Root, VKey: keys.Verifier,
	}
	for _, l := range s.Lines {
		salt := must[ledger.Hash](t)(key.EntrySalt(l.ID))
		v.Entries = append(v.Entries, map[string]string{
			"canonical": string(l.Canonical), "id": l.ID, "salt": hexOf(salt), "leaf": hexOf(ledger.EntryLeaf(salt, l.Canonical)),
		})
	}
	for _, sub := range s.Subtotals {
		c := text(ledger.CanonicalSubtotal(sub))
		salt, tenant := batch.SubtotalSalt(c), batch.TenantSalt(sub.Tenant)
		v.Subtotals = append(v.Subtotals, map[string]string{
			"canonical": string(c), "salt": hexOf(salt), "tenant_salt": hexOf(tenant), "commitment": hexOf(ledger.Commitment(tenant, sub.Tenant)),
			"digest": hexOf(ledger.SubtotalDigest(salt, c)),
		})
	}
	for _, l := range must[[]ledger.SiteLeaf](t)(ledger.SiteLeaves(batch, s.Subtotals)) {
		v.SiteLeaves = append(v.SiteLeaves, hex.EncodeToString(l[:]))
	}
	for _, c := range s.Cuts {
		v.Cuts = append(v.Cuts, string(text(ledger.CanonicalCut(c))))
	}
	for _, d := range s.DeviceHours {
		v.DeviceHours = append(v.DeviceHours, string(text(ledger.CanonicalDeviceHour(d))))
	}
	header := text(ledger.CanonicalHeader(s.Seal))
	v.Header = map[string]string{
		"canonical": string(header), "salt": hexOf(batch.HeaderSalt(header)), "leaf": hexOf(ledger.HeaderLeaf(batch.HeaderSalt(header), header)),
	}
	v.LogRecord = string(text(ledger.LogRecordOf(s.Seal).Canonical()))
	var tree transparency.Tree
	if err := tree.Add([]byte(v.LogRecord)); err != nil {
		t.Fatal(err)
	}
	root, err := tree.Root(1)
	if err != nil {
		t.Fatal(err)
	}
	v.Checkpoint = string(text(transparency.Checkpoint{Origin: keys.Signer.Name(), Size: 1, Root: root}.Sign(keys.Signer)))
	if _, err := note.NewVerifier(keys.Verifier); err != nil {
		t.Fatal(err)
	}
	return v
}

// secretBytes and keyBytes look into what the packages never show.
func secretBytes(t *testing.T, revealed string) []byte {
	t.Helper()
	s := must[ledger.Secret](t)(ledger.ParseSecret(revealed))
	k := keyBytes(s)
	return k[:]
}

func keyBytes(v any) ledger.Hash {
	f := reflect.ValueOf(v).FieldByName("key")
	var out ledger.Hash
	for i := range out {
		out[i] = byte(f.Index(i).Uint())
	}
	return out
}

// Ids and roots are hashes of these bytes, kept for ever: they may not move.
func TestVectors(t *testing.T) {
	v := makeVectors(t)
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(vectorFile, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the vectors are now\n%s\n(go test ./aggregator/evidence -run TestVectors -update writes them)", b.String())
	}
}

// A field that the vectors leave out may move unseen.
func TestTheVectorsSetEveryField(t *testing.T) {
	b := vectorBatch()
	f := func(v any, but ...string) {
		t.Helper()
		s := reflect.ValueOf(v)
		for i := range s.NumField() {
			if name := s.Type().Field(i).Name; s.Field(i).IsZero() && !strings.Contains(strings.Join(but, " "), name) {
				t.Errorf("%s.%s is not set", s.Type(), name)
			}
		}
	}
	f(b.Entries[0], "Corrects", "Reason")
	f(b.Cuts[0])
	f(b.DeviceHours[0])
}

// Other software, written from the specification alone, finds the same.
func TestPythonAgrees(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("there is no python3, which docs/verify.py needs: apt-get install python3")
	}
	script, err := filepath.Abs("../../docs/verify.py")
	if err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (string, bool) {
		out, err := exec.CommandContext(t.Context(), python, append([]string{"-I", script}, args...)...).CombinedOutput()
		return string(out), err == nil
	}
	if out, ok := run(vectorFile); !ok {
		t.Errorf("the vectors: %s", out)
	}
	b := newBook(t)
	key := filepath.Join(t.TempDir(), "vkey")
	if err := os.WriteFile(key, []byte(b.verifier), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tenant := range []string{"", "t2"} {
		dir := t.TempDir()
		if _, err := WriteBundle(t.Context(), b, dir, Export{Secret: b.secret, Verifier: b.verifier, Tenant: tenant}); err != nil {
			t.Fatal(err)
		}
		if out, ok := run(dir, key); !ok || !strings.Contains(out, "6 seals") {
			t.Errorf("a bundle of %q: %s", tenant, out)
		}
		// A forger makes the sums fit; the roots remain.
		whole := b.bundled(t, tenant)
		name := "batches/s/00000001.jsonl"
		changed := rehash(with(whole, name, []byte(strings.Replace(string(whole[name].Data), `"carbon_ug":5`, `"carbon_ug":4`, 1))))
		for _, n := range []string{name, sumsFile} {
			if err := os.WriteFile(filepath.Join(dir, n), changed[n].Data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if out, ok := run(dir); ok || !strings.Contains(out, "batch 1 of s") {
			t.Errorf("a forged bundle of %q: %s", tenant, out)
		}
	}
}
