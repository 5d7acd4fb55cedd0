package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"github.com/wattledger/wattledger/dashboards/datasource/host"
)

// live listens to a channel while samples come, and to channels that are another's.
func live(t *testing.T, s *stage) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	said := counters(t, s)
	operator := s.operator(t)
	row := s.rows(t, "SELECT device, toString(tenant) AS tenant FROM allocations AS a FINAL WHERE end_us = 0 AND thousandths = 1000 AND device IN (SELECT uuid FROM devices FINAL WHERE kind = 'gpu') ORDER BY device LIMIT 1")[0]
	device, holder := fmt.Sprint(row["device"]), fmt.Sprint(row["tenant"])
	path := "device/" + device + "/power/1"
	if a, err := operator.Subscribe(ctx, path, nil); err != nil || a.Status != backend.SubscribeStreamStatusOK {
		t.Fatalf("subscribe to %s: %v, %v", path, a, err)
	}
	t.Cleanup(func() {
		if _, err := query(context.WithoutCancel(t.Context()), s.data, "DELETE FROM samples WHERE run = 'live'"); err != nil {
			t.Error(err)
		}
	})
	// A GPU that draws 500 W, and then 750 W: what its counter grows by in a second.
	began := time.Now().Truncate(time.Second).Add(-30 * time.Second)
	sample := func(after time.Duration, mj int64) {
		t.Helper()
		at := began.Add(after).UnixMicro()
		_, err := query(ctx, s.data, fmt.Sprintf(`INSERT INTO samples SELECT * REPLACE ('live' AS run, fromUnixTimestamp64Micro(toInt64(%d), 'UTC') AS tick, toUInt64(%d) AS energy_ts, toUInt64(%d) AS energy_mj)
			FROM (SELECT * FROM samples WHERE device = '%s' AND run != 'live' ORDER BY tick DESC LIMIT 1)`, at, at, mj, device))
		if err != nil {
			t.Fatal(err)
		}
	}
	sample(0, 1_000_000)
	sample(time.Second, 1_500_000)
	heard := map[int64]float64{}
	for frame, err := range operator.Run(ctx, path, nil) {
		if err != nil {
			t.Fatalf("%s: %v, after %v", path, err, heard)
		}
		figure, _ := frame.FieldByName("power")
		for i := range frame.Rows() {
			if v, err := figure.NullableFloatAt(i); err == nil && v != nil {
				at, _ := frame.Fields[0].ConcreteAt(i)
				second := int64(at.(time.Time).Sub(began) / time.Second)
				if _, again := heard[second]; again {
					t.Errorf("second %d is heard twice", second)
				}
				heard[second] = *v
			}
		}
		if unitOf(figure) != "watt" {
			t.Errorf("power is in %q", unitOf(figure))
		}
		if len(heard) == 1 { // it listens: now something happens
			sample(2*time.Second, 2_250_000)
		}
		if len(heard) >= 2 {
			break
		}
	}
	if len(heard) != 2 || !same(heard[1], 500) || !same(heard[2], 750) {
		t.Errorf("heard %v, want 500 W in second 1 and 750 W in second 2", heard)
	}
	s.seals(t, path, device, holder)
	after := counters(t, s)
	for _, name := range []string{`wattledger_grafana_queries_total{kind="device",outcome="ok"}`, `wattledger_grafana_rows_total{kind="device"}`, `wattledger_grafana_refused_total{reason="channel_of_others"}`} {
		if after[name] <= said[name] {
			t.Errorf("%s is %v after the channel, and was %v before", name, after[name], said[name])
		}
	}
	if n := after[`wattledger_grafana_queries_total{kind="device",outcome="ok"}`] - said[`wattledger_grafana_queries_total{kind="device",outcome="ok"}`]; n < 2 {
		t.Errorf("%v questions are counted of a channel that was looked at twice", n)
	}
}

