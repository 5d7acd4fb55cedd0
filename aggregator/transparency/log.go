package transparency

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/note"

	"github.com/wattledger/wattledger/aggregator/ledger"
	"github.com/wattledger/wattledger/schemas/record"
)

// Store keeps records and checkpoints. It changes and removes none.
type Store interface {
	// LogRecords are the records from an index on, in order; a record that is there twice is given once, and an index with two
	// different records is an error.
	LogRecords(ctx context.Context, from int64) iter.Seq2[[]byte, error]
	// AppendLog offers records from an index on. When the index is taken already they are dropped without error.
	AppendLog(ctx context.Context, index int64, records [][]byte) error
	// SealsAfter are the seals of batches from next[site] on, of a site that is not named from 0 on.
	SealsAfter(ctx context.Context, next map[string]uint64) ([]record.Seal, error)
	// LastCheckpoint is the largest that was kept; nil when there is none.
	LastCheckpoint(ctx context.Context) ([]byte, error)
	// KeepCheckpoint keeps one. When there is one of that size already it is dropped without error.
	KeepCheckpoint(ctx context.Context, size int64, root string, msg []byte) error
}

// Log appends seals to the log and signs what it has become.
type Log struct {
	store  Store
	signer note.Signer
	key    note.Verifier
	log    *slog.Logger

	mu   sync.Mutex // guards tree, which mirrors the store
	tree *Tree

	size     prometheus.Gauge
	proved   prometheus.Gauge
	signed   prometheus.Counter
	refusals prometheus.Counter
}

// New makes a log over a store. Nothing is read until Update.
func New(store Store, signer note.Signer, key note.Verifier, log *slog.Logger, reg prometheus.Registerer) (*Log, error) {
	l := &Log{
		store: store, signer: signer, key: key, log: log, tree: &Tree{},
		size: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "wattledger", Subsystem: "aggregator", Name: "log_records", Help: "Records in the transparency log: one for each seal.",
		}),
		signed: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "wattledger", Subsystem: "aggregator", Name: "log_checkpoints_total", Help: "Checkpoints of the transparency log that were signed.",
		}),
		proved: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "wattledger", Subsystem: "aggregator", Name: "log_checkpoint_records", Help: "Records of the transparency log that the last kept checkpoint covers.",
		}),
		refusals: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "wattledger", Subsystem: "aggregator", Name: "log_inconsistent_total",
			Help: "Times that a checkpoint was not signed because the log does not go on from what was signed or sealed before.",
		}),
	}
	for _, m := range []prometheus.Collector{l.size, l.proved, l.signed, l.refusals} {
		if err := reg.Register(m); err != nil {
			return nil, fmt.Errorf("register metrics of the log: %w", err)
		}
	}
	return l, nil
}

// ErrInconsistent means that the log was changed behind our back. Nothing is signed until a person has looked: see
// `wattledger ledger verify`.
var ErrInconsistent = errors.New("the transparency log is not what was signed before")

// chunk is how many records go into one insert.
const chunk = 1000

// Update appends the seals that the log lacks, in order, and signs a checkpoint when the log has grown. It may be cut off
// anywhere and called by several at once: an index is taken once, and what was left undone is done by the next call.
func (l *Log) Update(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.read(ctx); err != nil {
		return err
	}
	for {
		missing, err := l.missing(ctx)
		if err != nil {
			return err
		}
		if len(missing) == 0 {
			break
		}
		missing = missing[:min(len(missing), chunk)]
		before := l.tree.Size()
		if err := l.store.AppendLog(ctx, before, missing); err != nil {
			return err
		}
		// What counts is what the store has now: ours, or those of another who was faster.
		if err := l.read(ctx); err != nil {
			return err
		}
		if l.tree.Size() == before {
			return fmt.Errorf("record %d was appended to the log and is not there: look at the tables log_records and log_checkpoints", before)
		}
	}
	l.size.Set(float64(l.tree.Size()))
	return l.sign(ctx)
}

// read adds to the tree what the store has beyond it.
func (l *Log) read(ctx context.Context) error {
	for r, err := range l.store.LogRecords(ctx, l.tree.Size()) {
		if err != nil {
			return err
		}
		if err := l.tree.Add(r); err != nil {
			l.refusals.Inc()
			l.tree = &Tree{} // as it is not what the store has
			return fmt.Errorf("%w: %w", ErrInconsistent, err)
		}
	}
	return nil
}

// missing are the records of seals that are not in the tree, as they are to be appended.
func (l *Log) missing(ctx context.Context) ([][]byte, error) {
	next := map[string]uint64{}
	for _, site := range l.tree.Sites() {
		next[site] = l.tree.Next(site)
	}
	seals, err := l.store.SealsAfter(ctx, next)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(seals, func(a, b record.Seal) int {
		return cmp.Or(cmp.Compare(a.Hour, b.Hour), cmp.Compare(a.Site, b.Site), cmp.Compare(a.Batch, b.Batch))
	})
	var out [][]byte
	for _, s := range seals {
		b, err := ledger.LogRecordOf(s).Canonical()
		if err != nil {
			return nil, err
		}
		if s.Batch != next[s.Site] { // it would be in no chain, and so block the log for good
			l.refusals.Inc()
			return nil, fmt.Errorf("%w: batch %d of %s is sealed and batch %d is not in the log", ErrInconsistent, s.Batch, s.Site, next[s.Site])
		}
		next[s.Site]++
		out = append(out, b)
	}
	return out, nil
}

// sign signs the tree, once it is proved that it goes on from the last checkpoint.
func (l *Log) sign(ctx context.Context) error {
	msg, err := l.store.LastCheckpoint(ctx)
	if err != nil {
		return err
	}
	var last Checkpoint
	if msg != nil {
		last, err = OpenCheckpoint(msg, l.key)
		if err == nil {
			err = l.tree.Extends(last)
		}
		if err != nil {
			l.refusals.Inc()
			return fmt.Errorf("%w: %w", ErrInconsistent, err)
		}
	}
	if l.tree.Size() == last.Size {
		l.proved.Set(float64(last.Size))
		return nil
	}
	now, err := l.tree.checkpoint(l.signer.Name())
	if err != nil {
		return err
	}
	if msg, err = now.Sign(l.signer); err != nil {
		return err
	}
	if err := l.store.KeepCheckpoint(ctx, now.Size, now.Root.String(), msg); err != nil {
		return err
	}
	kept, err := l.store.LastCheckpoint(ctx)
	if err != nil {
		return err
	}
	if !bytes.Equal(kept, msg) {
		// Another who signs with this key was faster, which is no fault as long as it saw the same log.
		c, err := OpenCheckpoint(kept, l.key)
		if err != nil || c.Size < now.Size || (c.Size == now.Size && c.Root != now.Root) {
			l.refusals.Inc()
			return fmt.Errorf("%w: a checkpoint of %d records was signed and another one is kept (%w)", ErrInconsistent, now.Size, cmp.Or(err, errAnother))
		}
		l.proved.Set(float64(c.Size))
		return nil
	}
	l.signed.Inc()
	l.proved.Set(float64(now.Size))
	l.log.Debug("checkpoint signed", "origin", now.Origin, "size", now.Size, "root", now.Root.String())
	return nil
}

var errAnother = errors.New("of another root or size")

func (t *Tree) checkpoint(origin string) (Checkpoint, error) {
	root, err := t.Root(t.size)
	return Checkpoint{Origin: origin, Size: t.size, Root: root}, err
}
