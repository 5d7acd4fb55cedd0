package evidence

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sync/errgroup"

	"github.com/wattledger/wattledger/aggregator/ledger"
	"github.com/wattledger/wattledger/schemas/record"
)

// Source is a ledger as it is stored.
type Source interface {
	// Seals are all seals.
	Seals(ctx context.Context) ([]record.Seal, error)
	// Batches are some batches of one site, in order, whole and as they are stored.
	Batches(ctx context.Context, seals []record.Seal) ([]Batch, error)
	// Unsealed counts rows of batches that have no seal or another one, by table: attempts that never committed.
	Unsealed(ctx context.Context) (map[string]int64, error)
	LogRows(ctx context.Context) ([]LogRow, error)
	CheckpointRows(ctx context.Context) ([]CheckpointRow, error)
}

// Options are how a ledger is checked.
type Options struct {
	Secret ledger.Secret
	Key    note.Verifier
	// Earlier is a checkpoint that somebody kept elsewhere; nil when there is none.
	Earlier []byte
	// Progress is called with the seals checked and their number; nil tells nobody.
	Progress func(done, all int64)
}

// groupEntries is how many entries are read at once; groupSeals how many batches.
const (
	groupEntries = 40_000
	groupSeals   = 200
)

// Check checks a whole ledger. Its memory is bounded by a few batches, beside the seals and the records of the log. The error
// is about reading; what is wrong with the ledger is in the report.
func Check(ctx context.Context, src Source, o Options) (*Report, error) {
	r := &Report{}
	seals, err := src.Seals(ctx)
	if err != nil {
		return r, err
	}
	slices.SortStableFunc(seals, func(a, b record.Seal) int { return cmp.Or(cmp.Compare(a.Site, b.Site), cmp.Compare(a.Batch, b.Batch)) })
	rows, err := src.LogRows(ctx)
	if err != nil {
		return r, err
	}
	checkpoints, err := src.CheckpointRows(ctx)
	if err != nil {
		return r, err
	}
	r.CheckLog(rows, seals, checkpoints, o.Key)
	if o.Earlier != nil {
		r.CheckEarlier(rows, o.Earlier, o.Key, "the checkpoint that was kept elsewhere")
	}
	left, err := src.Unsealed(ctx)
	if err != nil {
		return r, err
	}
	for _, table := range sortedKeys(left) {
		if left[table] > 0 {
			r.note("%d rows of %s belong to no seal: an attempt that was cut off left them, and nobody reads them", left[table], table)
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	done := int64(0)
	sites := map[string]bool{}
	for group := range groups(seals) {
		sites[group[0].Site] = true
		key := o.Secret.Site(group[0].Site)
		g.Go(func() error {
			batches, err := src.Batches(ctx, group)
			if err != nil {
				return fmt.Errorf("read batches %d to %d of %s: %w", group[0].Batch, group[len(group)-1].Batch, group[0].Site, err)
			}
			for _, b := range batches {
				r.add(CheckBatch(b, key)...)
				r.count(b)
				if b.Repeated > 0 {
					r.note("batch %d of %s: %d rows are stored more than once, and are counted once", b.Seal.Batch, b.Seal.Site, b.Repeated)
				}
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			done += int64(len(group))
			if o.Progress != nil {
				o.Progress(done, int64(len(seals)))
			}
			return nil
		})
	}
	err = g.Wait()
	r.Sites = len(sites)
	return r, err
}

// groups parts seals, which are in order of site and batch, into stretches of one site that can be read at once.
func groups(seals []record.Seal) func(yield func([]record.Seal) bool) {
	return func(yield func([]record.Seal) bool) {
		for from := 0; from < len(seals); {
			to, entries := from, 0
			for to < len(seals) && to-from < groupSeals && seals[to].Site == seals[from].Site && (to == from || entries+seals[to].Entries <= groupEntries) {
				entries += seals[to].Entries
				to++
			}
			if !yield(seals[from:to]) {
				return
			}
			from = to
		}
	}
}
