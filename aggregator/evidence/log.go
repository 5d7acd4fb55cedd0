package evidence

import (
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/note"

	"github.com/wattledger/wattledger/aggregator/ledger"
	"github.com/wattledger/wattledger/aggregator/transparency"
	"github.com/wattledger/wattledger/schemas/record"
)

// LogRow is a record of the log as it is stored: the hashed bytes, and beside them what the columns say.
type LogRow struct {
	Index  uint64
	Site   string
	Batch  uint64
	Root   string
	Record []byte
}

// CheckpointRow is a checkpoint as it is stored.
type CheckpointRow struct {
	Size uint64
	Root string
	Note []byte
}

// logFindings checks the log by itself and gives its tree and its records by site and batch.
func logFindings(rows []LogRow) (*transparency.Tree, map[string]map[uint64]ledger.LogRecord, []Finding) {
	var list []Finding
	add := func(format string, args ...any) { list = append(list, Finding{What: fmt.Sprintf(format, args...)}) }
	tree := &transparency.Tree{}
	bySite := map[string]map[uint64]ledger.LogRecord{}
	broken := false
	next := uint64(0)
	for _, row := range rows {
		if row.Index != next {
			if row.Index < next {
				add("log: record %d is there twice", row.Index)
				continue
			}
			add("log: records %d to %d are missing", next, row.Index-1)
			broken = true
		}
		next = row.Index + 1
		r, err := ledger.ParseLogRecord(row.Record)
		if err != nil {
			add("log: record %d: %v", row.Index, err)
			broken = true
			continue
		}
		for _, c := range []struct{ name, stored, sealed string }{
			{"site", row.Site, r.Site}, {"batch", fmt.Sprint(row.Batch), fmt.Sprint(r.Batch)}, {"root", row.Root, r.Root},
		} {
			if c.stored != c.sealed {
				add("log: record %d: %s is stored as %s, and is %s in its bytes", row.Index, c.name, c.stored, c.sealed)
			}
		}
		if bySite[r.Site] == nil {
			bySite[r.Site] = map[uint64]ledger.LogRecord{}
		}
		bySite[r.Site][r.Batch] = r
		if broken {
			continue
		}
		if err := tree.Add(row.Record); err != nil {
			add("log: %v", err)
			broken = true
		}
	}
	return tree, bySite, list
}

// CheckLog says what is wrong with the log: by itself, against the seals, and against every checkpoint that was signed.
func (r *Report) CheckLog(rows []LogRow, seals []record.Seal, checkpoints []CheckpointRow, key note.Verifier) {
	tree, bySite, list := logFindings(rows)
	r.Log, r.Origin = tree.Size(), key.Name()
	r.add(list...)
	r.add(chain(seals)...)
	for _, s := range seals {
		have, ok := bySite[s.Site][s.Batch]
		if !ok {
			r.note("batch %d of %s is sealed and not in the log yet: the aggregator appends it at its next round", s.Batch, s.Site)
			continue
		}
		r.add(againstLog(s, have)...)
		delete(bySite[s.Site], s.Batch)
	}
	for _, site := range sortedKeys(bySite) {
		for _, batch := range sortedKeys(bySite[site]) {
			r.add(Finding{Site: site, Batch: batch, What: fmt.Sprintf("the log has its root %s, and there is no such seal", bySite[site][batch].Root)})
		}
	}
	sizes := map[uint64]bool{}
	for _, c := range checkpoints {
		if sizes[c.Size] {
			r.add(Finding{What: fmt.Sprintf("log: two checkpoints of size %d are kept", c.Size)})
		}
		sizes[c.Size] = true
		if r.checkpoint(tree, c.Note, key, fmt.Sprintf("the checkpoint of %d records", c.Size)) {
			opened, err := transparency.OpenCheckpoint(c.Note, key)
			if err == nil && (opened.Size != int64(c.Size) || opened.Root.String() != c.Root) {
				r.add(Finding{What: fmt.Sprintf("log: a checkpoint is stored as size %d, root %s, and is size %d, root %s in its bytes",
					c.Size, c.Root, opened.Size, opened.Root)})
			}
		}
	}
	last := uint64(0)
	for size := range sizes {
		last = max(last, size)
	}
	switch {
	case len(checkpoints) == 0 && tree.Size() > 0:
		r.add(Finding{What: fmt.Sprintf("log: no checkpoint is kept over its %d records", tree.Size())})
	case last < uint64(tree.Size()):
		r.note("the last %d records of the log are not under a checkpoint yet", uint64(tree.Size())-last)
	}
}

// CheckEarlier checks that the log goes on from a checkpoint that somebody kept elsewhere.
func (r *Report) CheckEarlier(rows []LogRow, msg []byte, key note.Verifier, name string) {
	tree, _, _ := logFindings(rows)
	r.checkpoint(tree, msg, key, name)
}

// checkpoint checks one against the tree, and says whether it is right.
func (r *Report) checkpoint(tree *transparency.Tree, msg []byte, key note.Verifier, name string) bool {
	c, err := transparency.OpenCheckpoint(msg, key)
	if err == nil {
		err = tree.Extends(c)
	}
	if err != nil {
		r.add(Finding{What: fmt.Sprintf("log: %s: %v", name, err)})
		return false
	}
	r.Checkpoint = true
	return true
}

// againstLog sets a seal against what the log says of it.
func againstLog(s record.Seal, r ledger.LogRecord) []Finding {
	var list []Finding
	stored := ledger.LogRecordOf(s)
	for _, c := range []struct{ name, stored, logged string }{
		{"root", stored.Root, r.Root}, {"previous", stored.Previous, r.Previous}, {"hour", stored.Hour, r.Hour},
	} {
		if c.stored != c.logged {
			list = append(list, Finding{Site: s.Site, Batch: s.Batch, What: fmt.Sprintf("the seal: its %s is %s, the log says %s", c.name, c.stored, c.logged)})
		}
	}
	return list
}

// chain checks that the seals of each site follow one another. They are in order of site and batch.
func chain(seals []record.Seal) []Finding {
	var list []Finding
	var last record.Seal
	for i, s := range seals {
		add := func(format string, args ...any) {
			list = append(list, Finding{Site: s.Site, Batch: s.Batch, What: fmt.Sprintf(format, args...)})
		}
		first := i == 0 || last.Site != s.Site
		switch {
		case first && s.Batch != 0:
			add("it is the first seal of its site: those of batches 0 to %d are missing", s.Batch-1)
		case first && s.Previous != "":
			add("the seal: it is the first of its site, and its previous is %s", s.Previous)
		case !first && s.Batch == last.Batch:
			add("it has two seals, %s and %s", last.Root, s.Root)
		case !first && s.Batch != last.Batch+1:
			add("the seals of batches %d to %d before it are missing", last.Batch+1, s.Batch-1)
		case !first && s.Previous != last.Root:
			add("the seal: its previous is %s, and the root of batch %d is %s", s.Previous, last.Batch, last.Root)
		}
		last = s
	}
	return list
}

func sortedKeys[K ~string | ~uint64, V any](m map[K]V) []K {
	out := make([]K, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
