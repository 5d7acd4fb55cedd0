package process

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// LimitRepeats passes log lines on, but of those that share message and "reason" attribute only one per
// interval; the next that passes says how many were left out ("repeated"). Lines without a reason always
// pass. Counters, not log lines, say how often something happened.
func LimitRepeats(next slog.Handler, interval time.Duration) slog.Handler {
	return &limiter{next: next, state: &limiterState{interval: interval, seen: map[limitKey]*limitEntry{}}}
}

type limiter struct {
	next   slog.Handler
	state  *limiterState
	reason string // from With
}

type limitKey struct{ message, reason string }

type limitEntry struct {
	until   time.Time
	dropped int
}

type limiterState struct {
	interval time.Duration
	mu       sync.Mutex
	seen     map[limitKey]*limitEntry // guarded by mu
}

// maxReasons bounds the memory if somebody puts a value that always differs into a reason.
const maxReasons = 1024

func (l *limiter) Enabled(ctx context.Context, level slog.Level) bool {
	return l.next.Enabled(ctx, level)
}

func (l *limiter) Handle(ctx context.Context, r slog.Record) error {
	reason := l.reason
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "reason" {
			reason = a.Value.String()
			return false
		}
		return true
	})
	if reason == "" {
		return l.next.Handle(ctx, r)
	}
	pass, dropped := l.state.take(limitKey{r.Message, reason}, r.Time)
	if !pass {
		return nil
	}
	if dropped > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("repeated", dropped))
	}
	return l.next.Handle(ctx, r)
}

func (s *limiterState) take(k limitKey, now time.Time) (pass bool, dropped int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.seen[k]
	if e == nil {
		if len(s.seen) >= maxReasons {
			clear(s.seen)
		}
		e = &limitEntry{}
		s.seen[k] = e
	}
	if now.Before(e.until) {
		e.dropped++
		return false, 0
	}
	dropped, e.dropped = e.dropped, 0
	e.until = now.Add(s.interval)
	return true, dropped
}

func (l *limiter) WithAttrs(attrs []slog.Attr) slog.Handler {
	reason := l.reason
	for _, a := range attrs {
		if a.Key == "reason" {
			reason = a.Value.String()
		}
	}
	return &limiter{next: l.next.WithAttrs(attrs), state: l.state, reason: reason}
}

func (l *limiter) WithGroup(name string) slog.Handler {
	return &limiter{next: l.next.WithGroup(name), state: l.state, reason: l.reason}
}
