package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/wattledger/wattledger/dashboards/datasource/pkg/settings"
	"github.com/wattledger/wattledger/dashboards/query"
)

// signer is what signs tokens: a Grafana, or a provider.
type signer struct {
	t      *testing.T
	server *httptest.Server
	asked  atomic.Int64 // how often keys were fetched

	mu   sync.Mutex // guards all below
	keys []jose.JSONWebKey
	down bool
}

func newSigner(t *testing.T) *signer {
	s := &signer{t: t}
	s.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		switch {
		case s.down:
			http.Error(w, "down", http.StatusBadGateway)
		case r.URL.Path == "/api/signing-keys/keys":
			s.asked.Add(1)
			_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: s.keys})
		case r.URL.Path == "/.well-known/openid-configuration":
			_ = json.NewEncoder(w).Encode(map[string]string{"issuer": s.server.URL, "jwks_uri": s.server.URL + "/api/signing-keys/keys"})
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.server.Close)
	return s
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// publish makes it the only key.
func (s *signer) publish(id string, key *ecdsa.PrivateKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = []jose.JSONWebKey{{Key: key.Public(), KeyID: id, Algorithm: "ES256", Use: "sig"}}
}

func (s *signer) stop(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

func sign(t *testing.T, id string, key any, alg jose.SignatureAlgorithm, typ string, claims map[string]any) string {
	t.Helper()
	opts := (&jose.SignerOptions{}).WithHeader("kid", id)
	if typ != "" {
		opts = opts.WithType(jose.ContentType(typ))
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, opts)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

const root = "https://grafana.example.org/"

// clock is moved by a test.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(c.at.Load(), 0) }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d / time.Second)) }

func startClock() *clock {
	c := &clock{}
	c.at.Store(1_790_000_000)
	return c
}

func (c *clock) claims(change map[string]any) map[string]any {
	all := map[string]any{
		"iss": root, "aud": []string{"org:1"}, "sub": "user:u-anna", "type": "user", "namespace": "default", "username": "anna",
		"authenticatedBy": "oauth_generic_oauth", "email": "Anna@bank.example", "email_verified": true,
		"iat": c.now().Unix(), "exp": c.now().Add(10 * time.Minute).Unix(),
	}
	for k, v := range change {
		if v == nil {
			delete(all, k)
			continue
		}
		all[k] = v
	}
	return all
}

func resolver(t *testing.T, s *signer, c *clock, lines ...settings.Line) *Resolver {
	t.Helper()
	set := settings.Default()
	set.Port = 8123
	set.Scope = settings.Identity
	set.Identity = settings.Verification{Source: "grafana", GrafanaURL: s.server.URL, Map: lines}
	if err := set.Validate(); err != nil {
		t.Fatal(err)
	}
	r, err := newResolver(set, root, s.server.Client(), c.now)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var anna = settings.Line{By: "subject", Value: "user:u-anna", Tenant: "t-bank"}

func asker(token string) Asker {
	return Asker{GrafanaToken: token, Known: true, Login: "anna", Email: "anna@bank.example", Org: 1, Namespace: "default"}
}

func (r *Resolver) expect(t *testing.T, what string, a Asker, want query.Scope, reason Reason) {
	t.Helper()
	scope, _, err := r.Scope(t.Context(), a)
	got, _ := ReasonOf(err)
	if scope != want || got != reason || (err == nil) != (reason == "") {
		t.Errorf("%s: scope %+v, %v, want %+v and reason %q", what, scope, err, want, reason)
	}
	if err == nil {
		return
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: more than a line: %q", what, err)
	}
	for _, part := range strings.Split(a.GrafanaToken+"."+a.OAuthToken, ".") {
		if len(part) > 8 && strings.Contains(err.Error(), part) {
			t.Errorf("%s: the error has a part of the token: %v", what, err)
		}
	}
}

func TestOnlyASignatureOfGrafanasIsBelieved(t *testing.T) {
	s, c, key := newSigner(t), startClock(), newKey(t)
	s.publish("k1", key)
	r := resolver(t, s, c, anna)
	bank := query.Scope{Tenant: "t-bank"}
	token := func(change map[string]any) string { return sign(t, "k1", key, jose.ES256, "jwt", c.claims(change)) }
	f := func(what, token string, reason Reason) {
		t.Helper()
		want := query.Scope{}
		if reason == "" {
			want = bank
		}
		r.expect(t, what, asker(token), want, reason)
	}
	good := token(nil)
	f("a good token", good, "")
	f("a token of an older Grafana, without a type", sign(t, "k1", key, jose.ES256, "", c.claims(nil)), "")
	f("no token", "", NoIdentity)
	f("no token at all", "hello", BadToken)
	f("the key of somebody else under the same id", sign(t, "k1", newKey(t), jose.ES256, "jwt", c.claims(nil)), BadToken)
	f("a key that nobody knows", sign(t, "k9", newKey(t), jose.ES256, "jwt", c.claims(nil)), BadToken)
	f("no key id where a signature would fit", sign(t, "", newKey(t), jose.ES256, "jwt", c.claims(nil)), BadToken)
	f("an access token", sign(t, "k1", key, jose.ES256, "at+jwt", c.claims(nil)), BadToken)
	f("too long", good+strings.Repeat("a", tokenLimit), BadToken)

	// The public key as a shared secret, and no signature at all.
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	f("HS256 with the public key", sign(t, "k1", public, jose.HS256, "jwt", c.claims(nil)), BadToken)
	parts := strings.Split(good, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"jwt","kid":"k1"}`))
	f("alg none", none+"."+parts[1]+".", BadToken)
	f("alg none with the signature", none+"."+parts[1]+"."+parts[2], BadToken)
	other := base64.RawURLEncoding.EncodeToString([]byte(fmt.Sprintf(`{"iss":%q,"aud":"org:1","sub":"user:u-root","type":"user","namespace":"default","exp":9999999999}`, root)))
	f("other claims under the signature", parts[0]+"."+other+"."+parts[2], BadToken)
	f("the signature cut off", parts[0]+"."+parts[1]+".", BadToken)

	f("another issuer", token(map[string]any{"iss": "https://grafana.example.com/"}), BadToken)
	f("another organisation", token(map[string]any{"aud": []string{"org:2"}}), BadToken)
	f("no audience", token(map[string]any{"aud": nil}), BadToken)
	f("another namespace", token(map[string]any{"namespace": "org-2"}), BadToken)
	f("no expiry", token(map[string]any{"exp": nil}), Expired)
	f("expired", token(map[string]any{"exp": c.now().Add(-time.Second).Unix()}), Expired)
	f("not yet", token(map[string]any{"nbf": c.now().Add(time.Hour).Unix()}), BadToken)
	f("anonymous", token(map[string]any{"sub": "anonymous:0", "type": "anonymous", "username": nil}), BadToken)
	f("a type that is not its subject's", token(map[string]any{"sub": "api-key:u-anna"}), BadToken)
	f("another user's token", token(map[string]any{"sub": "user:u-ben", "username": "ben"}), OtherUser)
	f("nobody's tenant", token(map[string]any{"sub": "user:u-carl"}), NotMapped)

	unknown := asker(good)
	unknown.Known = false
	r.expect(t, "a token where Grafana names nobody", unknown, query.Scope{}, NoIdentity)
	if got := s.asked.Load(); got > 2 {
		t.Errorf("keys were fetched %d times: tokens with unknown keys must not make us ask each time", got)
	}
}

func TestKeysRotate(t *testing.T) {
	s, c := newSigner(t), startClock()
	old, young := newKey(t), newKey(t)
	s.publish("old", old)
	r := resolver(t, s, c, anna)
	bank := query.Scope{Tenant: "t-bank"}
	token := func(id string, key *ecdsa.PrivateKey) Asker {
		return asker(sign(t, id, key, jose.ES256, "jwt", c.claims(nil)))
	}
	r.expect(t, "the first key", token("old", old), bank, "")
	s.publish("young", young)
	r.expect(t, "a new key, a moment after a fetch", token("young", young), query.Scope{}, BadToken)
	c.advance(keysRetry)
	r.expect(t, "a new key", token("young", young), bank, "")
	r.expect(t, "a key that was withdrawn", token("old", old), query.Scope{}, BadToken)

	s.stop(true)
	c.advance(keysFresh + time.Minute)
	r.expect(t, "Grafana's keys are out of reach for a while", token("young", young), bank, "")
	c.advance(keysStale)
	r.expect(t, "and for too long", token("young", young), query.Scope{}, KeysMissing)
	s.stop(false)
	c.advance(keysRetry)
	r.expect(t, "and back", token("young", young), bank, "")
}

func TestAWithdrawnKeyIsForgotten(t *testing.T) {
	s, c := newSigner(t), startClock()
	old := newKey(t)
	s.publish("old", old)
	r := resolver(t, s, c, anna)
	r.expect(t, "before", asker(sign(t, "old", old, jose.ES256, "jwt", c.claims(nil))), query.Scope{Tenant: "t-bank"}, "")
	s.publish("young", newKey(t))
	c.advance(keysFresh + time.Second)
	r.expect(t, "after", asker(sign(t, "old", old, jose.ES256, "jwt", c.claims(nil))), query.Scope{}, BadToken)
}

func TestNamesCountWhereTheirOwnerCannotChooseThem(t *testing.T) {
	s, c, key := newSigner(t), startClock(), newKey(t)
	s.publish("k1", key)
	f := func(what string, line settings.Line, change map[string]any, want query.Scope) {
		t.Helper()
		var reason Reason
		if want == (query.Scope{}) {
			reason = NotMapped
		}
		r := resolver(t, s, c, line)
		r.expect(t, what, asker(sign(t, "k1", key, jose.ES256, "jwt", c.claims(change))), want, reason)
	}
	bank, all := query.Scope{Tenant: "t-bank"}, query.Scope{All: true}
	local := map[string]any{"authenticatedBy": "", "email_verified": false}
	f("a login by a provider", settings.Line{By: "login", Value: "anna", Tenant: "t-bank"}, nil, bank)
	f("a login of Grafana's own", settings.Line{By: "login", Value: "anna", Tenant: "t-bank"}, local, query.Scope{})
	f("an address, in any case", settings.Line{By: "email", Value: "anna@BANK.example", Tenant: "t-bank"}, nil, bank)
	f("an address nobody verified", settings.Line{By: "email", Value: "anna@bank.example", Tenant: "t-bank"}, local, query.Scope{})
	f("a subject, always", anna, local, bank)
	f("an organisation", settings.Line{By: "org", Value: "1", Tenant: "t-bank"}, nil, bank)
	f("another organisation", settings.Line{By: "org", Value: "2", Tenant: "t-bank"}, nil, query.Scope{})
	f("an operator", settings.Line{By: "subject", Value: "user:u-anna", Operator: true}, nil, all)
	f("a role is no way to become one", settings.Line{By: "subject", Value: "user:u-root", Operator: true}, map[string]any{"role": "Admin", "operator": true}, query.Scope{})
}

func TestOAuth(t *testing.T) {
	s, c, key := newSigner(t), startClock(), newKey(t)
	s.publish("p1", key)
	set := settings.Default()
	set.Port = 8123
	set.Scope = settings.Identity
	set.Identity = settings.Verification{
		Source: "oauth", Issuer: s.server.URL, Audience: "grafana", TenantClaim: "wattledger.tenant",
		OperatorClaim: "groups", OperatorValue: "operators",
		Map: []settings.Line{{By: "subject", Value: "s-eve", Tenant: "t-rail"}},
	}
	if err := set.Validate(); err != nil {
		t.Fatal(err)
	}
	r, err := newResolver(set, "", s.server.Client(), c.now)
	if err != nil {
		t.Fatal(err)
	}
	f := func(what string, change map[string]any, want query.Scope, reason Reason) {
		t.Helper()
		claims := map[string]any{
			"iss": s.server.URL, "aud": "grafana", "sub": "s-anna", "email": "anna@bank.example", "email_verified": true,
			"exp": c.now().Add(time.Minute).Unix(), "wattledger": map[string]any{"tenant": "t-bank"}, "groups": []string{"everybody"},
		}
		for k, v := range change {
			claims[k] = v
		}
		a := asker("")
		a.OAuthToken = sign(t, "p1", key, jose.ES256, "JWT", claims)
		r.expect(t, what, a, want, reason)
	}
	bank := query.Scope{Tenant: "t-bank"}
	f("a claim names the tenant", nil, bank, "")
	f("a group makes an operator", map[string]any{"groups": []string{"everybody", "operators"}}, query.Scope{All: true}, "")
	f("the map goes before claims", map[string]any{"sub": "s-eve"}, query.Scope{Tenant: "t-rail"}, "")
	f("two tenants are none", map[string]any{"wattledger": map[string]any{"tenant": []string{"t-bank", "t-rail"}}}, query.Scope{}, NotMapped)
	f("a tenant that is no text", map[string]any{"wattledger": map[string]any{"tenant": 7}}, query.Scope{}, NotMapped)
	f("a token for another program", map[string]any{"aud": "portal"}, query.Scope{}, BadToken)
	f("another issuer", map[string]any{"iss": "https://elsewhere.example"}, query.Scope{}, BadToken)
	f("expired", map[string]any{"exp": c.now().Add(-time.Minute).Unix()}, query.Scope{}, Expired)
	f("the token of whoever logged in last", map[string]any{"email": "ben@rail.example", "sub": "s-ben"}, query.Scope{}, OtherUser)

	r.expect(t, "Grafana's token does not count here", asker("x.y.z"), query.Scope{}, NoIdentity)

	set.Identity.Issuer = "http://127.0.0.1:1"
	r, err = newResolver(set, "", s.server.Client(), c.now)
	if err != nil {
		t.Fatal(err)
	}
	a := asker("")
	a.OAuthToken = "a.b.c"
	r.expect(t, "the provider is out of reach", a, query.Scope{}, KeysMissing)
}

func TestFixedScopesAskNobody(t *testing.T) {
	set := settings.Default()
	set.Port = 8123
	set.Scope, set.TenantID = settings.Tenant, "t-bank"
	r, err := New(set, "")
	if err != nil {
		t.Fatal(err)
	}
	r.expect(t, "a tenant's source, without a user", Asker{}, query.Scope{Tenant: "t-bank"}, "")
	set = settings.Default()
	set.Port = 8123
	if r, err = New(set, ""); err != nil {
		t.Fatal(err)
	}
	if scope, _, err := r.Scope(t.Context(), Asker{}); err == nil {
		t.Errorf("a source without a scope answers for %+v", scope)
	}
}

// No text makes anybody somebody.
func FuzzToken(f *testing.F) {
	f.Add("a.b.c")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add("eyJhbGciOiJFUzI1NiIsImtpZCI6ImsxIn0.eyJzdWIiOiJ1c2VyOmEifQ.AAAA")
	f.Add(`{"payload":"e30","signatures":[]}`)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	c := startClock()
	set := settings.Default()
	set.Port = 8123
	set.Scope = settings.Identity
	set.Identity = settings.Verification{Source: "grafana", GrafanaURL: "http://127.0.0.1:1", Map: []settings.Line{anna}}
	f.Fuzz(func(t *testing.T, token string) {
		r, err := newResolver(set, root, http.DefaultClient, c.now)
		if err != nil {
			t.Fatal(err)
		}
		r.grafana.keys = []jose.JSONWebKey{{Key: key.Public(), KeyID: "k1", Algorithm: "ES256"}}
		r.grafana.fetched, r.grafana.tried = c.now(), c.now()
		scope, _, err := r.Scope(t.Context(), asker(token))
		if _, refused := ReasonOf(err); !refused || scope != (query.Scope{}) {
			t.Errorf("%q makes %+v, %v", token, scope, err)
		}
	})
}
