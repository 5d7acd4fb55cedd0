package plugin

import (
	"context"

	"github.com/wattledger/wattledger/dashboards/query"
)

// gate lets so many questions through to an engine at a time; the others wait in line, as long as their panels do. Without it they would
// wait for a connection, which ClickHouse's client gives up after the time for dialling.
type gate struct {
	Engine
	slots chan struct{}
}

// newGate keeps half of the connections for the second and third statements of questions that have such.
func newGate(e Engine, connections int) *gate {
	return &gate{e, make(chan struct{}, max(connections/2, 1))}
}

func (g *gate) enter(ctx context.Context) error {
	select {
	case g.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *gate) leave() { <-g.slots }

func (g *gate) Query(ctx context.Context, scope query.Scope, q query.Query, span query.Span) ([]query.Frame, error) {
	if err := g.enter(ctx); err != nil {
		return nil, err
	}
	defer g.leave()
	return g.Engine.Query(ctx, scope, q, span)
}

func (g *gate) Values(ctx context.Context, scope query.Scope, of query.Dimension, filters []query.Filter, match string, limit int) ([]query.Value, error) {
	if err := g.enter(ctx); err != nil {
		return nil, err
	}
	defer g.leave()
	return g.Engine.Values(ctx, scope, of, filters, match, limit)
}
