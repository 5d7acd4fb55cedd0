package ledger

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gowebpki/jcs"
	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

var key = SecretFrom("test").Site("s")

// drawn fills every field of a struct with anything that can be booked.
func drawn[T any](t *rapid.T) T {
	var v T
	s := reflect.ValueOf(&v).Elem()
	for i := range s.NumField() {
		f, name := s.Field(i), s.Type().Field(i).Name
		_, option, _ := strings.Cut(s.Type().Field(i).Tag.Get("json"), ",")
		limit := int64(maxInteger)
		if option == "string" {
			limit = 1<<63 - 1
		}
		switch f.Kind() {
		case reflect.String:
			f.SetString(rapid.String().Draw(t, name))
		case reflect.Bool:
			f.SetBool(rapid.Bool().Draw(t, name))
		case reflect.Int, reflect.Int64:
			f.SetInt(rapid.Int64Range(-limit, limit).Draw(t, name))
		case reflect.Uint32:
			f.SetUint(uint64(rapid.Uint32().Draw(t, name)))
		case reflect.Uint64:
			f.SetUint(rapid.Uint64Range(0, maxInteger).Draw(t, name))
		case reflect.Slice:
			list := rapid.SliceOfN(rapid.String(), 0, 4).Draw(t, name)
			f.Set(reflect.ValueOf(append([]string{}, list...)))
		default:
			t.Fatalf("%s is a %s", name, f.Kind())
		}
	}
	return v
}

// What is written is what other software makes of the same values, and reads back as what it was.
func holds[T any](t *testing.T, f form) {
	t.Helper()
	rapid.Check(t, func(t *rapid.T) {
		v := drawn[T](t)
		got, err := f.append(nil, v)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		want, err := jcs.Transform(plain)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("written as\n%s\nRFC 8785 by other software\n%s", got, want)
		}
		// And by way of a map, which sorts its keys.
		d := json.NewDecoder(bytes.NewReader(plain))
		d.UseNumber()
		var m map[string]any
		if err := d.Decode(&m); err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(m); err != nil {
			t.Fatal(err)
		}
		// encoding/json escapes two characters more than RFC 8785 does.
		viaMap := strings.NewReplacer(`\\`, `\\`, `\u2028`, "\u2028", `\u2029`, "\u2029").Replace(strings.TrimSpace(b.String()))
		if string(got) != viaMap {
			t.Fatalf("written as\n%s\nby way of a map\n%s", got, viaMap)
		}
		back, err := parse[T](got, f)
		if err != nil || !reflect.DeepEqual(back, v) {
			t.Fatalf("read back as %+v, %v; was %+v", back, err, v)
		}
	})
}

func TestCanonicalJSONIsRFC8785(t *testing.T) {
	holds[record.Entry](t, entryForm)
	holds[header](t, headerForm)
	holds[subtotal](t, subtotalForm)
	holds[cut](t, cutForm)
	holds[deviceHour](t, deviceHourForm)
}

func TestIntegersBeyond53BitsAreRefused(t *testing.T) {
	f := func(n unit.Millijoules, ok bool) {
		t.Helper()
		b, err := Canonical(record.Entry{GPU: n, Measured: n})
		if (err == nil) != ok || (!ok && !strings.Contains(err.Error(), "gpu_mj")) {
			t.Errorf("%d: %.80s, %v", n, b, err)
		}
	}
	f(1<<53-1, true)
	f(1<<53, false)
	f(-(1<<53 - 1), true)
	f(-(1 << 53), false)
	if _, err := CanonicalCut(record.Cut{C0: -1 << 63, C1: 1<<63 - 1}); err != nil {
		t.Errorf("what a counter said is text of any size: %v", err)
	}
	if _, err := Canonical(record.Entry{Tenant: "\xff"}); err == nil || !strings.Contains(err.Error(), "tenant") {
		t.Errorf("text that is not UTF-8 ends with %v", err)
	}
}