// seals asks for channels of sources that go by who asks: each has a seal, which is good for its scope and its source only.
func (s *stage) seals(t *testing.T, path, device, holder string) {
	t.Helper()
	g := newGrafana(t)
	scope := map[string]any{"scope": "identity", "identity": map[string]any{"source": "grafana", "grafanaURL": g.url, "issuer": g.url, "map": []map[string]any{
		{"by": "subject", "value": "user:ada", "operator": true}, {"by": "subject", "value": "user:bob", "tenant": holder}, {"by": "subject", "value": "user:eve", "tenant": "nobody"},
	}}}
	one, other := s.source(t, "live-one", scope), s.source(t, "live-other", scope)
	prefix := map[string]string{}
	for _, who := range []string{"ada", "bob", "eve"} {
		answer, err := g.as(one, who).Resource(t.Context(), http.MethodGet, "scope", "scope", nil)
		if err != nil {
			t.Fatal(err)
		}
		var mine struct{ Prefix string }
		if err := json.Unmarshal(answer.Body, &mine); err != nil || mine.Prefix == "" {
			t.Fatalf("%s has no seal: %s, %v", who, answer.Body, err)
		}
		prefix[who] = mine.Prefix
	}
	f := func(what string, source host.Source, path string, want backend.SubscribeStreamStatus) {
		t.Helper()
		a, err := source.Subscribe(t.Context(), path, nil)
		if err != nil || a.Status != want {
			t.Errorf("%s: %v, %v, want status %v", what, a, err, want)
		}
	}
	f("ada under her seal", g.as(one, "ada"), prefix["ada"]+path, backend.SubscribeStreamStatusOK)
	f("bob under his seal", g.as(one, "bob"), prefix["bob"]+path, backend.SubscribeStreamStatusOK)
	f("bob under ada's seal", g.as(one, "bob"), prefix["ada"]+path, backend.SubscribeStreamStatusPermissionDenied)
	f("ada under her seal of another source", g.as(other, "ada"), prefix["ada"]+path, backend.SubscribeStreamStatusPermissionDenied)
	f("a name without a signature", one.As(&backend.User{Login: "ada"}, nil), prefix["ada"]+path, backend.SubscribeStreamStatusPermissionDenied)
	for what, source := range map[string]host.Source{"another source": other, "the source of one tenant": s.tenant(t, holder)} {
		for frame, err := range source.Run(t.Context(), prefix["ada"]+path, nil) {
			if err == nil {
				t.Errorf("%s plays a channel under a seal that is not its own: %v", what, frame)
			}
			break
		}
	}
	// Who holds nothing of the device hears nothing, though the channel is there.
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	for frame, err := range one.Run(ctx, prefix["eve"]+path, nil) {
		if err == nil {
			t.Errorf("a tenant that never held %s hears of it: %v", device, frame)
		}
		break
	}
}

// grafana signs who asks, as Grafana does.
type grafana struct {
	t   *testing.T
	url string
	key *ecdsa.PrivateKey
}

func newGrafana(t *testing.T) *grafana {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k", Algorithm: "ES256", Use: "sig"}}})
	}))
	t.Cleanup(server.Close)
	return &grafana{t, server.URL + "/", key}
}

func (g *grafana) as(source host.Source, who string) host.Source {
	g.t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: g.key}, (&jose.SignerOptions{}).WithHeader("kid", "k").WithType("jwt"))
	if err != nil {
		g.t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(map[string]any{
		"iss": g.url, "aud": []string{"org:1"}, "sub": "user:" + who, "type": "user", "namespace": "default", "username": who,
		"iat": time.Now().Unix(), "exp": time.Now().Add(10 * time.Minute).Unix(),
	}).Serialize()
	if err != nil {
		g.t.Fatal(err)
	}
	return source.As(&backend.User{Login: who}, map[string]string{"X-Grafana-Id": token})
}

// counters are what the plugin tells Prometheus, by name and labels.
func counters(t *testing.T, s *stage) map[string]float64 {
	t.Helper()
	text, err := s.plugin.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for row := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(row), " ")
		if n, err := strconv.ParseFloat(value, 64); err == nil {
			out[name] = n
		}
	}
	return out
}
