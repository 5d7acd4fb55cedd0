package evidence

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sync/errgroup"

	"github.com/wattledger/wattledger/aggregator/ledger"
	"github.com/wattledger/wattledger/aggregator/transparency"
	"github.com/wattledger/wattledger/schemas/record"
)

// BundleOptions are how a bundle is checked.
type BundleOptions struct {
	// Verifier is the public key of the log as its operator published it; empty takes the one in the bundle.
	Verifier string
	// Earlier is a checkpoint that somebody kept elsewhere; nil when there is none.
	Earlier []byte
	// Progress is called with the batches checked and their number; nil tells nobody.
	Progress func(done, all int64)
}

// bundle is one that is being checked.
type bundle struct {
	fsys  fs.FS
	o     BundleOptions
	r     *Report
	named map[string]bool // files that SHA256SUMS names
	m     manifest
	key   note.Verifier
	tree  *transparency.Tree
	// records are those of the log by index, checkpoint the signed note over them.
	records    [][]byte
	checkpoint []byte
}

// CheckBundle checks a bundle with what is in it and, if it is given, the published key. The error is about reading; what is
// wrong with the bundle is in the report.
func CheckBundle(ctx context.Context, fsys fs.FS, o BundleOptions) (*Report, error) {
	b := &bundle{fsys: fsys, o: o, r: &Report{}}
	if err := b.sums(ctx); err != nil {
		return b.r, err
	}
	if !b.head() {
		return b.r, nil
	}
	b.log()
	return b.r, b.batches(ctx)
}

func (b *bundle) wrong(file, format string, args ...any) {
	b.r.add(Finding{What: file + ": " + fmt.Sprintf(format, args...)})
}

// sums checks every file against SHA256SUMS, and SHA256SUMS against the files there are.
func (b *bundle) sums(ctx context.Context) error {
	data, err := fs.ReadFile(b.fsys, sumsFile)
	if err != nil {
		return fmt.Errorf("this is no bundle: %w", err)
	}
	want := map[string]string{}
	last := ""
	for i, line := range strings.SplitAfter(string(data), "\n") {
		if line == "" {
			continue
		}
		sum, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if _, err := parseHash(sum); err != nil || !ok || !fs.ValidPath(name) || !strings.HasSuffix(line, "\n") || name <= last {
			b.wrong(sumsFile, "line %d is not a digest, two spaces and a name, in order of name", i+1)
			continue
		}
		want[name], last = sum, name
	}
	b.named = map[string]bool{}
	for name := range want {
		b.named[name] = true
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	err = fs.WalkDir(b.fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() || name == sumsFile:
			return ctx.Err()
		case want[name] == "":
			b.wrong(name, "SHA256SUMS does not name this file")
			return nil
		}
		sum := want[name]
		delete(want, name)
		g.Go(func() error {
			f, err := b.fsys.Open(name)
			if err != nil {
				return err
			}
			defer f.Close()
			h := sha256.New()
			if _, err := io.Copy(h, f); err != nil {
				return fmt.Errorf("read %s: %w", name, err)
			}
			if got := hex.EncodeToString(h.Sum(nil)); got != sum {
				b.wrong(name, "its SHA-256 is %s, SHA256SUMS says %s: it was changed", got, sum)
			}
			return nil
		})
		return nil
	})
	err = errors.Join(err, g.Wait())
	for _, name := range sortedKeys(want) {
		b.wrong(name, "SHA256SUMS names this file, and it is missing")
	}
	return err
}

// head reads what the bundle says of itself, the key and the checkpoint. Without them nothing else can be checked.
func (b *bundle) head() bool {
	read := func(name string) []byte {
		data, err := fs.ReadFile(b.fsys, name)
		if err != nil {
			b.wrong(name, "it cannot be read: %v", err)
		}
		return data
	}
	text := read(bundleFile)
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&b.m); err != nil || !bytes.Equal(b.m.bytes(), text) || b.m.Format != bundleFormat {
		b.wrong(bundleFile, "it does not say that this is a %s", bundleFormat)
		return false
	}
	own := strings.TrimSuffix(string(read(keyFile)), "\n")
	verifier := own
	switch {
	case b.o.Verifier == "":
		b.r.note("the public key is the bundle's own: that it is the operator's is not proved; give the published one with --vkey")
	case strings.TrimSpace(b.o.Verifier) != own:
		b.wrong(keyFile, "it is not the key that was given")
		verifier = strings.TrimSpace(b.o.Verifier)
	}
	var err error
	if b.key, err = note.NewVerifier(verifier); err == nil && !canonicalKey(verifier, b.key) {
		err = errors.New("not as a key is written")
	}
	if err != nil {
		b.wrong(keyFile, "it is no public key: %v", err)
		return false
	}
	b.checkpoint = read(checkpointKey)
	b.r.Tenant, b.r.Origin = b.m.Tenant, b.m.Origin
	return true
}

// canonicalKey says that a public key is written in the one way in which it is: name, key id in small hex, base64.
func canonicalKey(text string, key note.Verifier) bool {
	parts := strings.SplitN(text, "+", 3)
	if len(parts) != 3 || parts[0] != key.Name() || parts[1] != fmt.Sprintf("%08x", key.KeyHash()) {
		return false
	}
	b, err := base64.StdEncoding.Strict().DecodeString(parts[2])
	return err == nil && base64.StdEncoding.EncodeToString(b) == parts[2]
}

