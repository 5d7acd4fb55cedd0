package transparency

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/aggregator/ledger"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// memory is a store in memory that can die at any of its writes, before or after it has them.
type memory struct {
	mu          sync.Mutex
	records     [][]byte
	checkpoints [][]byte
	sizes       []int64
	seals       []record.Seal
	writes      int
	dieAt       int // the number of the write, from 1
	after       bool
}

var errKilled = errors.New("killed")

func (m *memory) write(do func()) error {
	m.writes++
	if m.writes == m.dieAt {
		if m.after {
			do()
		}
		return errKilled
	}
	do()
	return nil
}

func (m *memory) LogRecords(_ context.Context, from int64) iter.Seq2[[]byte, error] {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := slices.Clone(m.records)
	return func(yield func([]byte, error) bool) {
		for _, r := range list[min(from, int64(len(list))):] {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func (m *memory) AppendLog(_ context.Context, index int64, records [][]byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.write(func() {
		if index == int64(len(m.records)) {
			m.records = append(m.records, records...)
		}
	})
}

func (m *memory) SealsAfter(_ context.Context, next map[string]uint64) ([]record.Seal, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []record.Seal
	for _, s := range m.seals {
		if s.Batch >= next[s.Site] {
			out = append(out, s)
		}
	}
	return out, nil
}

func (m *memory) LastCheckpoint(context.Context) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var last []byte
	size := int64(-1)
	for i, c := range m.checkpoints {
		if m.sizes[i] > size {
			last, size = c, m.sizes[i]
		}
	}
	return last, nil
}

func (m *memory) KeepCheckpoint(_ context.Context, size int64, _ string, msg []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.write(func() {
		if !slices.Contains(m.sizes, size) {
			m.checkpoints, m.sizes = append(m.checkpoints, msg), append(m.sizes, size)
		}
	})
}

// seal adds n seals to each of two sites.
func (m *memory) seal(n int) {
	for range n {
		for _, site := range []string{"b", "a"} {
			s := record.Seal{Site: site, Hour: 500_000 * unit.Hour}
			for _, have := range m.seals {
				if have.Site == site {
					s.Batch, s.Previous, s.Hour = have.Batch+1, have.Root, have.Hour+unit.Hour
				}
			}
			s.Root = ledger.ID(fmt.Append(nil, site, s.Batch))
			m.seals = append(m.seals, s)
		}
	}
}

func keys(t testing.TB) (note.Signer, note.Verifier) {
	t.Helper()
	skey, vkey, err := note.GenerateKey(nil, "log.example.org/test")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	key, err := note.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	return signer, key
}

func logOver(t testing.TB, m Store, signer note.Signer, key note.Verifier) *Log {
	t.Helper()
	l, err := New(m, signer, key, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestSealsGoIntoTheLogInOrderAndOnce(t *testing.T) {
	signer, key := keys(t)
	m := &memory{}
	l := logOver(t, m, signer, key)
	for range 3 {
		m.seal(2)
		for range 2 {
			if err := l.Update(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(m.records) != 12 || len(m.checkpoints) != 3 || testutil.ToFloat64(l.signed) != 3 || testutil.ToFloat64(l.size) != 12 || testutil.ToFloat64(l.proved) != 12 {
		t.Errorf("%d records, %d checkpoints", len(m.records), len(m.checkpoints))
	}
	if !bytes.Contains(m.records[0], []byte(`"site":"a"`)) || !bytes.Contains(m.records[1], []byte(`"site":"b"`)) {
		t.Errorf("the log begins with %s, %s", m.records[0], m.records[1])
	}
	// Each checkpoint begins with the one before.
	for i, msg := range m.checkpoints {
		c, err := OpenCheckpoint(msg, key)
		if err != nil || c.Size != int64(4*(i+1)) {
			t.Fatalf("checkpoint %d is %+v, %v", i, c, err)
		}
		if err := l.tree.Extends(c); err != nil {
			t.Error(err)
		}
	}
}

// Whatever write kills it, before or after the store has it, the next one mends: the log is the same as one kept in peace.
func TestAKilledLogIsMended(t *testing.T) {
	signer, key := keys(t)
	peace := &memory{}
	peace.seal(3)
	if err := logOver(t, peace, signer, key).Update(t.Context()); err != nil {
		t.Fatal(err)
	}
	for at := 1; at <= peace.writes; at++ {
		for _, after := range []bool{false, true} {
			m := &memory{dieAt: at, after: after}
			m.seal(3)
			if err := logOver(t, m, signer, key).Update(t.Context()); !errors.Is(err, errKilled) {
				t.Fatalf("write %d: not killed: %v", at, err)
			}
			if err := logOver(t, m, signer, key).Update(t.Context()); err != nil {
				t.Fatal(err)
			}
			if !slices.EqualFunc(m.records, peace.records, bytes.Equal) || !slices.EqualFunc(m.checkpoints, peace.checkpoints, bytes.Equal) {
				t.Errorf("killed at write %d, after=%v: %d records, %d checkpoints", at, after, len(m.records), len(m.checkpoints))
			}
		}
	}
}

// Several at once take each index once.
func TestRivalsShareALog(t *testing.T) {
	signer, key := keys(t)
	m := &memory{}
	for range 5 {
		m.seal(3)
		var wg sync.WaitGroup
		for range 4 {
			l := logOver(t, m, signer, key)
			wg.Go(func() {
				if err := l.Update(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	if len(m.records) != 30 {
		t.Errorf("%d records for 30 seals", len(m.records))
	}
	var tree Tree
	for _, r := range m.records {
		if err := tree.Add(r); err != nil {
			t.Error(err)
		}
	}
}

// A log that does not begin with what was signed is not signed: two checkpoints that contradict one another never exist.
func TestNothingInconsistentIsSigned(t *testing.T) {
	signer, key := keys(t)
	f := func(what, want string, change func(m *memory)) {
		t.Helper()
		m := &memory{}
		m.seal(2)
		if err := logOver(t, m, signer, key).Update(t.Context()); err != nil {
			t.Fatal(err)
		}
		m.seal(1)
		change(m)
		n := len(m.checkpoints)
		l := logOver(t, m, signer, key)
		err := l.Update(t.Context())
		if !errors.Is(err, ErrInconsistent) || !strings.Contains(err.Error(), want) || len(m.checkpoints) != n || testutil.ToFloat64(l.refusals) != 1 {
			t.Errorf("%s: %v, %d checkpoints more, %v counted", what, err, len(m.checkpoints)-n, testutil.ToFloat64(l.refusals))
		}
	}
	rewritten := func(m *memory) { // a whole new history, whose chains hold
		other := &memory{}
		other.seal(3)
		for i := range other.seals {
			other.seals[i].Root = ledger.ID([]byte(other.seals[i].Root))
			if i >= 2 {
				other.seals[i].Previous = other.seals[i-2].Root
			}
		}
		m.seals, m.records = other.seals, nil
		for _, s := range other.seals {
			b, _ := ledger.LogRecordOf(s).Canonical()
			m.records = append(m.records, b)
		}
		slices.SortStableFunc(m.records, func(a, b []byte) int { return 0 })
	}
	f("a record changed", "goes on from", func(m *memory) {
		m.records[0] = bytes.Replace(m.records[0], []byte(`"root":"`), []byte(`"root":"0`), 1)
	})
	f("a record lost", "missing", func(m *memory) { m.records = m.records[1:] })
	f("history rewritten", "rewritten", rewritten)
	f("a log cut off and its seals too", "records are missing", func(m *memory) { m.records, m.seals = m.records[:2], m.seals[:2] })
	f("a checkpoint of another key", "log.example.org/test", func(m *memory) {
		other, _ := keys(t)
		m.checkpoints[0], _ = Checkpoint{Origin: other.Name(), Size: 4}.Sign(other)
	})
	f("a seal lost", "is not in the log", func(m *memory) {
		m.seals = append(m.seals[:4:4], record.Seal{Site: "a", Batch: 9, Hour: 500_009 * unit.Hour})
	})
}

// Inclusion and consistency as other software computed them, for wattledger-0, wattledger-1, … (ASCII).
func TestProofVectors(t *testing.T) {
	var tree Tree
	for i := range 5 {
		if err := tree.add(fmt.Appendf(nil, "wattledger-%d", i), ledger.LogRecord{}); err != nil {
			t.Fatal(err)
		}
	}
	f := func(what string, got []tlog.Hash, want ...string) {
		t.Helper()
		var text []string
		for _, h := range got {
			text = append(text, hex.EncodeToString(h[:]))
		}
		if !slices.Equal(text, want) {
			t.Errorf("%s is %v, want %v", what, text, want)
		}
	}
	inclusion, err := tree.Inclusion(2, 5)
	if err != nil {
		t.Fatal(err)
	}
	f("inclusion of 2 in 5", inclusion,
		"77a01f18fc59d4feefadf568055b41068b4d7d200c53044db3add50990300973",
		"b4456effaaf8c2931dff67f4616eed5c538b34d762de78430b93c45fc0afdb6f",
		"2ceb855348b655bf2dce855de27d6b8e8571df486c7d152d8eaeb8333a6d1ebe")
	consistency, err := tlog.ProveTree(5, 3, &tree)
	if err != nil {
		t.Fatal(err)
	}
	f("consistency of 3 and 5", consistency,
		"cec1cf0086ade98fed224f9b5204ff7ca8e1653b0915048529b8a143ed9c7084",
		"77a01f18fc59d4feefadf568055b41068b4d7d200c53044db3add50990300973",
		"b4456effaaf8c2931dff67f4616eed5c538b34d762de78430b93c45fc0afdb6f",
		"2ceb855348b655bf2dce855de27d6b8e8571df486c7d152d8eaeb8333a6d1ebe")
	root, err := tree.Root(5)
	if err != nil {
		t.Fatal(err)
	}
	f("root of 5", []tlog.Hash{root}, "cc96386d067f8d667297f7f6eb555393bb396dc2d702ced51973be38e9c61cec")
}

// Paths as C2SP tlog-tiles gives them.
func TestTilePaths(t *testing.T) {
	f := func(level int, n int64, width int, want string) {
		t.Helper()
		if got := tilePath(level, n, width); got != want {
			t.Errorf("tile %d of level %d, width %d is %s, want %s", n, level, width, got, want)
		}
	}
	f(0, 1234067, 256, "tile/0/x001/x234/067")
	f(0, 273, 112, "tile/0/273.p/112")
	f(2, 0, 1, "tile/2/000.p/1")
	f(-1, 0, 256, "tile/entries/000")
	f(-1, 999, 1, "tile/entries/999.p/1")
	f(-1, 1000, 256, "tile/entries/x001/000")
	hashes, _ := TilePaths(70_000)
	if len(hashes) != 273+1+1+1+1 || !slices.Contains(hashes, "tile/1/001.p/17") || !slices.Contains(hashes, "tile/2/000.p/1") {
		t.Errorf("70,000 records are %d tiles", len(hashes))
	}
}

func TestTilesGiveTheLogBack(t *testing.T) {
	m := &memory{}
	m.seal(300)
	signer, key := keys(t)
	l := logOver(t, m, signer, key)
	if err := l.Update(t.Context()); err != nil {
		t.Fatal(err)
	}
	tiles := map[string][]byte{}
	var back [][]byte
	err := l.tree.Tiles(600, func(i int64) ([]byte, error) { return m.records[i], nil }, func(f Tile) error {
		tiles[f.Path] = f.Data
		if strings.HasPrefix(f.Path, "tile/entries/") {
			list, err := ParseBundle(f.Data)
			back = append(back, list...)
			return err
		}
		return nil
	})
	if err != nil || !slices.EqualFunc(back, m.records, bytes.Equal) {
		t.Fatalf("%d records came back, %v", len(back), err)
	}
	hashes, records := TilePaths(600)
	if len(tiles) != len(hashes)+len(records) {
		t.Errorf("%d files, want %d", len(tiles), len(hashes)+len(records))
	}
	for _, p := range append(hashes, records...) {
		if tiles[p] == nil {
			t.Errorf("%s is missing", p)
		}
	}
}

// A proof holds for its record, and for none other; what is written is read back.
func TestProofs(t *testing.T) {
	signer, key := keys(t)
	m := &memory{}
	m.seal(20)
	l := logOver(t, m, signer, key)
	if err := l.Update(t.Context()); err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		i := rapid.Int64Range(0, 39).Draw(t, "index")
		hashes, err := l.tree.Inclusion(i, 40)
		if err != nil {
			t.Fatal(err)
		}
		text := Proof{Index: i, Hashes: hashes, Checkpoint: m.checkpoints[0]}.Format()
		p, err := ParseProof(text)
		if err != nil || !bytes.Equal(p.Format(), text) {
			t.Fatalf("read back as %+v, %v", p, err)
		}
		if _, err := p.Check(m.records[i], key); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Check(m.records[(i+1)%40], key); err == nil {
			t.Fatal("the proof holds for another record")
		}
		// A changed bit, anywhere, is no proof of this record.
		at := rapid.IntRange(0, len(text)*8-1).Draw(t, "bit")
		text[at/8] ^= 1 << (at % 8)
		if p, err := ParseProof(text); err == nil {
			if _, err := p.Check(m.records[i], key); err == nil {
				t.Fatalf("with bit %d changed it still holds:\n%s", at, text)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	signer, key := keys(f)
	msg, _ := Checkpoint{Origin: signer.Name(), Size: 1}.Sign(signer)
	f.Add(msg)
	f.Add(Proof{Index: 0, Hashes: tlog.RecordProof{{1}}, Checkpoint: msg}.Format())
	f.Add([]byte("\x00\x01a"))
	f.Add([]byte("o\n1\n4zHA4VZ/HJ/z8/a7Y8YgxXTHv6P3UrBj5K/kKxGGr8Q=\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := parseCheckpoint(string(b)); err == nil && c.Text() != string(b) {
			t.Errorf("%q is read as %+v", b, c)
		}
		_, _ = OpenCheckpoint(b, key)
		if p, err := ParseProof(b); err == nil {
			_, _ = p.Check([]byte("x"), key)
			if again, err := ParseProof(p.Format()); err != nil || again.Index != p.Index {
				t.Errorf("%q is not read back: %v", b, err)
			}
		}
		_, _ = ParseBundle(b)
	})
}
