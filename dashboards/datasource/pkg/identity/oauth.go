package identity

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// oauthPerson is whom the forwarded ID token names.
func (r *Resolver) oauthPerson(ctx context.Context, a Asker) (Person, error) {
	if a.OAuthToken == "" || !a.Known {
		return Person{}, missing("X-ID-Token", "switch on \"Forward OAuth Identity\" for the data source, and log in to Grafana by OAuth with the scope openid")
	}
	keys, err := r.discovered(ctx)
	if err != nil {
		return Person{}, err
	}
	claims := map[string]any{}
	if err := r.check(ctx, a.OAuthToken, r.settings.Identity.Issuer, r.settings.Identity.Audience, keys, &claims); err != nil {
		return Person{}, err
	}
	p := Person{Subject: text(claims, "sub"), Org: org(a.Org), claims: claims}
	if p.Subject == "" {
		return Person{}, &Refused{BadToken, "the identity token is not valid: it names no subject"}
	}
	p.Login = text(claims, "preferred_username")
	if verified, _ := claim(claims, "email_verified").(bool); verified {
		p.Email = text(claims, "email")
	}
	// Grafana forwards the token of a login. With an API token it has forwarded that of whoever logged in last (GHSA-8wjh-59cw-9xh4),
	// so the token has to be of the user that Grafana says is asking.
	for _, name := range []string{"email", "preferred_username", "upn", "login", "sub"} {
		if v := text(claims, name); v != "" && (strings.EqualFold(v, a.Login) || strings.EqualFold(v, a.Email)) {
			return p, nil
		}
	}
	return Person{}, &Refused{OtherUser, "the identity token is another user's than the one Grafana names"}
}

// discovered is the provider's key set, found by its discovery document (OpenID Connect Discovery 1.0, section 4).
func (r *Resolver) discovered(ctx context.Context) (*keySet, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.provider != nil {
		return r.provider, nil
	}
	if r.now().Sub(r.tried) >= keysRetry {
		r.tried = r.now()
		r.provider, r.failure = r.discover(context.WithoutCancel(ctx))
	}
	if r.provider == nil {
		return nil, &Refused{KeysMissing, fmt.Sprintf("the identity cannot be verified: read what the provider %s says of itself: %v; check identity.issuer, and that Grafana's server may reach it",
			r.settings.Identity.Issuer, r.failure)}
	}
	return r.provider, nil
}

func (r *Resolver) discover(ctx context.Context) (*keySet, error) {
	var said struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	issuer := r.settings.Identity.Issuer
	if err := fetch(ctx, r.client, strings.TrimRight(issuer, "/")+"/.well-known/openid-configuration", &said); err != nil {
		return nil, err
	}
	if said.Issuer != issuer {
		return nil, fmt.Errorf("it says that its issuer is %q", said.Issuer)
	}
	if !strings.HasPrefix(said.Keys, "https://") && !strings.HasPrefix(issuer, "http://") {
		return nil, errors.New("its keys do not come over https")
	}
	return &keySet{url: said.Keys, client: r.client, now: r.now}, nil
}
