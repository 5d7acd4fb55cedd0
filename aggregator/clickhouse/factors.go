package clickhouse

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Span narrows a book down to what hours in it are accounted with.
type Span = factor.Span

// AppendFactors stores editions, all under one new sequence. What the newest edition of the same series says of the same time already
// is left out, so that storing twice changes nothing; what it says otherwise is a revision, and the edition before stays. Editions that
// contradict themselves or one another are refused, all together, with a factor.RefusedError.
//
// Sequences are counted up by whoever writes, and two writers may take the same one. Whoever finds that another was there writes its
// editions again under the next: who knows the book as of a sequence then misses nothing that came under a later one.
func (s *Store) AppendFactors(ctx context.Context, editions []factor.Edition) (factor.Appended, error) {
	var refused []factor.Finding
	for _, f := range factor.Check(sequenced(editions, 0)) {
		if f.Refused {
			refused = append(refused, f)
		}
	}
	if len(refused) > 0 {
		return factor.Appended{}, &factor.RefusedError{Findings: refused}
	}
	if len(editions) == 0 {
		return factor.Appended{}, nil
	}
	have, err := s.factors(ctx, "kind IN {kinds:Array(String)} AND key IN {keys:Array(String)}", kindsAndKeys(editions)...)
	if err != nil {
		return factor.Appended{}, err
	}
	newest := map[span]factor.Edition{}
	for _, e := range have {
		if old, ok := newest[spanOf(e)]; !ok || e.Sequence >= old.Sequence {
			newest[spanOf(e)] = e
		}
	}
	var res factor.Appended
	var fresh []factor.Edition
	for _, e := range editions {
		old, ok := newest[spanOf(e)]
		if ok && old.ID() == e.ID() {
			res.Known++
			continue
		}
		if ok {
			res.Revised++
		}
		fresh = append(fresh, e)
	}
	if len(fresh) == 0 {
		return res, nil
	}
	res.Stored = len(fresh)
	for range maxTurns {
		if err := s.conn.QueryRow(ctx, `SELECT max(sequence) + 1 FROM factors`).Scan(&res.Sequence); err != nil {
			return factor.Appended{}, fmt.Errorf("read the last sequence of factors: %w", err)
		}
		if err := s.insertFactors(ctx, sequenced(fresh, res.Sequence)); err != nil {
			return factor.Appended{}, err
		}
		var there uint64
		if err := s.conn.QueryRow(with(ctx, "sequence", res.Sequence), `SELECT uniqExact(id) FROM factors WHERE sequence = {sequence:UInt64}`).Scan(&there); err != nil {
			return factor.Appended{}, fmt.Errorf("look who else stored factors: %w", err)
		}
		if there == uint64(len(fresh)) {
			return res, nil
		}
		select {
		case <-ctx.Done():
			return factor.Appended{}, ctx.Err()
		case <-time.After(rand.N(20 * time.Millisecond)): // so that two do not meet for ever
		}
	}
	return factor.Appended{}, fmt.Errorf("others store factors all the time, %d editions are under no sequence of their own: run it again", len(fresh))
}

// maxTurns is how often a writer meets another before it gives up.
const maxTurns = 50

// span is what an edition and its revisions have in common.
type span struct {
	kind                              factor.Kind
	key, source, boundary, resolution string
	contract                          string
	from, to                          unit.Micros
	committed                         bool
}

func spanOf(e factor.Edition) span {
	out := span{e.Kind, e.Key, e.Source, e.Boundary, e.Resolution, "", e.From, e.To, e.Committed}
	if e.Kind == factor.Instrument {
		out.contract = e.Name
	}
	return out
}

// SeedFactors stores the committed tables, those rows of them that are not there. It gives the rows of a new version of the program a
// sequence, so that as of one before it an hour is still accounted as it was.
func (s *Store) SeedFactors(ctx context.Context) (factor.Appended, error) {
	editions, err := factor.Committed()
	if err != nil {
		return factor.Appended{}, err
	}
	res, err := s.AppendFactors(ctx, editions)
	if err != nil {
		return factor.Appended{}, fmt.Errorf("store the committed factors: %w", err)
	}
	return res, nil
}

