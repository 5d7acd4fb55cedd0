package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wattledger/wattledger/dashboards/datasource/pkg/channel"
	"github.com/wattledger/wattledger/dashboards/query"
)

func (b *bench) subscribe(t *testing.T, path string) backend.SubscribeStreamStatus {
	t.Helper()
	got, err := b.SubscribeStream(t.Context(), &backend.SubscribeStreamRequest{PluginContext: b.ctx, Path: path})
	if err != nil {
		t.Fatal(err)
	}
	return got.Status
}

func TestAChannelIsForItsScope(t *testing.T) {
	const (
		fine   = backend.SubscribeStreamStatusOK
		none   = backend.SubscribeStreamStatusNotFound
		denied = backend.SubscribeStreamStatusPermissionDenied
	)
	f := func(b *bench, path string, want backend.SubscribeStreamStatus) {
		t.Helper()
		if got := b.subscribe(t, path); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
	bank := newBench(t, tenantSource)
	f(bank, "device/GPU-1/power", fine)
	f(bank, "fleet/par", fine)
	f(bank, "device/GPU-1/wishes", none)
	f(bank, bank.channels.Seal(query.Scope{All: true})+"/device/GPU-1", none)

	// A data source that goes by identity: here, nobody is anybody.
	person := newBench(t, identitySource)
	f(person, "device/GPU-1/power", denied)
	f(person, person.channels.Seal(query.Scope{Tenant: "t-bank"})+"/device/GPU-1/power", denied)
	if n := testutil.ToFloat64(person.metrics.refused.WithLabelValues("no_identity")); n != 2 {
		t.Errorf("refused: %v", n)
	}
	// Whoever is of one tenant does not hear another's channel, whatever seal they got hold of.
	rail := person.channels.Seal(query.Scope{Tenant: "t-rail"})
	for _, scope := range []query.Scope{{Tenant: "t-bank"}, {All: true}} {
		if _, err := person.admit(rail+"/device/GPU-1", scope); !errors.Is(err, errNoChannel) {
			t.Errorf("%+v hears another's channel: %v", scope, err)
		}
		if _, err := person.admit(person.channels.Seal(scope)+"/device/GPU-1", scope); err != nil {
			t.Errorf("%+v does not hear its own channel: %v", scope, err)
		}
	}
	// And a stream runs for the scope under the seal, or not at all.
	for _, path := range []string{"device/GPU-1/power", "AAAA/device/GPU-1/power", channel.NewSealer("uid", "guess").Seal(query.Scope{All: true}) + "/device/GPU-1"} {
		err := person.RunStream(t.Context(), &backend.RunStreamRequest{PluginContext: person.ctx, Path: path}, backend.NewStreamSender(&packets{}))
		if err == nil || len(person.engine.scopes) != 0 {
			t.Errorf("%s runs: %v", path, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	sent := &packets{then: cancel}
	if err := person.RunStream(ctx, &backend.RunStreamRequest{PluginContext: person.ctx, Path: rail + "/device/GPU-1"}, backend.NewStreamSender(sent)); err != nil {
		t.Fatal(err)
	}
	for _, scope := range person.engine.scopes {
		if scope != (query.Scope{Tenant: "t-rail"}) {
			t.Errorf("the stream of one tenant is asked for %+v", scope)
		}
	}

	got, err := bank.PublishStream(t.Context(), &backend.PublishStreamRequest{PluginContext: bank.ctx, Path: "device/GPU-1", Data: json.RawMessage(`{}`)})
	if err != nil || got.Status != backend.PublishStreamStatusPermissionDenied {
		t.Errorf("publishing: %+v, %v", got, err)
	}
	off := newBench(t, `{"scope":"operator","maxStreams":0}`)
	f(off, "device/GPU-1/power", denied)
}

// packets are what a stream sent.
type packets struct {
	mu   sync.Mutex
	got  []*backend.StreamPacket
	then func() // after each
}

func (p *packets) Send(s *backend.StreamPacket) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got = append(p.got, s)
	if p.then != nil {
		p.then()
	}
	return nil
}

func TestAStreamSendsWhatIsNewAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, operatorSource)
		sent := &packets{}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- b.RunStream(ctx, &backend.RunStreamRequest{PluginContext: b.ctx, Path: "device/GPU-1/power/5"}, backend.NewStreamSender(sent))
		}()
		time.Sleep(21 * time.Second)
		if n := testutil.ToFloat64(b.metrics.streams); n != 1 {
			t.Errorf("%v streams run", n)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if len(b.engine.spans) != 5 {
			t.Errorf("asked %d times in 21 s, want 5", len(b.engine.spans))
		}
		if first := b.engine.spans[0]; first.To.Sub(first.From) != streamFirst {
			t.Errorf("looks back by %s at first", first.To.Sub(first.From))
		}
		var last time.Time
		for _, p := range sent.got {
			var f data.Frame
			if err := json.Unmarshal(p.Data, &f); err != nil {
				t.Fatal(err)
			}
			for i := range f.Rows() {
				at, _ := f.Fields[0].At(i).(time.Time)
				if !at.After(last) {
					t.Errorf("%s is sent after %s", at, last)
				}
				last = at
			}
		}
		if len(sent.got) != 5 || testutil.ToFloat64(b.metrics.streams) != 0 {
			t.Errorf("%d frames, %v streams left", len(sent.got), testutil.ToFloat64(b.metrics.streams))
		}
	})
}

func TestStreamsAreBoundedAndEndWithTheSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `{"scope":"operator","maxStreams":1}`)
		run := func() chan error {
			ended := make(chan error, 1)
			go func() {
				ended <- b.RunStream(t.Context(), &backend.RunStreamRequest{PluginContext: b.ctx, Path: "fleet/par"}, backend.NewStreamSender(&packets{}))
			}()
			return ended
		}
		first := run()
		synctest.Wait()
		if err := <-run(); err == nil || testutil.ToFloat64(b.metrics.refused.WithLabelValues("too_many_streams")) != 1 {
			t.Errorf("a stream too many: %v", err)
		}
		b.Dispose()
		if err := <-first; err != nil {
			t.Error(err)
		}
		if err := <-run(); !errors.Is(err, errDisposed) {
			t.Errorf("a stream begins after the end: %v", err)
		}
	})
}

func TestAStreamOfFaultsEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, operatorSource)
		b.engine.fail = errors.New("down")
		err := b.RunStream(t.Context(), &backend.RunStreamRequest{PluginContext: b.ctx, Path: "fleet/par"}, backend.NewStreamSender(&packets{}))
		if err == nil || len(b.engine.spans) != streamFaults {
			t.Errorf("%v after %d questions", err, len(b.engine.spans))
		}
	})
}
