// Package plugin is one data source of Grafana's: it answers panels, alert rules, variables, annotations and live channels.
//
// It decides who asks (identity), reads what is asked, runs it on the engine (the interface Engine, which dashboards/clickhouse
// implements) through the cache, and shapes the answer (frames). Every question has a scope before anything else happens to it, and
// nothing in a question can change it. Grafana makes one Source for each configured data source and a new one when its settings change;
// Dispose closes the old one's connections and ends its streams.
package plugin

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/backend/instancemgmt"
	"github.com/grafana/grafana-plugin-sdk-go/backend/log"
	"github.com/grafana/grafana-plugin-sdk-go/config"

	"github.com/wattledger/wattledger/dashboards/datasource/pkg/cache"
	"github.com/wattledger/wattledger/dashboards/datasource/pkg/channel"
	"github.com/wattledger/wattledger/dashboards/datasource/pkg/identity"
	"github.com/wattledger/wattledger/dashboards/datasource/pkg/settings"
	"github.com/wattledger/wattledger/dashboards/query"
)

// bodyLimit bounds a question and the body of a resource.
const bodyLimit = 1 << 20

// Engine answers questions within a scope. dashboards/clickhouse.Store is one.
type Engine interface {
	cache.Engine
	Values(ctx context.Context, scope query.Scope, of query.Dimension, filters []query.Filter, match string, limit int) ([]query.Value, error)
	Health(ctx context.Context, scope query.Scope) (query.Health, error)
}

// Open reaches the engine of a data source. The closer ends its connections.
type Open func(ctx context.Context, s settings.Settings) (Engine, io.Closer, error)

// Source is one data source.
type Source struct {
	uid      string
	settings settings.Settings
	broken   error // the settings' faults; nothing is answered then
	resolver *identity.Resolver
	channels *channel.Sealer
	metrics  *Metrics
	log      log.Logger
	open     Open
	now      func() time.Time
	quiet    quiet

	life context.Context // ends with Dispose
	end  context.CancelFunc

	mu      sync.Mutex // guards all below
	engine  Engine
	cached  *cache.Cache
	closer  io.Closer
	streams int
	running sync.WaitGroup // streams
}

// Factory makes data sources for Grafana's instance manager.
func Factory(open Open, m *Metrics, logger log.Logger) func(context.Context, backend.DataSourceInstanceSettings) (instancemgmt.Instance, error) {
	return func(ctx context.Context, s backend.DataSourceInstanceSettings) (instancemgmt.Instance, error) {
		appURL, _ := config.GrafanaConfigFromContext(ctx).AppURL() // an old Grafana says none; the resolver says what then
		return New(s, appURL, open, m, logger), nil
	}
}

// New never fails: what is wrong with the settings is said to whoever asks, in the health check too. The engine is reached with the
// first question, so that a server that is away now may come back.
func New(s backend.DataSourceInstanceSettings, appURL string, open Open, m *Metrics, logger log.Logger) *Source {
	out := &Source{uid: s.UID, open: open, metrics: m, log: logger.With("datasource", s.UID), now: time.Now}
	out.life, out.end = context.WithCancel(context.Background())
	out.settings, out.broken = settings.Parse(s.JSONData, s.DecryptedSecureJSONData)
	if out.broken == nil {
		out.resolver, out.broken = identity.New(out.settings, appURL)
	}
	if out.broken != nil {
		out.log.Error("settings are not right", "error", out.broken.Error())
		return out
	}
	out.channels = channel.NewSealer(s.UID, out.settings.Secrets.Password)
	if len(out.settings.Unknown) > 0 {
		out.log.Warn("unknown settings", "fields", out.settings.Unknown)
	}
	return out
}

// Dispose ends streams and closes connections. Grafana calls it some time after it made the successor.
func (s *Source) Dispose() {
	s.end()
	s.running.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cached != nil {
		s.cached.Close()
	}
	if s.closer != nil {
		_ = s.closer.Close() // nobody is left to tell
	}
	s.engine, s.cached, s.closer = nil, nil, nil
}

var errDisposed = errors.New("the data source's settings have changed: ask again")

// reach is the engine, and the cache before it.
func (s *Source) reach(ctx context.Context) (Engine, cache.Engine, error) {
	if s.broken != nil {
		return nil, nil, s.broken
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life.Err() != nil {
		return nil, nil, errDisposed
	}
	if s.engine == nil {
		e, closer, err := s.open(ctx, s.settings)
		if err != nil {
			return nil, nil, err
		}
		e = newGate(e, s.settings.MaxConnections)
		s.engine, s.closer = e, closer
		if !s.settings.CacheOff {
			s.cached = cache.New(e, int64(s.settings.CacheMiB)<<20, s.metrics.Cache)
		}
	}
	if s.cached == nil {
		return s.engine, s.engine, nil
	}
	return s.engine, s.cached, nil
}

// carrier is a request of Grafana's that may carry identity tokens.
type carrier interface{ GetHTTPHeader(key string) string }

// scope is what whoever sent the request may see.
func (s *Source) scope(ctx context.Context, p backend.PluginContext, c carrier) (query.Scope, identity.Person, error) {
	if s.broken != nil {
		return query.Scope{}, identity.Person{}, &failure{backend.StatusBadRequest, outcomeFault, "", s.broken.Error(), backend.ErrorSourceDownstream, s.broken}
	}
	a := identity.Asker{
		GrafanaToken: c.GetHTTPHeader(backend.GrafanaUserSignInTokenHeaderName),
		OAuthToken:   c.GetHTTPHeader(backend.OAuthIdentityIDTokenHeaderName),
		Org:          p.OrgID, //nolint:staticcheck // the audience of Grafana's token names the organisation by this number
		Namespace:    p.Namespace,
	}
	if p.User != nil {
		a.Known, a.Login, a.Email = true, p.User.Login, p.User.Email
	}
	return s.resolver.Scope(ctx, a)
}

// count notes how a question went.
func (s *Source) count(ctx context.Context, kind query.Kind, began time.Time, rows int, f *failure) {
	outcome := outcomeOK
	if f != nil {
		outcome = f.outcome
		if f.reason != "" {
			s.metrics.refused.WithLabelValues(f.reason).Inc()
		}
		if yes, skipped := s.quiet.may(label(kind)+outcome+f.reason, s.now()); yes {
			switch f.outcome {
			case outcomeEngine, outcomeTimeout, outcomeFault:
				s.log.FromContext(ctx).Error("question not answered", "kind", label(kind), "outcome", outcome, "error", firstLine(f.err), "skipped", skipped)
			case outcomeRefused:
				s.log.FromContext(ctx).Info("question refused", "kind", label(kind), "reason", f.reason, "skipped", skipped)
			}
		}
	}
	s.metrics.queries.WithLabelValues(label(kind), outcome).Inc()
	s.metrics.duration.WithLabelValues(label(kind)).Observe(s.now().Sub(began).Seconds())
	s.metrics.rows.WithLabelValues(label(kind)).Add(float64(rows))
}