// Book is the set of editions that were known as of a sequence (factor.Newest for all), with the store's chains. Of hourly values
// those outside the span are left out, which nothing chooses for its hours. A database that was never seeded has the committed tables
// with sequence 0.
func (s *Store) Book(ctx context.Context, asOf uint64, of Span) (*factor.Book, error) {
	where, args := "sequence <= {as_of:UInt64}", []any{"as_of", asOf}
	if of != (Span{}) {
		where += " AND (resolution != 'hourly' OR from_us >= {from:Int64} AND from_us < {to:Int64})"
		args = append(args, "from", int64(of.From.FloorHour()), "to", int64(of.To))
	}
	editions, err := s.factors(ctx, where, args...)
	if err != nil {
		return nil, err
	}
	var seeded bool
	if err := s.conn.QueryRow(ctx, `SELECT count() > 0 FROM (SELECT 1 FROM factors WHERE committed LIMIT 1)`).Scan(&seeded); err != nil {
		return nil, fmt.Errorf("look for the committed factors: %w", err)
	}
	if !seeded {
		committed, err := factor.Committed()
		if err != nil {
			return nil, err
		}
		editions = append(editions, committed...)
	}
	return factor.NewBook(editions, s.chains, asOf), nil
}

// UseChains has books choose by these chains.
func (s *Store) UseChains(chains []factor.Chain) { s.chains = chains }

func (s *Store) factors(ctx context.Context, where string, args ...any) ([]factor.Edition, error) {
	rows, err := s.conn.Query(with(ctx, args...), `SELECT kind, key, from_us, to_us, value, boundary, resolution, method, estimated, source, name, licence,
		volume_mj, cover_ppm, matching, life_ms, sequence, committed FROM factors FINAL WHERE `+where)
	if err != nil {
		return nil, fmt.Errorf("read factors: %w", err)
	}
	defer rows.Close()
	var out []factor.Edition
	for rows.Next() {
		var e factor.Edition
		var kind string
		var from, to, volume, life int64
		if err := rows.Scan(&kind, &e.Key, &from, &to, &e.Value, &e.Boundary, &e.Resolution, &e.Method, &e.Estimated, &e.Source, &e.Name, &e.Licence,
			&volume, &e.Cover, &e.Matching, &life, &e.Sequence, &e.Committed); err != nil {
			return nil, fmt.Errorf("read factors: %w", err)
		}
		e.Kind, e.From, e.To = factor.Kind(kind), unit.Micros(from), unit.Micros(to)
		e.Volume, e.Life = unit.Millijoules(volume), unit.Milliseconds(life)
		out = append(out, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read factors: %w", err)
	}
	return out, nil
}

func (s *Store) insertFactors(ctx context.Context, editions []factor.Edition) error {
	// The same editions under the same sequence are the same rows: a repeated insert is dropped by the server.
	ids := sha256.New()
	for _, e := range editions {
		ids.Write([]byte(e.ID()))
	}
	token := fmt.Sprintf("factors/%d/%x", editions[0].Sequence, ids.Sum(nil))
	return s.insert(ctx, "factors (id, kind, key, from_us, to_us, value, boundary, resolution, method, estimated, source, name, licence, volume_mj, cover_ppm, matching, life_ms, sequence, committed)",
		token, len(editions), func(b driver.Batch, i int) error {
			e := editions[i]
			return b.Append(e.ID(), string(e.Kind), e.Key, int64(e.From), int64(e.To), e.Value, e.Boundary, e.Resolution, e.Method, e.Estimated,
				e.Source, e.Name, e.Licence, int64(e.Volume), e.Cover, e.Matching, int64(e.Life), e.Sequence, e.Committed)
		})
}

// sequenced are the editions under a sequence.
func sequenced(editions []factor.Edition, sequence uint64) []factor.Edition {
	out := make([]factor.Edition, len(editions))
	for i, e := range editions {
		e.Sequence = sequence
		out[i] = e
	}
	return out
}

// kindsAndKeys are the parameters that find what editions could revise.
func kindsAndKeys(editions []factor.Edition) []any {
	kinds, keys := map[string]bool{}, map[string]bool{}
	for _, e := range editions {
		kinds[string(e.Kind)], keys[e.Key] = true, true
	}
	return []any{"kinds", array(slices.Sorted(maps.Keys(kinds))), "keys", array(slices.Sorted(maps.Keys(keys)))}
}