// One entry has one form: any other that reads the same is refused.
func TestOnlyTheCanonicalFormIsRead(t *testing.T) {
	b, err := Canonical(record.Entry{Site: "s", Tenant: "é"})
	if err != nil {
		t.Fatal(err)
	}
	f := func(what, from, to string) {
		t.Helper()
		changed := strings.Replace(string(b), from, to, 1)
		if changed == string(b) {
			t.Fatalf("%s changes nothing", what)
		}
		if e, err := ParseEntry([]byte(changed)); err == nil {
			t.Errorf("%s is read as %+v", what, e)
		}
	}
	f("a space", `:0`, `: 0`)
	f("another order", `"account":"","allocation":""`, `"allocation":"","account":""`)
	f("a field twice", `{"account":""`, `{"account":"","account":""`)
	f("a field more", `{`, `{"a":0,`)
	f("a field less", `"account":"",`, ``)
	f("an escape", `é`, `\u00e9`)
	f("a fraction", `"water_ul":0`, `"water_ul":0.0`)
	f("another case", `"site"`, `"Site"`)
	f("no list", `"flags":[]`, `"flags":null`)
	f("more behind it", `}`, `}{}`)
}

func FuzzParse(f *testing.F) {
	e, _ := Canonical(record.Entry{Site: "s", Flags: []string{"a"}})
	c, _ := CanonicalCut(record.Cut{Site: "s", C: 1 << 62})
	f.Add(e)
	f.Add(c)
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := ParseEntry(b); err == nil {
			if again, err := Canonical(e); err != nil || !bytes.Equal(again, b) {
				t.Errorf("%q is read and written as %q, %v", b, again, err)
			}
		}
		_, _ = ParseCut(b)
		_, _ = ParseHeader(b)
		_, _ = ParseSubtotal(b)
		_, _ = ParseDeviceHour(b)
	})
}

func entries(t *rapid.T) []record.Entry {
	var es []record.Entry
	for i := range rapid.IntRange(1, 20).Draw(t, "n") {
		mj := unit.Millijoules(rapid.Int64Range(0, 1<<40).Draw(t, "mJ"))
		es = append(es, record.Entry{
			Site: "s", Hour: rapid.SampledFrom([]string{"2026-01-31T22:00:00Z", "2026-01-31T23:00:00Z"}).Draw(t, "hour"), Kind: record.Closing,
			Account: record.AccountTenant, Tenant: rapid.SampledFrom([]string{"t", "u"}).Draw(t, "tenant"), Node: "n", Device: fmt.Sprintf("GPU-%d", i/3),
			Allocation: fmt.Sprint(i), GPU: mj, Measured: mj,
		})
	}
	return es
}

func batch(es []record.Entry) Batch {
	return Batch{
		Site: "s", Number: 7, Previous: "00", Hour: 1_769_900_400_000_000, Closing: "complete", Entries: es,
		Cuts:        []record.Cut{{Site: "s", Device: "GPU-1", T: 2, C: 5}, {Site: "s", Device: "GPU-0", T: 1, C: 4}},
		DeviceHours: []record.DeviceHour{{Site: "s", Hour: "2026-01-31T23:00:00Z", Node: "n", Device: "GPU-0", Kind: "gpu"}, {Site: "s", Hour: "2026-01-31T23:00:00Z", Kind: "site"}},
	}
}

// The order in which things are handed over moves nothing, and any change of any of them moves the root.
func TestTheRootIsOfTheContent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		es := entries(t)
		root := func(b Batch) string {
			s, err := Make(b, key)
			if err != nil {
				t.Fatal(err)
			}
			return s.Seal.Root
		}
		want := root(batch(es))
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "order"), 1))
		shuffled := slices.Clone(es)
		rng.Shuffle(len(es), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		other := batch(shuffled)
		slices.Reverse(other.Cuts)
		slices.Reverse(other.DeviceHours)
		other.Inputs = "wl.sample.v1/0=17"
		if root(other) != want {
			t.Fatal("order, or what depends on it, moved the root")
		}
		i := rng.IntN(len(es))
		changed := func(what string, change func(b *Batch)) {
			b := batch(slices.Clone(es))
			change(&b)
			if root(b) == want {
				t.Fatalf("%s goes unnoticed", what)
			}
		}
		changed("an entry less", func(b *Batch) { b.Entries = slices.Delete(b.Entries, i, i+1) })
		changed("a millijoule", func(b *Batch) { b.Entries[i].GPU++; b.Entries[i].Measured++ })
		changed("another tenant", func(b *Batch) { b.Entries[i].Tenant = "v" })
		changed("a cut less", func(b *Batch) { b.Cuts = b.Cuts[1:] })
		changed("a cut's count", func(b *Batch) { b.Cuts[0].Seen0++ })
		changed("a device-hour less", func(b *Batch) { b.DeviceHours = b.DeviceHours[1:] })
		changed("a flag of a device-hour", func(b *Batch) { b.DeviceHours[0].Flags = []string{"x"} })
		changed("the hour", func(b *Batch) { b.Hour += unit.Hour })
		changed("the number", func(b *Batch) { b.Number++ })
		changed("the one before", func(b *Batch) { b.Previous = "01" })
		changed("how it closed", func(b *Batch) { b.Closing = "lateness" })
		changed("why", func(b *Batch) { b.Reason = "x" })
		changed("the digest of the samples", func(b *Batch) { b.Samples = "00" })
		changed("the number of samples", func(b *Batch) { b.SampleRows++ })
	})
}

