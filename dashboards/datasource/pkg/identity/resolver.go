package identity

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/wattledger/wattledger/dashboards/datasource/pkg/settings"
	"github.com/wattledger/wattledger/dashboards/query"
)

// Asker is what comes with a question about who asks. Login, Email, Org and Namespace are Grafana's word, over the pipe between it
// and us; GrafanaToken and OAuthToken come from headers, which anybody may have written, and are believed by their signature only.
type Asker struct {
	GrafanaToken string
	OAuthToken   string
	// Known says that Grafana names a user at all.
	Known        bool
	Login, Email string
	Org          int64
	Namespace    string
}

// Resolver turns who asks into a scope.
type Resolver struct {
	settings settings.Settings
	issuer   string // of Grafana's tokens, with a slash at the end
	client   *http.Client
	now      func() time.Time

	grafana *keySet

	mu       sync.Mutex // guards all below
	provider *keySet    // of the OAuth provider, once it is discovered
	tried    time.Time
	failure  error
}

// New makes a resolver. appURL is Grafana's root URL as Grafana tells it, and the issuer of its tokens where the settings name none.
func New(s settings.Settings, appURL string) (*Resolver, error) {
	return newResolver(s, appURL, &http.Client{
		Timeout:       fetchTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, time.Now)
}

func newResolver(s settings.Settings, appURL string, client *http.Client, now func() time.Time) (*Resolver, error) {
	r := &Resolver{settings: s, client: client, now: now, issuer: s.Identity.Issuer}
	if s.Scope != settings.Identity {
		return r, nil
	}
	if s.Identity.Source == "grafana" {
		if r.issuer == "" {
			r.issuer = appURL
		}
		if r.issuer == "" {
			return nil, errors.New("settings of the data source: identity.issuer: Grafana does not say its root_url; name it here, as it stands in grafana.ini")
		}
		r.grafana = &keySet{url: strings.TrimRight(s.Identity.GrafanaURL, "/") + "/api/signing-keys/keys", client: client, now: now}
	}
	return r, nil
}

// Fixed is the scope that every question has, whoever asks; false where it depends on who asks.
func (r *Resolver) Fixed() (query.Scope, bool) {
	switch r.settings.Scope {
	case settings.Operator:
		return query.Scope{All: true}, true
	case settings.Tenant:
		return query.Scope{Tenant: r.settings.TenantID}, true
	default:
		return query.Scope{}, false
	}
}

// Scope is what whoever asks may see, and who that is where it matters. Every error but a context's is a *Refused.
func (r *Resolver) Scope(ctx context.Context, a Asker) (query.Scope, Person, error) {
	if scope, ok := r.Fixed(); ok {
		return scope, Person{}, nil
	}
	if r.settings.Scope != settings.Identity {
		return query.Scope{}, Person{}, query.ErrNoScope
	}
	var person Person
	var err error
	if r.settings.Identity.Source == "oauth" {
		person, err = r.oauthPerson(ctx, a)
	} else {
		person, err = r.grafanaPerson(ctx, a)
	}
	if err != nil {
		return query.Scope{}, Person{}, err
	}
	scope, err := r.place(person)
	return scope, person, err
}

// place finds the tenant of a person who was verified.
func (r *Resolver) place(p Person) (query.Scope, error) {
	v := r.settings.Identity
	for _, line := range v.Map {
		value := line.Value
		if line.By == "email" {
			value = strings.ToLower(value)
		}
		if value == "" || p.by(line.By) != value {
			continue
		}
		if line.Operator {
			return query.Scope{All: true}, nil
		}
		return query.Scope{Tenant: line.Tenant}, nil
	}
	if v.OperatorClaim != "" && says(p.claims, v.OperatorClaim, v.OperatorValue) {
		return query.Scope{All: true}, nil
	}
	if v.TenantClaim != "" {
		if tenant := text(p.claims, v.TenantClaim); tenant != "" {
			return query.Scope{Tenant: tenant}, nil
		}
	}
	return query.Scope{}, &Refused{NotMapped, fmt.Sprintf("%s is not mapped to a tenant: add it to the map in the settings of the data source "+
		"(a login or an e-mail address counts only where its owner cannot change it; the subject always does)", p.Subject)}
}

func missing(what, mend string) error {
	return &Refused{NoIdentity, "nobody's verified identity came with the question, and this data source answers persons only " +
		"(alert rules and public dashboards have none: give them a data source of one tenant): no " + what + "; " + mend}
}

// check verifies signature, issuer, audience and time, and reads the claims.
func (r *Resolver) check(ctx context.Context, token, issuer, audience string, keys *keySet, claims any) error {
	if len(token) > tokenLimit {
		return &Refused{BadToken, "the identity token is not valid: it is too long"}
	}
	algs := make([]string, len(algorithms))
	for i, a := range algorithms {
		algs[i] = string(a)
	}
	signatures := &witness{keys: keys}
	config := &oidc.Config{ClientID: audience, SupportedSigningAlgs: algs, Now: r.now}
	verified, err := oidc.NewVerifier(issuer, signatures, config).Verify(ctx, token)
	var expired *oidc.TokenExpiredError
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(signatures.err, errNoKeys):
		return &Refused{KeysMissing, "the identity cannot be verified: " + signatures.err.Error() + "; check the URL in the settings of the data source, and that Grafana's server may reach it"}
	case signatures.err != nil:
		return &Refused{BadToken, "the identity token is not valid: " + signatures.err.Error()}
	case errors.As(err, &expired):
		return &Refused{Expired, "the identity token has expired: reload the page; if that does not help, compare the clocks of Grafana and its provider"}
	case !signatures.seen:
		return &Refused{BadToken, "the identity token is not valid: it is not a signed token of a kind that is taken"}
	default: // says which issuer or audience was expected and which came; the token is well signed
		return &Refused{BadToken, "the identity token is not valid: " + strings.TrimPrefix(err.Error(), "oidc: ")}
	}
	if err := verified.Claims(claims); err != nil {
		return &Refused{BadToken, "the identity token is not valid: its claims are not what they should be"}
	}
	return nil
}

// witness keeps the error of a key set, which go-oidc turns into text.
type witness struct {
	keys *keySet
	seen bool
	err  error
}

func (w *witness) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	payload, err := w.keys.VerifySignature(ctx, token)
	w.seen, w.err = true, err
	return payload, err
}

func org(id int64) string { return strconv.FormatInt(id, 10) }
