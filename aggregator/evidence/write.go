package evidence

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/wattledger/wattledger/aggregator/ledger"
	"github.com/wattledger/wattledger/aggregator/transparency"
	"github.com/wattledger/wattledger/schemas/record"
)

// Export is what goes into a bundle.
type Export struct {
	Secret ledger.Secret
	// Verifier is the public key of the log, in text.
	Verifier string
	// Tenant, when set, makes a bundle of that tenant's lines alone: of others it has commitments.
	Tenant string
	// Progress is called with the batches written and their number; nil tells nobody.
	Progress func(done, all int64)
}

// bundleWriter writes files below a folder and remembers their digests.
type bundleWriter struct {
	dir  string
	sums map[string][32]byte
}

func (w *bundleWriter) write(name string, data []byte) error {
	file := filepath.Join(w.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := os.WriteFile(file, data, 0o640); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	w.sums[name] = sha256.Sum256(data)
	return nil
}

// finish writes SHA256SUMS, as sha256sum reads it.
func (w *bundleWriter) finish() error {
	var b strings.Builder
	for _, name := range sortedKeys(w.sums) {
		sum := w.sums[name]
		fmt.Fprintf(&b, "%s  %s\n", hex.EncodeToString(sum[:]), name)
	}
	return w.write(sumsFile, []byte(b.String()))
}

// WriteBundle writes the ledger, up to the last checkpoint that was signed, into a folder that must be empty or not there. It
// gives the names of its files. What it writes depends on the ledger alone.
func WriteBundle(ctx context.Context, src Source, dir string, x Export) ([]string, error) {
	if list, err := os.ReadDir(dir); err == nil && len(list) > 0 {
		return nil, fmt.Errorf("%s is not empty: a bundle has a folder of its own", dir)
	}
	w := &bundleWriter{dir: dir, sums: map[string][32]byte{}}
	log, err := readLog(ctx, src, x.Verifier)
	if err != nil {
		return nil, err
	}
	seals, err := src.Seals(ctx)
	if err != nil {
		return nil, err
	}
	seals = slices.DeleteFunc(seals, func(s record.Seal) bool { // what came after the checkpoint is for the next bundle
		_, ok := log.index[batchOf{s.Site, s.Batch}]
		return !ok
	})
	slices.SortStableFunc(seals, func(a, b record.Seal) int { return cmp.Or(cmp.Compare(a.Site, b.Site), cmp.Compare(a.Batch, b.Batch)) })
	if len(seals) != int(log.checkpoint.Size) {
		return nil, fmt.Errorf("the log has %d records and there are %d seals for them: see `wattledger ledger verify`", log.checkpoint.Size, len(seals))
	}
	what := "The whole ledger, with every tenant's lines: it is for the operator and its auditors."
	if x.Tenant != "" {
		what = "The lines of tenant " + x.Tenant + ". Of others it has commitments, which tell nothing."
	}
	m := manifest{Format: bundleFormat, Origin: log.checkpoint.Origin, Size: log.checkpoint.Size, Tenant: x.Tenant}
	for _, f := range []struct {
		name string
		data []byte
	}{
		{readmeFile, fmt.Appendf(nil, readme, what)},
		{bundleFile, m.bytes()},
		{keyFile, []byte(x.Verifier + "\n")},
		{checkpointKey, log.note},
	} {
		if err := w.write(f.name, f.data); err != nil {
			return nil, err
		}
	}
	if err := log.tree.Tiles(log.checkpoint.Size, func(i int64) ([]byte, error) { return log.rows[i].Record, nil },
		func(t transparency.Tile) error { return w.write(t.Path, t.Data) }); err != nil {
		return nil, err
	}
	done := int64(0)
	for group := range groups(seals) {
		batches, err := src.Batches(ctx, group)
		if err != nil {
			return nil, fmt.Errorf("read batches %d to %d of %s: %w", group[0].Batch, group[len(group)-1].Batch, group[0].Site, err)
		}
		for _, b := range batches {
			if err := w.batch(b, log, x); err != nil {
				return nil, fmt.Errorf("batch %d of %s: %w", b.Seal.Batch, b.Seal.Site, err)
			}
		}
		if done += int64(len(group)); x.Progress != nil {
			x.Progress(done, int64(len(seals)))
		}
	}
	if err := w.finish(); err != nil {
		return nil, err
	}
	return sortedKeys(w.sums), nil
}

type batchOf struct {
	site  string
	batch uint64
}

// signedLog is the log up to its last checkpoint.
type signedLog struct {
	tree       *transparency.Tree
	rows       []LogRow
	index      map[batchOf]int64
	checkpoint transparency.Checkpoint
	note       []byte
}

func readLog(ctx context.Context, src Source, verifier string) (signedLog, error) {
	var l signedLog
	key, err := note.NewVerifier(verifier)
	if err != nil {
		return l, fmt.Errorf("public key of the log: %w", err)
	}
	checkpoints, err := src.CheckpointRows(ctx)
	if err != nil {
		return l, err
	}
	if len(checkpoints) == 0 {
		return l, fmt.Errorf("no checkpoint of the log is signed yet: the aggregator signs one when it has closed an hour")
	}
	l.note = checkpoints[len(checkpoints)-1].Note
	if l.checkpoint, err = transparency.OpenCheckpoint(l.note, key); err != nil {
		return l, err
	}
	if l.rows, err = src.LogRows(ctx); err != nil {
		return l, err
	}
	var found []Finding
	l.tree, _, found = logFindings(l.rows)
	if len(found) > 0 {
		return l, fmt.Errorf("%s: see `wattledger ledger verify`", found[0])
	}
	if err := l.tree.Extends(l.checkpoint); err != nil {
		return l, fmt.Errorf("log: %w", err)
	}
	l.index = map[batchOf]int64{}
	for i, r := range l.rows[:l.checkpoint.Size] {
		l.index[batchOf{r.Site, r.Batch}] = int64(i)
	}
	return l, nil
}

// batch writes a batch's file, and of a tenant's bundle the proof that the batch stands in the log.
func (w *bundleWriter) batch(b Batch, log signedLog, x Export) error {
	key := x.Secret.Site(b.Seal.Site)
	index := log.index[batchOf{b.Seal.Site, b.Seal.Batch}]
	name := batchFile(b.Seal.Site, b.Seal.Batch)
	var text bytes.Buffer
	var err error
	if x.Tenant == "" {
		err = wholeBatch(&text, b, key, index)
	} else {
		err = tenantBatch(&text, b, key, index, x.Tenant)
	}
	if err != nil {
		return err
	}
	if err := w.write("batches/"+name+".jsonl", text.Bytes()); err != nil || x.Tenant == "" {
		return err
	}
	hashes, err := log.tree.Inclusion(index, log.checkpoint.Size)
	if err != nil {
		return err
	}
	return w.write("proofs/"+name+".tlog-proof", transparency.Proof{Index: index, Hashes: hashes, Checkpoint: log.note}.Format())
}

func wholeBatch(text *bytes.Buffer, b Batch, key ledger.SiteKey, index int64) error {
	batch := key.Batch(b.Seal.Batch)
	header, err := ledger.CanonicalHeader(b.Seal)
	if err != nil {
		return err
	}
	writeLine(text, headerLine{Header: header, Salt: hexOf(batch.HeaderSalt(header)), Root: b.Seal.Root, Index: index})
	if err := subtotalLines(text, b.Subtotals, batch); err != nil {
		return err
	}
	if err := entryLines(text, b.Entries, key); err != nil {
		return err
	}
	slices.SortFunc(b.Cuts, ledger.CompareCuts)
	for _, c := range b.Cuts {
		canonical, err := ledger.CanonicalCut(c)
		if err != nil {
			return err
		}
		writeLine(text, cutLine{canonical})
	}
	slices.SortFunc(b.DeviceHours, ledger.CompareDeviceHours)
	for _, d := range b.DeviceHours {
		canonical, err := ledger.CanonicalDeviceHour(d)
		if err != nil {
			return err
		}
		writeLine(text, deviceHourLine{canonical})
	}
	return nil
}

func tenantBatch(text *bytes.Buffer, b Batch, key ledger.SiteKey, index int64, tenant string) error {
	batch := key.Batch(b.Seal.Batch)
	header, err := ledger.CanonicalHeader(b.Seal)
	if err != nil {
		return err
	}
	writeLine(text, hiddenLine{
		HeaderLeaf: hexOf(ledger.HeaderLeaf(batch.HeaderSalt(header), header)), Root: b.Seal.Root, Index: index, TenantSalt: hexOf(batch.TenantSalt(tenant)),
	})
	leaves, err := ledger.SiteLeaves(batch, b.Subtotals)
	if err != nil {
		return err
	}
	for _, l := range leaves {
		writeLine(text, leafLine{hex.EncodeToString(l[:])})
	}
	own := slices.DeleteFunc(slices.Clone(b.Subtotals), func(s record.Subtotal) bool { return s.Tenant != tenant })
	if err := subtotalLines(text, own, batch); err != nil {
		return err
	}
	// By what was sealed, not by the column beside it: whoever changed that must not be handed another tenant's line.
	return entryLines(text, slices.DeleteFunc(slices.Clone(b.Entries), func(e Entry) bool {
		sealed, err := ledger.ParseEntry(e.Canonical)
		return err == nil && sealed.Tenant != tenant // what cannot be read ends the export
	}), key)
}

func subtotalLines(text *bytes.Buffer, list []record.Subtotal, batch ledger.BatchKey) error {
	slices.SortFunc(list, ledger.CompareSubtotals)
	for _, s := range list {
		canonical, err := ledger.CanonicalSubtotal(s)
		if err != nil {
			return err
		}
		writeLine(text, subtotalLine{Subtotal: canonical, Salt: hexOf(batch.SubtotalSalt(canonical)), TenantSalt: hexOf(batch.TenantSalt(s.Tenant))})
	}
	return nil
}

func entryLines(text *bytes.Buffer, list []Entry, key ledger.SiteKey) error {
	for _, e := range list {
		if _, err := ledger.ParseEntry(e.Canonical); err != nil {
			return fmt.Errorf("entry %d: %w: see `wattledger ledger verify`", e.Position, err)
		}
		salt, err := key.EntrySalt(ledger.ID(e.Canonical))
		if err != nil {
			return err
		}
		writeLine(text, entryLine{Entry: e.Canonical, Salt: hexOf(salt)})
	}
	return nil
}