func TestMakeRefusesWhatCannotBeSealed(t *testing.T) {
	f := func(want string, change func(b *Batch)) {
		t.Helper()
		b := batch([]record.Entry{{Site: "s", Hour: "h", Kind: record.Closing, Account: record.AccountUnallocated, Node: "n", Device: "GPU-0"}})
		change(&b)
		if _, err := Make(b, key); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	f("GPU-0", func(b *Batch) { b.Entries[0].GPU++ })
	f("twice", func(b *Batch) { b.Entries = append(b.Entries, b.Entries[0]) })
	f("of site x", func(b *Batch) { b.Entries[0].Site = "x" })
	f("one place", func(b *Batch) { b.Cuts[1] = b.Cuts[0]; b.Cuts[1].C++ })
	f("no full hour", func(b *Batch) { b.Hour++ })
	if _, err := Make(batch(nil), SiteKey{}); err == nil || !strings.Contains(err.Error(), "no site key") {
		t.Errorf("without a key: %v", err)
	}
	b := batch(nil)
	b.Cuts = append(b.Cuts, b.Cuts[0])
	if s, err := Make(b, key); err != nil || len(s.Cuts) != 2 {
		t.Errorf("the same cut twice counts once: %v, %v", s.Cuts, err)
	}
}

// Subtotals are the sums of their entries, and together those of the seal.
func TestSubtotalsAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, err := Make(batch(entries(t)), key)
		if err != nil {
			t.Fatal(err)
		}
		n, mj := 0, unit.Millijoules(0)
		for _, sub := range s.Subtotals {
			n += sub.Entries
			mj += sub.Measured
		}
		if n != s.Seal.Entries || mj != s.Seal.Measured {
			t.Errorf("subtotals have %d entries and %d mJ, the seal %d and %d", n, mj, s.Seal.Entries, s.Seal.Measured)
		}
		again, err := Recompute(s.Seal, s.Lines, s.Cuts, s.DeviceHours, key)
		if err != nil || !reflect.DeepEqual(again, s) {
			t.Errorf("recomputed as %+v, %v; was %+v", again.Seal, err, s.Seal)
		}
	})
}

// Every numeric field of an entry that can be summed is in its subtotal.
func TestASubtotalForgetsNoSum(t *testing.T) {
	sub := reflect.TypeFor[subtotal]()
	names := map[string]bool{"from_us": true, "to_us": true, "idle_limit": true}
	for i := range sub.NumField() {
		names[sub.Field(i).Tag.Get("json")] = true
	}
	var e record.Entry
	v := reflect.ValueOf(&e).Elem()
	for i := range v.NumField() {
		if v.Field(i).CanInt() {
			v.Field(i).SetInt(1)
			if name := v.Type().Field(i).Tag.Get("json"); !names[name] {
				t.Errorf("%s of an entry is in no subtotal", name)
			}
		}
	}
	var s record.Subtotal
	addToSubtotal(&s, e)
	for i, v := 0, reflect.ValueOf(s); i < v.NumField(); i++ {
		if f := v.Field(i); f.CanInt() && f.Int() != 1 {
			t.Errorf("%s of a subtotal is not summed", v.Type().Field(i).Name)
		}
	}
}

// What stands for a tenant differs from batch to batch, and only who has the salt can open it.
func TestATenantIsHidden(t *testing.T) {
	a, b := key.Batch(1), key.Batch(2)
	if Commitment(a.TenantSalt("t"), "t") == Commitment(b.TenantSalt("t"), "t") {
		t.Error("a tenant can be followed from batch to batch")
	}
	if a.TenantSalt("t") == SecretFrom("test").Site("z").Batch(1).TenantSalt("t") || a.TenantSalt("t") == SecretFrom("other").Site("s").Batch(1).TenantSalt("t") {
		t.Error("a salt is that of another site or deployment")
	}
}

