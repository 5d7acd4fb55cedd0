package transparency

import (
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/wattledger/wattledger/aggregator/ledger"
)

// Tree is the log's Merkle tree in memory: some 64 bytes a record. The zero Tree is empty.
type Tree struct {
	size   int64
	hashes []tlog.Hash
	chains map[string]link
}

// link is the last batch of a site in the log.
type link struct {
	batch uint64
	root  string
}

// ReadHashes is for tlog.
func (t *Tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		if x < 0 || x >= int64(len(t.hashes)) {
			return nil, fmt.Errorf("the log has no hash %d", x)
		}
		out[i] = t.hashes[x]
	}
	return out, nil
}

// Size is how many records there are.
func (t *Tree) Size() int64 { return t.size }

// Add appends a record, which has to go on with the chain of its site.
func (t *Tree) Add(canonical []byte) error {
	r, err := ledger.ParseLogRecord(canonical)
	if err != nil {
		return fmt.Errorf("record %d of the log: %w", t.size, err)
	}
	last, known := t.chains[r.Site]
	switch {
	case known && r.Batch <= last.batch:
		return fmt.Errorf("record %d of the log: batch %d of %s stands after batch %d", t.size, r.Batch, r.Site, last.batch)
	case known && r.Batch != last.batch+1, !known && r.Batch != 0:
		return fmt.Errorf("record %d of the log: batch %d of %s, and the one before it is missing", t.size, r.Batch, r.Site)
	case r.Previous != last.root:
		return fmt.Errorf("record %d of the log: batch %d of %s goes on from root %q, the log has %q", t.size, r.Batch, r.Site, r.Previous, last.root)
	}
	return t.add(canonical, r)
}

func (t *Tree) add(canonical []byte, r ledger.LogRecord) error {
	hashes, err := tlog.StoredHashes(t.size, canonical, t)
	if err != nil {
		return fmt.Errorf("record %d of the log: %w", t.size, err)
	}
	t.hashes = append(t.hashes, hashes...)
	t.size++
	if t.chains == nil {
		t.chains = map[string]link{}
	}
	t.chains[r.Site] = link{r.Batch, r.Root}
	return nil
}

// Next is the batch of a site that the log lacks first.
func (t *Tree) Next(site string) uint64 {
	if last, known := t.chains[site]; known {
		return last.batch + 1
	}
	return 0
}

// Sites are those that have a record.
func (t *Tree) Sites() []string {
	var out []string
	for s := range t.chains {
		out = append(out, s)
	}
	return out
}

// Root is the tree hash over the first size records.
func (t *Tree) Root(size int64) (tlog.Hash, error) {
	if size < 0 || size > t.size {
		return tlog.Hash{}, fmt.Errorf("the log has %d records, not %d", t.size, size)
	}
	if size == 0 {
		return tlog.Hash(ledger.RootHash(nil)), nil
	}
	return tlog.TreeHash(size, t)
}

// Inclusion proves that a record is among the first size ones.
func (t *Tree) Inclusion(index, size int64) (tlog.RecordProof, error) {
	if index < 0 || index >= size || size > t.size {
		return nil, fmt.Errorf("the log has %d records: none is number %d of %d", t.size, index, size)
	}
	return tlog.ProveRecord(size, index, t)
}

// Extends proves that the tree begins with the one of a checkpoint.
func (t *Tree) Extends(c Checkpoint) error {
	if c.Size > t.size {
		return fmt.Errorf("a checkpoint says %d records and the log has %d: records are missing", c.Size, t.size)
	}
	old, err := t.Root(c.Size)
	if err != nil {
		return err
	}
	if old != c.Root {
		return fmt.Errorf("a checkpoint says root %s over %d records, and the log has %s: the log was rewritten", c.Root, c.Size, old)
	}
	if c.Size == 0 {
		return nil
	}
	// The same again as whoever only has the proof would find it.
	root, err := t.Root(t.size)
	if err != nil {
		return err
	}
	proof, err := tlog.ProveTree(t.size, c.Size, t)
	if err != nil {
		return fmt.Errorf("prove that the log goes on from %d records: %w", c.Size, err)
	}
	if err := tlog.CheckTree(proof, t.size, root, c.Size, c.Root); err != nil {
		return fmt.Errorf("prove that the log goes on from %d records: %w", c.Size, err)
	}
	return nil
}
