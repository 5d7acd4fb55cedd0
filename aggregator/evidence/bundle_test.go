package evidence

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/wattledger/wattledger/aggregator/ledger"
	"github.com/wattledger/wattledger/aggregator/transparency"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

const hour0 = 500_000 * unit.Hour

// book is a ledger in memory.
type book struct {
	secret   ledger.Secret
	signer   note.Signer
	verifier string
	key      note.Verifier
	batches  []Batch
	rows     []LogRow
	signed   []CheckpointRow
}

func (b *book) Seals(context.Context) ([]record.Seal, error) {
	var out []record.Seal
	for _, l := range b.batches {
		out = append(out, l.Seal)
	}
	return out, nil
}

func (b *book) Batches(_ context.Context, seals []record.Seal) ([]Batch, error) {
	var out []Batch
	for _, s := range seals {
		for _, l := range b.batches {
			if l.Seal == s {
				out = append(out, l)
			}
		}
	}
	return out, nil
}

func (b *book) Unsealed(context.Context) (map[string]int64, error)      { return nil, nil }
func (b *book) LogRows(context.Context) ([]LogRow, error)               { return b.rows, nil }
func (b *book) CheckpointRows(context.Context) ([]CheckpointRow, error) { return b.signed, nil }

func entryAt(site string, i int, at unit.Micros, tenant string) record.Entry {
	e := record.Entry{
		Site: site, Hour: at.Time().Format(time.RFC3339), Kind: record.Closing, Account: record.AccountTenant, Node: "n", Device: fmt.Sprint("GPU-", i),
		DeviceKind: "gpu", Model: "NVIDIA B200", Tenant: tenant, Workload: "a \"b\" <é\u2028>", From: at, To: at + unit.Hour, DeviceTime: 3_600_000_000,
		GPU: unit.Millijoules(1000 + i), Measured: unit.Millijoules(1000 + i), Carbon: 5, Rules: ledger.Rules,
	}
	if tenant == "" {
		e.Account = record.AccountUnallocated
	}
	return e
}

// newBook has two sites of three batches each, under one checkpoint.
func newBook(t testing.TB) *book {
	t.Helper()
	skey, vkey, err := note.GenerateKey(nil, "log.example.org/test")
	if err != nil {
		t.Fatal(err)
	}
	b := &book{secret: ledger.SecretFrom("test"), verifier: vkey}
	if b.signer, err = note.NewSigner(skey); err != nil {
		t.Fatal(err)
	}
	if b.key, err = note.NewVerifier(vkey); err != nil {
		t.Fatal(err)
	}
	previous := map[string]string{}
	for n := range uint64(3) {
		for _, site := range []string{"../north", "s"} {
			at := hour0 + unit.Micros(n)*unit.Hour
			late := entryAt(site, 9, at-unit.Hour, "t2")
			late.Kind, late.Corrects, late.Reason = record.Adjustment, "seal:"+previous[site], "late_data x"
			entries := []record.Entry{entryAt(site, 0, at, "t1"), entryAt(site, 1, at, "t1"), entryAt(site, 2, at, ""), entryAt(site, 3, at, "t2")}
			if n > 0 {
				entries = append(entries, late)
			}
			b.book(t, ledger.Batch{
				Site: site, Number: n, Previous: previous[site], Hour: at, Closing: "lateness", Reason: "no word from n", Entries: entries,
				Cuts:        []record.Cut{{Site: site, Device: "GPU-0", T: at + unit.Hour, T0: at, C0: 5, C: 5, Low: 5, High: 6, Open: true}, {Site: site, Device: "GPU-1", T: at + unit.Hour, Open: true}},
				DeviceHours: []record.DeviceHour{{Site: site, Hour: at.Time().Format(time.RFC3339), Node: "n", Device: "GPU-0", Kind: "gpu"}},
			})
			previous[site] = b.batches[len(b.batches)-1].Seal.Root
		}
	}
	b.sign(t)
	return b
}

func (b *book) book(t testing.TB, batch ledger.Batch) {
	t.Helper()
	s, err := ledger.Make(batch, b.secret.Site(batch.Site))
	if err != nil {
		t.Fatal(err)
	}
	stored := Batch{Seal: s.Seal, Subtotals: s.Subtotals, Cuts: s.Cuts, DeviceHours: s.DeviceHours}
	for i, l := range s.Lines {
		stored.Entries = append(stored.Entries, Entry{Position: uint32(i), ID: l.ID, Canonical: l.Canonical, Columns: l.Entry})
	}
	b.batches = append(b.batches, stored)
	text, err := ledger.LogRecordOf(s.Seal).Canonical()
	if err != nil {
		t.Fatal(err)
	}
	b.rows = append(b.rows, LogRow{Index: uint64(len(b.rows)), Site: s.Seal.Site, Batch: s.Seal.Batch, Root: s.Seal.Root, Record: text})
}