func TestASecretIsNeverPrinted(t *testing.T) {
	s := NewSecret([32]byte{200, 201, 202, 203, 204})
	plain := s.Reveal()
	for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%+v %#v %x", s, s, s), fmt.Sprintf("%+v %#v", s.Site("s"), s.Site("s")), s.LogValue().String()} {
		if strings.Contains(text, hex.EncodeToString(s.key[:4])) || strings.Contains(text, fmt.Sprint(s.key[0])+" "+fmt.Sprint(s.key[1])) || len(text) > 200 {
			t.Errorf("printed as %s", text)
		}
	}
	back, err := ParseSecret(plain)
	if err != nil || back != s {
		t.Errorf("read back with %v", err)
	}
	for _, bad := range []string{"", "x", secretPrefix, plain[:len(plain)-3], secretPrefix + strings.Repeat("A", 43) + "="} {
		if _, err := ParseSecret(bad); err == nil {
			t.Errorf("%q is taken for a secret", bad)
		}
	}
}

// The trees over wattledger-0, wattledger-1, … (ASCII) were computed by other software.
func TestRootHash(t *testing.T) {
	var leaves []Hash
	for i, want := range []string{
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", // RFC 6962, section 2.1: of nothing, the hash of nothing
		"aab793785c5398736a86b0b54e54936e0f54e0d9aa53bf635edf43f49cb2999b",
		"b4456effaaf8c2931dff67f4616eed5c538b34d762de78430b93c45fc0afdb6f",
		"6e9012a76c9f622939aa20326b1e7457f13b3657dee870ea306606ec22d54b2c",
		"24e3a06824efc36a63cd463642a88e1279bfd511923f1e5c82ae957f68eec7ce",
		"cc96386d067f8d667297f7f6eb555393bb396dc2d702ced51973be38e9c61cec",
	} {
		root := RootHash(leaves)
		if got := hex.EncodeToString(root[:]); got != want {
			t.Errorf("the root of %d is %s, want %s", i, got, want)
		}
		leaves = append(leaves, LeafHash(fmt.Appendf(nil, "wattledger-%d", i)))
	}
}

// The tree that keeps a hash for each bit is the one that RFC 6962 defines by halves.
func TestTreeIsByHalves(t *testing.T) {
	var halves func(leaves []Hash) Hash
	halves = func(leaves []Hash) Hash {
		if len(leaves) == 1 {
			return leaves[0]
		}
		k := 1
		for k*2 < len(leaves) {
			k *= 2
		}
		return NodeHash(halves(leaves[:k]), halves(leaves[k:]))
	}
	var tree Tree
	var leaves []Hash
	for i := range 300 {
		leaves = append(leaves, LeafHash(fmt.Append(nil, i)))
		tree.Add(leaves[i])
		if tree.Root() != halves(leaves) || tree.Count() != uint64(len(leaves)) {
			t.Fatalf("the tree over %d leaves is not that by halves", i+1)
		}
	}
}

func TestLeafHash(t *testing.T) {
	empty := LeafHash(nil)
	if got := hex.EncodeToString(empty[:]); got != "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d" {
		t.Errorf("the leaf of nothing is %s", got)
	}
}

func BenchmarkMake(b *testing.B) {
	var es []record.Entry
	for i := range 20_000 {
		es = append(es, record.Entry{
			Site: "s", Hour: "2026-01-31T23:00:00Z", Kind: record.Closing, Account: record.AccountTenant, Node: fmt.Sprintf("node-%04d", i/8),
			Device: fmt.Sprintf("GPU-00000000-0000-0000-0000-%012d", i), DeviceKind: "gpu", Model: "NVIDIA B200", Tenant: fmt.Sprintf("tenant-%02d", i%50),
			Project: "project", Allocation: fmt.Sprint("allocation-", i), Workload: "workload", From: 1_769_900_400_000_000, To: 1_769_904_000_000_000,
			DeviceTime: 3_600_000_000, GPU: 3_000_000_000 + unit.Millijoules(i), Measured: 3_000_000_000 + unit.Millijoules(i), Rules: Rules, Split: "slots",
			Factor: "Ember 2024 FR lifecycle yearly 44180000µg/kWh", FacilitySource: "declared PUE 1200", Flags: []string{"rest_modelled", "pue_modelled"},
		})
	}
	for b.Loop() {
		if _, err := Make(batch(es), key); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(es))*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}
