package plugin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"

	"github.com/wattledger/wattledger/dashboards/datasource/pkg/channel"
	"github.com/wattledger/wattledger/dashboards/datasource/pkg/frames"
	"github.com/wattledger/wattledger/dashboards/datasource/pkg/settings"
	"github.com/wattledger/wattledger/dashboards/query"
)

// A stream looks back so far at first, and so far each time after: samples arrive some seconds after their tick.
const (
	streamFirst  = 5 * time.Minute
	streamWindow = time.Minute
	// streamFaults in a row end a stream; Grafana begins it anew, ever later.
	streamFaults = 5
)

var errNoChannel = errors.New("no such live channel, or not for you")

// admit reads a channel and checks that whoever has the scope may hear it.
func (s *Source) admit(path string, scope query.Scope) (channel.Path, error) {
	sealed := s.settings.Scope == settings.Identity
	p, err := channel.Parse(path, sealed)
	if err != nil {
		return channel.Path{}, err
	}
	if sealed {
		if whose, ok := s.channels.Open(p.Seal); !ok || whose != scope {
			return channel.Path{}, errNoChannel
		}
	}
	return p, nil
}

// SubscribeStream lets somebody listen to a channel that carries what they may see, and nobody else.
func (s *Source) SubscribeStream(ctx context.Context, req *backend.SubscribeStreamRequest) (*backend.SubscribeStreamResponse, error) {
	scope, _, err := s.scope(ctx, req.PluginContext, req)
	if err != nil {
		s.refuse(ctx, failed(ctx, err, query.KindDevice, false))
		return &backend.SubscribeStreamResponse{Status: backend.SubscribeStreamStatusPermissionDenied}, nil
	}
	if _, err := s.admit(req.Path, scope); err != nil {
		if !errors.Is(err, errNoChannel) {
			return &backend.SubscribeStreamResponse{Status: backend.SubscribeStreamStatusNotFound}, nil
		}
		s.refuse(ctx, &failure{reason: "channel_of_others", text: err.Error(), err: err})
		return &backend.SubscribeStreamResponse{Status: backend.SubscribeStreamStatusPermissionDenied}, nil
	}
	if s.settings.MaxStreams == 0 {
		s.refuse(ctx, &failure{reason: "streams_off", text: "live channels are off: maxStreams is 0"})
		return &backend.SubscribeStreamResponse{Status: backend.SubscribeStreamStatusPermissionDenied}, nil
	}
	return &backend.SubscribeStreamResponse{Status: backend.SubscribeStreamStatusOK}, nil
}

// PublishStream is refused: nobody but the devices says what they read.
func (s *Source) PublishStream(ctx context.Context, _ *backend.PublishStreamRequest) (*backend.PublishStreamResponse, error) {
	s.refuse(ctx, &failure{reason: "publish", text: "nothing can be published"})
	return &backend.PublishStreamResponse{Status: backend.PublishStreamStatusPermissionDenied}, nil
}

func (s *Source) refuse(ctx context.Context, f *failure) {
	s.metrics.refused.WithLabelValues(f.reason).Inc()
	if yes, skipped := s.quiet.may("channel"+f.reason, s.now()); yes {
		s.log.FromContext(ctx).Info("live channel refused", "reason", f.reason, "skipped", skipped)
	}
}

// RunStream sends what a channel's device or site reads, until nobody listens any more. The scope is the data source's, or the one
// under the channel's seal: the user of this request is only whoever came first.
func (s *Source) RunStream(ctx context.Context, req *backend.RunStreamRequest, sender *backend.StreamSender) error {
	if s.broken != nil {
		return s.broken
	}
	scope, fixed := s.resolver.Fixed()
	if !fixed {
		p, err := channel.Parse(req.Path, true)
		if err != nil {
			return err
		}
		var ok bool
		if scope, ok = s.channels.Open(p.Seal); !ok {
			return errNoChannel
		}
	}
	p, err := s.admit(req.Path, scope)
	if err != nil {
		return err
	}
	leave, err := s.enter()
	if err != nil {
		return err
	}
	defer leave()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	return s.stream(ctx, scope, p, func(f *data.Frame) error { return sender.SendFrame(f, data.IncludeAll) })
}

// enter counts a stream in.
func (s *Source) enter() (leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life.Err() != nil {
		return nil, errDisposed
	}
	if s.streams >= s.settings.MaxStreams {
		s.metrics.refused.WithLabelValues("too_many_streams").Inc()
		return nil, fmt.Errorf("%d live channels run already: close dashboards, or raise maxStreams", s.streams)
	}
	s.streams++
	s.running.Add(1)
	s.metrics.streams.Inc()
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.streams--
		s.running.Done()
		s.metrics.streams.Dec()
	}, nil
}

// stream asks again and again and sends points that are new.
func (s *Source) stream(ctx context.Context, scope query.Scope, p channel.Path, send func(*data.Frame) error) error {
	tick := time.NewTicker(p.Every)
	defer tick.Stop()
	var last time.Time
	metric, err := p.Query().Validate()
	if err != nil {
		return err
	}
	for faults := 0; ; {
		began := s.now()
		back := streamWindow
		if last.IsZero() {
			back = streamFirst
		}
		got, err := s.askLive(ctx, scope, p, query.Span{From: began.Add(-back), To: began, MaxPoints: int(back / time.Second), Interval: time.Second})
		switch {
		case ctx.Err() != nil:
			return nil // nobody listens any more
		case err != nil:
			s.count(ctx, p.Kind, began, 0, failed(ctx, err, p.Kind, scope.All))
			if faults++; faults >= streamFaults {
				return err
			}
		default:
			faults = 0
			rows := 0
			for _, f := range frames.Of(after(got, last), frames.Asked{Metric: metric, Form: query.FormSeries, UID: s.uid}) {
				if f.Rows() == 0 {
					continue
				}
				rows += f.Rows()
				if t, ok := f.Fields[0].At(f.Rows() - 1).(time.Time); ok && t.After(last) {
					last = t
				}
				if err := send(f); err != nil {
					return err
				}
			}
			s.count(ctx, p.Kind, began, rows, nil)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// askLive asks the engine itself: what is live is in no cache.
func (s *Source) askLive(ctx context.Context, scope query.Scope, p channel.Path, span query.Span) ([]query.Frame, error) {
	e, _, err := s.reach(ctx)
	if err != nil {
		return nil, err
	}
	return e.Query(ctx, scope, p.Query(), span)
}

// after keeps the points of a series that are there and later than last. One series is a channel.
func after(got []query.Frame, last time.Time) []query.Frame {
	if len(got) == 0 || len(got[0].Columns) != 2 || got[0].Columns[0].Type != query.Time || got[0].Columns[1].Type != query.Number {
		return nil
	}
	f := got[0]
	times, numbers := f.Columns[0], f.Columns[1]
	at, n := times.Times, numbers.Numbers
	times.Times, numbers.Numbers = nil, nil
	for i, t := range at {
		if t.After(last) && n[i] == n[i] {
			times.Times = append(times.Times, t)
			numbers.Numbers = append(numbers.Numbers, n[i])
		}
	}
	f.Columns = []query.Column{times, numbers}
	return []query.Frame{f}
}