func (b *book) sign(t testing.TB) {
	t.Helper()
	tree := &transparency.Tree{}
	for _, r := range b.rows {
		if err := tree.Add(r.Record); err != nil {
			t.Fatal(err)
		}
	}
	root, err := tree.Root(tree.Size())
	if err != nil {
		t.Fatal(err)
	}
	msg, err := transparency.Checkpoint{Origin: b.signer.Name(), Size: tree.Size(), Root: root}.Sign(b.signer)
	if err != nil {
		t.Fatal(err)
	}
	b.signed = append(b.signed, CheckpointRow{Size: uint64(tree.Size()), Root: root.String(), Note: msg})
}

// bundled writes a bundle and reads it into memory.
func (b *book) bundled(t testing.TB, tenant string) fstest.MapFS {
	t.Helper()
	dir := t.TempDir()
	names, err := WriteBundle(t.Context(), b, dir, Export{Secret: b.secret, Verifier: b.verifier, Tenant: tenant})
	if err != nil {
		t.Fatal(err)
	}
	out := fstest.MapFS{}
	for _, name := range names {
		data, err := fs.ReadFile(os.DirFS(dir), name)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = &fstest.MapFile{Data: data, Mode: 0o444}
	}
	return out
}

func checked(t testing.TB, fsys fs.FS, o BundleOptions) *Report {
	t.Helper()
	r, err := CheckBundle(t.Context(), fsys, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestABundleHolds(t *testing.T) {
	b := newBook(t)
	r := checked(t, b.bundled(t, ""), BundleOptions{Verifier: b.verifier, Earlier: b.signed[0].Note})
	if r.Found != 0 || r.Seals != 6 || r.Entries != 28 || r.Cuts != 12 || r.DeviceHours != 6 || r.Sites != 2 || r.Log != 6 || !r.Checkpoint || len(r.Notes) != 0 {
		t.Errorf("a whole bundle: %+v", r)
	}
	r = checked(t, b.bundled(t, "t2"), BundleOptions{})
	if r.Found != 0 || r.Seals != 6 || r.Entries != 10 || r.Subtotals != 10 || r.Tenant != "t2" || !r.Checkpoint || len(r.Notes) != 1 {
		t.Errorf("a tenant's bundle: %+v", r)
	}
	if r := checked(t, b.bundled(t, "nobody"), BundleOptions{}); r.Found != 0 || r.Entries != 0 {
		t.Errorf("a bundle of a tenant that held nothing: %+v", r)
	}
	again := b.bundled(t, "")
	for name, f := range b.bundled(t, "") {
		if string(again[name].Data) != string(f.Data) {
			t.Errorf("%s has other bytes the second time", name)
		}
	}
}

// Of other tenants a tenant's bundle tells neither names nor figures.
func TestATenantsBundleShowsNoOther(t *testing.T) {
	b := newBook(t)
	for name, f := range b.bundled(t, "t2") {
		if !strings.HasPrefix(name, "batches/") {
			continue
		}
		for _, secret := range []string{"t1", "unallocated", "GPU-0", "GPU-1", "GPU-2", `"tenant":""`, b.secret.Reveal()} {
			if strings.Contains(string(f.Data), secret) {
				t.Errorf("%s tells %q", name, secret)
			}
		}
	}
}

// Whose line it is says what was sealed: a column that was changed beside it hands a tenant nothing of another's.
func TestAChangedColumnHandsNoLineToAnother(t *testing.T) {
	b := newBook(t)
	for i := range b.batches {
		for k := range b.batches[i].Entries {
			b.batches[i].Entries[k].Columns.Tenant = "t2"
		}
	}
	for name, f := range b.bundled(t, "t2") {
		if strings.HasPrefix(name, "batches/") && strings.Contains(string(f.Data), "t1") {
			t.Errorf("%s tells of another tenant", name)
		}
	}
}

// rehash gives a changed bundle sums that fit: what a forger would do.
func rehash(b fstest.MapFS) fstest.MapFS {
	out := maps.Clone(b)
	var text strings.Builder
	for _, name := range sortedKeys(b) {
		if name != sumsFile {
			fmt.Fprintf(&text, "%x  %s\n", sha256.Sum256(b[name].Data), name)
		}
	}
	out[sumsFile] = &fstest.MapFile{Data: []byte(text.String())}
	return out
}

func with(b fstest.MapFS, name string, data []byte) fstest.MapFS {
	out := maps.Clone(b)
	out[name] = &fstest.MapFile{Data: data}
	return out
}

// A bit that is changed anywhere in a bundle is found, and its file or its batch is named; with the sums made to fit as well,
// all but the words of the README is.
func TestEveryChangedBitIsFound(t *testing.T) {
	b := newBook(t)
	for _, tenant := range []string{"", "t2"} {
		whole := b.bundled(t, tenant)
		f := func(name string, bit int) {
			t.Helper()
			data := slices.Clone(whole[name].Data)
			data[bit/8] ^= 1 << (bit % 8)
			changed := with(whole, name, data)
			r := checked(t, changed, BundleOptions{})
			if r.Found == 0 || !strings.Contains(fmt.Sprint(r.Findings), name) {
				t.Errorf("bit %d of %s: %+v", bit, name, r.Findings)
			}
			if name == sumsFile || name == readmeFile {
				return
			}
			if r := checked(t, rehash(changed), BundleOptions{}); r.Found == 0 {
				t.Errorf("bit %d of %s, with sums that fit: nothing is found\n%.300s", bit, name, data[max(0, bit/8-150):])
			}
		}
		rng := rand.New(rand.NewPCG(5, 5))
		for _, name := range sortedKeys(whole) {
			n := len(whole[name].Data) * 8
			tries := 24
			if os.Getenv("WATTLEDGER_LONG") != "" {
				tries = n
			}
			if strings.HasPrefix(name, "batches/") && !strings.HasSuffix(name, "00000001.jsonl") {
				tries = min(tries, 10) // they are alike
			}
			for i := range tries {
				if tries < n {
					i = rng.IntN(n)
				}
				f(name, i)
			}
		}
	}
}

// Files and lines that are lost, doubled, moved or added are found, with sums that fit.
func TestForgedBundlesAreFound(t *testing.T) {
	b := newBook(t)
	f := func(what, tenant, want string, change func(fstest.MapFS)) {
		t.Helper()
		changed := maps.Clone(b.bundled(t, tenant))
		change(changed)
		r := checked(t, rehash(changed), BundleOptions{Verifier: b.verifier})
		if r.Found == 0 || !strings.Contains(fmt.Sprint(r.Findings), want) {
			t.Errorf("%s: want %q, got %v", what, want, r.Findings)
		}
	}
	const first, second = "batches/s/00000001.jsonl", "batches/s/00000002.jsonl"
	lines := func(m fstest.MapFS, change func([]string) []string) {
		list := strings.SplitAfter(string(m[first].Data), "\n")
		m[first] = &fstest.MapFile{Data: []byte(strings.Join(change(list[:len(list)-1]), ""))}
	}
	at := func(list []string, part string) int {
		return slices.IndexFunc(list, func(l string) bool { return strings.HasPrefix(l, `{"`+part+`":`) })
	}
	for _, part := range []string{"subtotal", "entry", "cut", "device_hour"} {
		f("a dropped "+part, "", "batch 1 of s", func(m fstest.MapFS) {
			lines(m, func(l []string) []string { return slices.Delete(l, at(l, part), at(l, part)+1) })
		})
		f("a doubled "+part, "", "batch 1 of s", func(m fstest.MapFS) {
			lines(m, func(l []string) []string { return slices.Insert(l, at(l, part), l[at(l, part)]) })
		})
		f("a moved "+part, "", "batch 1 of s", func(m fstest.MapFS) {
			lines(m, func(l []string) []string {
				i := at(l, part)
				line := l[i]
				if i == len(l)-1 {
					return slices.Insert(l[:i:i], 1, line)
				}
				return append(slices.Delete(l, i, i+1), line)
			})
		})
	}
	for _, part := range []string{"leaf", "subtotal", "entry"} {
		f("a tenant's dropped "+part, "t2", "batch 1 of s", func(m fstest.MapFS) {
			lines(m, func(l []string) []string { return slices.Delete(l, at(l, part), at(l, part)+1) })
		})
	}
	// An omission inside a tenant-hour that takes the entry and its subtotal along leaves the commitment behind.
	f("a tenant's whole hour", "t2", "2 subtotals of tenant t2, the bundle shows 1", func(m fstest.MapFS) {
		lines(m, func(l []string) []string {
			l = slices.Delete(l, at(l, "subtotal"), at(l, "subtotal")+1)
			return slices.Delete(l, at(l, "entry"), at(l, "entry")+1)
		})
	})
	f("a batch that is left out", "", "batch 1 of s", func(m fstest.MapFS) { delete(m, first) })
	f("a batch in place of another", "", "batch 2 of s", func(m fstest.MapFS) { m[second] = m[first] })
	f("a batch of no log", "", "belongs to no batch", func(m fstest.MapFS) { m["batches/s/00000009.jsonl"] = m[first] })
	f("another key", "", "not the key that was given", func(m fstest.MapFS) {
		m[keyFile] = &fstest.MapFile{Data: []byte(newBook(t).verifier + "\n")}
	})
	f("an older checkpoint", "", "it says 6 records", func(m fstest.MapFS) {
		older := newBook(t)
		older.signer, older.rows = b.signer, b.rows[:4]
		older.sign(t)
		m[checkpointKey] = &fstest.MapFile{Data: older.signed[1].Note}
	})
	// A history that was rewritten and signed anew holds by itself, and not against what somebody kept.
	other := newBook(t)
	other.signer, other.key, other.verifier = b.signer, b.key, b.verifier
	other.batches, other.rows, other.signed = nil, nil, nil
	previous := ""
	for n := range uint64(6) {
		other.book(t, ledger.Batch{Site: "s", Number: n, Previous: previous, Hour: hour0 + unit.Micros(n)*unit.Hour, Closing: "complete", Entries: []record.Entry{entryAt("s", 0, hour0, "t1")}})
		previous = other.batches[n].Seal.Root
	}
	other.sign(t)
	if r := checked(t, other.bundled(t, ""), BundleOptions{Verifier: b.verifier}); r.Found != 0 {
		t.Errorf("a rewritten history by itself: %v", r.Findings)
	}
	if r := checked(t, other.bundled(t, ""), BundleOptions{Verifier: b.verifier, Earlier: b.signed[0].Note}); r.Found != 1 || !strings.Contains(fmt.Sprint(r.Findings), "rewritten") {
		t.Errorf("a rewritten history against the old checkpoint: %v", r.Findings)
	}
}

func TestABundleNeedsAnEmptyFolder(t *testing.T) {
	b := newBook(t)
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/x", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := WriteBundle(t.Context(), b, dir, Export{Secret: b.secret, Verifier: b.verifier}); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("got %v", err)
	}
	if _, err := CheckBundle(t.Context(), fstest.MapFS{}, BundleOptions{}); err == nil || !strings.Contains(err.Error(), "no bundle") {
		t.Errorf("got %v", err)
	}
}

// Whatever the file of a batch holds, it is refused with words unless it is what was written.
func FuzzBatchFile(f *testing.F) {
	b := newBook(f)
	const file = "batches/s/00000001.jsonl"
	var want [2]string
	for i, tenant := range []string{"", "t2"} {
		want[i] = string(b.bundled(f, tenant)[file].Data)
		f.Add(i == 1, want[i])
		f.Add(i == 1, strings.Replace(want[i], "lateness", "complete", 1))
	}
	logged, err := ledger.ParseLogRecord(b.rows[3].Record)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, ofTenant bool, text string) {
		found := findings{seal: record.Seal{Site: "s", Batch: 1}}
		p := page{f: &found, file: file, logged: logged, index: 3}
		i := 0
		if ofTenant {
			p.tenant, i = "t2", 1
		}
		for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
			p.line++
			p.read([]byte(line))
		}
		p.finish()
		if len(found.list) == 0 && strings.TrimSuffix(text, "\n") != strings.TrimSuffix(want[i], "\n") {
			t.Errorf("nothing is found in\n%s", text)
		}
	})
}

// Seals and their contents are checked at some rate: what `wattledger ledger verify` does besides reading.
func BenchmarkCheckBatch(b *testing.B) {
	var entries []record.Entry
	for i := range 20_000 {
		e := entryAt("s", i, hour0, fmt.Sprintf("tenant-%02d", i%50))
		e.Split, e.Factor, e.FacilitySource, e.Flags = "slots", "Ember 2024 FR lifecycle yearly 44180000µg/kWh", "declared PUE 1200", []string{"pue_modelled"}
		entries = append(entries, e)
	}
	l := &book{secret: ledger.SecretFrom("test")}
	l.book(b, ledger.Batch{Site: "s", Hour: hour0, Closing: "complete", Entries: entries})
	for b.Loop() {
		if list := CheckBatch(l.batches[0], l.secret.Site("s")); len(list) != 0 {
			b.Fatal(list[0])
		}
	}
	b.ReportMetric(float64(len(entries))*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}
