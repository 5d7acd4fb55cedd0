// Package intake takes editions of factors into the store: what providers and files say, after it has been held against what is
// there.
//
// It promises that nothing is taken that would have to be chosen from silently: editions that contradict themselves or one another,
// sources of which no chain says which counts, emissions of two boundaries that would be added. Each is named and counted. A series with
// holes is taken only where that is allowed.
package intake

import (
	"context"
	"slices"

	"github.com/wattledger/wattledger/aggregator/carbon"
	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
)

// Store keeps editions.
type Store interface {
	// AppendFactors stores all or none; twice is once.
	AppendFactors(ctx context.Context, editions []factor.Edition) (factor.Appended, error)
	Book(ctx context.Context, asOf uint64, of factor.Span) (*factor.Book, error)
	Sites(ctx context.Context) ([]record.Site, error)
}

// Refused counts refusals.
type Refused interface {
	Refused(provider, reason string)
}

// Intake takes editions.
type Intake struct {
	store  Store
	chains []factor.Chain
	count  Refused
}

// New makes an intake; chains are those that the ledger chooses by.
func New(store Store, chains []factor.Chain, count Refused) *Intake {
	return &Intake{store, chains, count}
}

// Check finds what is wrong with what is stored.
func (i *Intake) Check(ctx context.Context) ([]factor.Finding, error) {
	book, err := i.store.Book(ctx, factor.Newest, factor.Span{})
	if err != nil {
		return nil, err
	}
	sites, err := i.store.Sites(ctx)
	if err != nil {
		return nil, err
	}
	return slices.Concat(book.Check(), book.Repeated(), carbon.Check(book, sites)), nil
}

// Try says what would be wrong with the book if the editions were taken, and is not wrong with it now. With gaps, holes in a series are
// named and do not refuse it.
func (i *Intake) Try(ctx context.Context, editions []factor.Edition, gaps bool) (refused, noted []factor.Finding, err error) {
	book, err := i.store.Book(ctx, factor.Newest, factor.Span{})
	if err != nil {
		return nil, nil, err
	}
	sites, err := i.store.Sites(ctx)
	if err != nil {
		return nil, nil, err
	}
	fresh := make([]factor.Edition, len(editions))
	for k, e := range editions {
		e.Sequence = book.Sequence() + 1
		fresh[k] = e
	}
	seen := map[factor.Finding]bool{}
	take := func(list []factor.Finding) {
		for _, f := range list {
			switch {
			case seen[f]:
				continue
			case f.Code == factor.FindGap && !gaps:
				f.Refused = true
				fallthrough
			case f.Refused:
				refused = append(refused, f)
			default:
				noted = append(noted, f)
			}
			seen[f] = true
		}
	}
	take(factor.Check(fresh))
	if len(refused) > 0 { // the book would only repeat it
		return refused, noted, nil
	}
	for _, f := range append(book.Check(), carbon.Check(book, sites)...) {
		seen[f] = true // it was so before: no reason to refuse what comes now, which may mend it
	}
	after := factor.NewBook(append(book.Editions(), fresh...), i.chains, factor.Newest)
	gaps = true // what is missing between this and what was there may come yet
	take(append(after.Check(), carbon.Check(after, sites)...))
	return refused, noted, nil
}

// Take stores the editions, or refuses them with a factor.RefusedError. noted is worth saying and refuses nothing.
func (i *Intake) Take(ctx context.Context, provider string, editions []factor.Edition, gaps bool) (res factor.Appended, noted []factor.Finding, err error) {
	refused, noted, err := i.Try(ctx, editions, gaps)
	if err != nil {
		return res, nil, err
	}
	if len(refused) > 0 {
		for _, f := range refused {
			i.count.Refused(provider, f.Code)
		}
		return res, noted, &factor.RefusedError{Findings: refused}
	}
	res, err = i.store.AppendFactors(ctx, editions)
	return res, noted, err
}
