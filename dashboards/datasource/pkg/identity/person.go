package identity

import (
	"slices"
	"strings"
)

// Person is who was verified.
type Person struct {
	// Subject never changes for one person: user:<uid> of Grafana, sub of a provider.
	Subject string `json:"subject"`
	// Login and Email are there only where their owner cannot choose them: see grafanaClaims and oauthPerson.
	Login string `json:"login,omitempty"`
	Email string `json:"email,omitempty"`
	// Org is the organisation in Grafana that asks.
	Org string `json:"org"`

	claims map[string]any
}

// by is what a line of the map compares.
func (p Person) by(way string) string {
	switch way {
	case "subject":
		return p.Subject
	case "login":
		return p.Login
	case "email":
		return strings.ToLower(p.Email)
	case "org":
		return p.Org
	default:
		return ""
	}
}

// claim is that of a token by its name; where there is none, a dot leads into an object.
func claim(claims map[string]any, name string) any {
	if v, ok := claims[name]; ok {
		return v
	}
	first, rest, ok := strings.Cut(name, ".")
	if !ok {
		return nil
	}
	inner, _ := claims[first].(map[string]any)
	return claim(inner, rest)
}

// text is a claim that is one string.
func text(claims map[string]any, name string) string {
	switch v := claim(claims, name).(type) {
	case string:
		return v
	case []any:
		if len(v) == 1 {
			s, _ := v[0].(string)
			return s
		}
	}
	return ""
}

// says tells whether a claim is a value, or a list that has it.
func says(claims map[string]any, name, value string) bool {
	switch v := claim(claims, name).(type) {
	case string:
		return v == value
	case []any:
		return slices.Contains(v, any(value))
	default:
		return false
	}
}
