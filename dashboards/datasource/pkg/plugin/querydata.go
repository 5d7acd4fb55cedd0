package plugin

import (
	"context"
	"runtime/debug"
	"sync"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"golang.org/x/sync/errgroup"

	"github.com/wattledger/wattledger/dashboards/datasource/pkg/cache"
	"github.com/wattledger/wattledger/dashboards/datasource/pkg/frames"
	"github.com/wattledger/wattledger/dashboards/query"
)

// QueryData answers the questions of a panel, an annotation or an alert rule, each with its own error where it has one.
func (s *Source) QueryData(ctx context.Context, req *backend.QueryDataRequest) (*backend.QueryDataResponse, error) {
	scope, _, denied := s.scope(ctx, req.PluginContext, req)
	out := backend.NewQueryDataResponse()
	var mu sync.Mutex // guards out
	var group errgroup.Group
	group.SetLimit(max(s.settings.MaxParallel, 1))
	for _, q := range req.Queries {
		group.Go(func() error {
			answer := s.answer(ctx, scope, denied, q)
			mu.Lock()
			defer mu.Unlock()
			out.Responses[q.RefID] = answer
			return nil
		})
	}
	return out, group.Wait()
}

// answer answers one question. A bug in one must not take down those of everybody else, which run in the same process.
func (s *Source) answer(ctx context.Context, scope query.Scope, denied error, raw backend.DataQuery) (answer backend.DataResponse) {
	began := s.now()
	q, span, noticed, err := decode(raw)
	defer func() {
		if p := recover(); p != nil {
			f := failed(ctx, &cache.Panic{Value: p, Stack: debug.Stack()}, q.Kind, false)
			s.count(ctx, q.Kind, began, 0, f)
			answer = f.response()
		}
	}()
	rows := 0
	var f *failure
	switch {
	case denied != nil: // before what was asked: whoever is nobody learns nothing
		f = failed(ctx, denied, q.Kind, false)
	case err != nil:
		f = badQuestion(err)
	default:
		var got []query.Frame
		if got, err = s.ask(ctx, scope, q, span); err != nil {
			f = failed(ctx, err, q.Kind, scope.All)
			break
		}
		metric, _ := q.Validate()
		answer.Frames = frames.Of(got, frames.Asked{Metric: metric, Form: q.Form, By: q.By, UID: s.uid, Notices: noticed})
		answer.Status = backend.StatusOK
		for _, frame := range answer.Frames {
			rows += frame.Rows()
		}
	}
	if f != nil {
		answer = f.response()
	}
	s.count(ctx, q.Kind, began, rows, f)
	return answer
}

// ask puts a question to the engine, through the cache.
func (s *Source) ask(ctx context.Context, scope query.Scope, q query.Query, span query.Span) ([]query.Frame, error) {
	if q.Kind == query.KindSQL && (!scope.All || !s.settings.AllowSQL) {
		return nil, &query.Refusal{Reason: query.ReasonSQLOff, Text: "SQL is off: it needs a data source of scope operator whose settings allow it"}
	}
	_, e, err := s.reach(ctx)
	if err != nil {
		return nil, err
	}
	return e.Query(ctx, scope, q, span)
}
