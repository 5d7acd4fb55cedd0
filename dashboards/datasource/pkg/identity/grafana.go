package identity

import (
	"context"
	"strings"
)

// grafanaClaims are those of the token that Grafana signs for its plugins. Issuer is its root_url, audience org:<id>, subject
// <type>:<uid>; the rest stands in pkg/services/auth/idimpl of Grafana and in authn.IDTokenClaims of grafana/authlib.
type grafanaClaims struct {
	Subject         string `json:"sub"`
	Type            string `json:"type"`
	Namespace       string `json:"namespace"`
	AuthenticatedBy string `json:"authenticatedBy"`
	Email           string `json:"email"`
	EmailVerified   bool   `json:"email_verified"`
	Username        string `json:"username"`
}

// grafanaPerson is whom X-Grafana-Id names.
func (r *Resolver) grafanaPerson(ctx context.Context, a Asker) (Person, error) {
	if a.GrafanaToken == "" || !a.Known {
		return Person{}, missing("X-Grafana-Id", "for persons, Grafana sends it by itself from version 11 on (before, with the feature toggle idForwarding)")
	}
	var c grafanaClaims
	if err := r.check(ctx, a.GrafanaToken, r.issuer, "org:"+org(a.Org), r.grafana, &c); err != nil {
		return Person{}, err
	}
	switch {
	case c.Type != "user" && c.Type != "service-account" || !strings.HasPrefix(c.Subject, c.Type+":"):
		return Person{}, &Refused{BadToken, "the identity token is not valid: it is neither a person's nor a service account's"}
	case a.Namespace != "" && c.Namespace != a.Namespace:
		return Person{}, &Refused{BadToken, "the identity token is not valid: it is for another namespace of Grafana"}
	// Grafana says itself who asks. Whoever got hold of somebody else's token is not them.
	case c.Username != "" && c.Username != a.Login:
		return Person{}, &Refused{OtherUser, "the identity token is another user's"}
	}
	p := Person{Subject: c.Subject, Org: org(a.Org)}
	// Whoever logs in with a password of Grafana's own can change login and address in the profile, so neither proves anything.
	// Logins by a provider are kept in step with it.
	switch c.AuthenticatedBy {
	case "", "password", "grafana", "apikey", "render":
		if c.EmailVerified {
			p.Email = c.Email
		}
	default:
		p.Login, p.Email = c.Username, c.Email
	}
	return p, nil
}
