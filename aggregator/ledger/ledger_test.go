package ledger

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

var update = flag.Bool("update", false, "write the golden entries anew; a change of theirs changes every id and root: it needs a new edition of the rules")

// entries are one of a tenant with every field set, one of nobody with none that can be left out, and a correction.
func entries() []record.Entry {
	return []record.Entry{
		{
			Site: "fr-1", Hour: "2026-01-31T23:00:00Z", Kind: record.Closing, Account: record.AccountTenant, Node: "node-a", Device: "GPU-1",
			DeviceKind: "gpu", Model: "NVIDIA B200", Tenant: "tenant-a", Project: `p "<&>"`, Allocation: "a1", Workload: "é\u2028\t", ModelID: "m",
			Purpose: "fine-tuning", From: 1_769_900_400_000_001, To: 1_769_904_000_000_000, DeviceTime: 3_599_999_250, Unavailable: 0,
			GPU: 9_007_199_254_740_993, CPU: 2, NodeRest: 3, ITShared: 4, Facility: -5, Measured: 9_007_199_254_740_994, Estimated: 1, Modelled: 2,
			Interpolated: 7, BoundLow: 8, BoundHigh: 9, Uncertainty: 14, SMActive: 10, IdleLimit: 15, TicksExpected: 11, TicksRead: 12, Carbon: 13, CarbonMarket: 16, CarbonEmbodied: 17, Water: 18, HeatReused: 19,
			Rules: "2026-11", Split: "slots", RestSource: "meter bmc", SharedSource: "meter net", FacilitySource: "declared PUE 1200",
			WaterSource: "meter w", HeatSource: "meter h", FactorMarket: "PPA", FactorEmbodied: "PCF",
			Factor: "Ember 2024 FR lifecycle yearly 44180000µg/kWh", Flags: []string{"interpolated", "rest_modelled"},
		},
		{
			Site: "fr-1", Hour: "2026-01-31T23:00:00Z", Kind: record.Closing, Account: record.AccountUnallocated, Node: "node-a", Device: "GPU-0",
			From: 1_769_900_400_000_000, To: 1_769_904_000_000_000,
		},
		{
			Site: "fr-1", Hour: "2026-01-31T23:00:00Z", Kind: record.Adjustment, Account: record.AccountTenant, Node: "node-a", Device: "GPU-2", Tenant: "tenant-a",
			From: 1_769_900_400_000_000, To: 1_769_904_000_000_000, GPU: -1, Measured: -1, Corrects: "00ff", Reason: "late sample",
		},
	}
}

// Ids and roots are hashes of these bytes, kept for ever: they may not move.
func TestCanonicalBytes(t *testing.T) {
	const file = "testdata/canonical.txt"
	lines, err := Lines(entries())
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&b, "%s %s\n", l.ID, l.Canonical)
	}
	seal := Seal(lines, "fr-1", 7, "00")
	fmt.Fprintf(&b, "root %s\n", seal.Root)
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("written as\n%s\nand was as\n%s", b.String(), want)
	}
	if seal.Entries != 3 || seal.Measured != 9_007_199_254_740_993 || seal.Batch != 7 || seal.Previous != "00" || seal.Rules != Rules {
		t.Errorf("seal is %+v", seal)
	}
}

// A field that the golden entry leaves out may move unseen.
func TestTheGoldenEntriesSetEveryField(t *testing.T) {
	set := map[string]bool{}
	for _, e := range entries() {
		v := reflect.ValueOf(e)
		for i := range v.NumField() {
			if !v.Field(i).IsZero() {
				set[v.Type().Field(i).Name] = true
			}
		}
	}
	for i := range reflect.TypeFor[record.Entry]().NumField() {
		if name := reflect.TypeFor[record.Entry]().Field(i).Name; !set[name] && name != "Unavailable" {
			t.Errorf("no golden entry has a %s", name)
		}
	}
}

func TestCanonicalBytesReadBack(t *testing.T) {
	for _, e := range entries() {
		b, err := Canonical(e)
		if err != nil {
			t.Fatal(err)
		}
		var back record.Entry
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatal(err)
		}
		again, err := Canonical(back)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("read back and written again: %s, %v; was %s", again, err, b)
		}
	}
}

func TestLinesRefuseWhatBreaksTheRules(t *testing.T) {
	es := entries()
	es[1].GPU++
	if _, err := Lines(es); err == nil || !strings.Contains(err.Error(), "GPU-0") {
		t.Errorf("got %v", err)
	}
}

// The order in which entries are handed over moves neither ids nor root, and any change of one moves the root.
func TestTheRootIsOfTheContent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var es []record.Entry
		for i := range rapid.IntRange(1, 20).Draw(t, "n") {
			mj := unit.Millijoules(rapid.Int64Range(0, 1<<40).Draw(t, "mJ"))
			es = append(es, record.Entry{
				Site: "s", Hour: "h", Kind: record.Closing, Account: record.AccountTenant, Tenant: "t", Node: "n", Device: fmt.Sprintf("GPU-%d", i/3),
				Allocation: fmt.Sprint(i), GPU: mj, Measured: mj,
			})
		}
		root := func(es []record.Entry) string {
			lines, err := Lines(es)
			if err != nil {
				t.Fatal(err)
			}
			return Seal(lines, "s", 0, "").Root
		}
		want := root(es)
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "order"), 1))
		shuffled := slices.Clone(es)
		rng.Shuffle(len(es), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if root(shuffled) != want {
			t.Fatal("order moved the root")
		}
		i := rng.IntN(len(es))
		if root(slices.Delete(slices.Clone(es), i, i+1)) == want || root(append(slices.Clone(es), es[i])) == want {
			t.Fatal("an entry more or less goes unnoticed")
		}
		shuffled[i].GPU++
		shuffled[i].Measured++
		if root(shuffled) == want {
			t.Fatal("a millijoule goes unnoticed")
		}
	})
}

// The trees over wattledger-0, wattledger-1, … (ASCII) were computed by other software.
func TestRootHash(t *testing.T) {
	for i, want := range []string{
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", // RFC 6962, section 2.1: of nothing, the hash of nothing
		"aab793785c5398736a86b0b54e54936e0f54e0d9aa53bf635edf43f49cb2999b",
		"b4456effaaf8c2931dff67f4616eed5c538b34d762de78430b93c45fc0afdb6f",
		"6e9012a76c9f622939aa20326b1e7457f13b3657dee870ea306606ec22d54b2c",
		"24e3a06824efc36a63cd463642a88e1279bfd511923f1e5c82ae957f68eec7ce",
		"cc96386d067f8d667297f7f6eb555393bb396dc2d702ced51973be38e9c61cec",
	} {
		var leaves [][32]byte
		for k := range i {
			leaves = append(leaves, LeafHash(fmt.Appendf(nil, "wattledger-%d", k)))
		}
		root := RootHash(leaves)
		if got := hex.EncodeToString(root[:]); got != want {
			t.Errorf("the root of %d is %s, want %s", i, got, want)
		}
	}
}

// The leaf of the empty string, and a data buffer with room behind it that hashing must not write into.
func TestLeafHash(t *testing.T) {
	empty := LeafHash(nil)
	if got := hex.EncodeToString(empty[:]); got != "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d" {
		t.Errorf("the leaf of nothing is %s", got)
	}
	data := []byte("abc")
	LeafHash(data[:1])
	if string(data) != "abc" {
		t.Errorf("hashing wrote into its input: %q", data)
	}
}