// log checks the log by itself: its tiles, its chains, its checkpoint.
func (b *bundle) log() {
	b.tree = &transparency.Tree{}
	c, err := transparency.OpenCheckpoint(b.checkpoint, b.key)
	if err != nil {
		b.wrong(checkpointKey, "%v", err)
		c.Size = b.m.Size // so that the rest can be checked still
	}
	if c.Size != b.m.Size || (err == nil && c.Origin != b.m.Origin) {
		b.wrong(bundleFile, "it says %d records of %s, the checkpoint %d of %s", b.m.Size, b.m.Origin, c.Size, c.Origin)
	}
	if c.Size > int64(len(b.named))*transparency.BundleSize {
		b.wrong(bundleFile, "it says %d records, more than so many files hold", c.Size)
		return
	}
	tiles, bundles := transparency.TilePaths(c.Size)
	var rows []LogRow
	for _, name := range bundles {
		data, err := fs.ReadFile(b.fsys, name)
		if err != nil {
			b.wrong(name, "it cannot be read: %v", err)
			continue
		}
		records, err := transparency.ParseBundle(data)
		if err != nil {
			b.wrong(name, "%v", err)
			continue
		}
		for _, r := range records {
			rows = append(rows, rowOf(uint64(len(rows)), r))
			b.records = append(b.records, r)
		}
	}
	var found []Finding
	b.tree, _, found = logFindings(rows)
	b.r.add(found...)
	b.r.Log = b.tree.Size()
	if b.tree.Size() != c.Size {
		b.wrong(checkpointKey, "it covers %d records, the bundle has %d that hold", c.Size, b.tree.Size())
	}
	if err == nil {
		b.r.checkpoint(b.tree, b.checkpoint, b.key, "the checkpoint")
	}
	if b.o.Earlier != nil {
		b.r.checkpoint(b.tree, b.o.Earlier, b.key, "the checkpoint that was kept elsewhere")
	}
	if b.tree.Size() == c.Size {
		err := b.tree.Tiles(c.Size, func(i int64) ([]byte, error) { return b.records[i], nil }, func(t transparency.Tile) error {
			if data, err := fs.ReadFile(b.fsys, t.Path); err != nil || !bytes.Equal(data, t.Data) {
				b.wrong(t.Path, "it is not what the records give")
			}
			return nil
		})
		if err != nil {
			b.wrong("tile", "%v", err)
		}
	}
	b.expect(append(slices.Concat(tiles, bundles), readmeFile, bundleFile, keyFile, checkpointKey))
}

// rowOf is a record of the bundle, which has no columns beside it.
func rowOf(index uint64, text []byte) LogRow {
	row := LogRow{Index: index, Record: text}
	if r, err := ledger.ParseLogRecord(text); err == nil {
		row.Site, row.Batch, row.Root = r.Site, r.Batch, r.Root
	}
	return row
}

// expect crosses files off the list of those that nothing accounts for.
func (b *bundle) expect(names []string) {
	for _, name := range names {
		delete(b.named, name)
	}
}

// batches checks the file of every batch that is in the log.
func (b *bundle) batches(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	done := int64(0)
	sites := map[string]bool{}
	for i, text := range b.records {
		r, err := ledger.ParseLogRecord(text)
		if err != nil {
			continue // said already
		}
		sites[r.Site] = true
		name := batchFile(r.Site, r.Batch)
		b.expect([]string{"batches/" + name + ".jsonl"})
		if b.m.Tenant != "" {
			b.expect([]string{"proofs/" + name + ".tlog-proof"})
		}
		g.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			b.batch(r, int64(i), name)
			b.r.mu.Lock()
			defer b.r.mu.Unlock()
			if done++; b.o.Progress != nil {
				b.o.Progress(done, int64(len(b.records)))
			}
			return nil
		})
	}
	err := g.Wait()
	b.r.Sites = len(sites)
	for _, name := range sortedKeys(b.named) {
		b.wrong(name, "this file belongs to no batch of the log")
	}
	return err
}

// maxLine is how long a line of a batch may be: a seal's reason names every node that was silent.
const maxLine = 16 << 20

// batch checks one batch against what the log says of it.
func (b *bundle) batch(r ledger.LogRecord, index int64, name string) {
	file := "batches/" + name + ".jsonl"
	f := findings{seal: record.Seal{Site: r.Site, Batch: r.Batch}}
	defer func() { b.r.add(f.list...) }()
	in, err := b.fsys.Open(file)
	if err != nil {
		f.add("%s cannot be read: %v", file, err)
		return
	}
	defer in.Close()
	s := bufio.NewScanner(in)
	s.Buffer(nil, maxLine)
	p := page{f: &f, file: file, tenant: b.m.Tenant, logged: r, index: index}
	for s.Scan() {
		p.line++
		p.read(s.Bytes())
	}
	if err := s.Err(); err != nil {
		f.add("%s, line %d: %v", file, p.line+1, err)
	}
	p.finish()
	b.r.count(Batch{Entries: make([]Entry, p.lines), Subtotals: p.subtotals, Cuts: make([]record.Cut, p.cuts.Count()), DeviceHours: make([]record.DeviceHour, p.hours.Count())})
	if b.m.Tenant == "" {
		return
	}
	file = "proofs/" + name + ".tlog-proof"
	text, err := fs.ReadFile(b.fsys, path.Clean(file))
	if err != nil {
		f.add("%s cannot be read: %v", file, err)
		return
	}
	proof, err := transparency.ParseProof(text)
	if err == nil && proof.Index != index {
		err = fmt.Errorf("it is for record %d of the log, and the batch is number %d", proof.Index, index)
	}
	if err == nil && !bytes.Equal(proof.Checkpoint, b.checkpoint) {
		err = errors.New("its checkpoint is not that of the bundle")
	}
	if err == nil {
		_, err = proof.Check(b.records[index], b.key)
	}
	if err != nil {
		f.add("%s: %v", file, err)
	}
}
