package identity

import "errors"

// Reason says in a word why somebody is not answered. Whoever refuses counts by it.
type Reason string

// The reasons.
const (
	NoIdentity  Reason = "no_identity"
	BadToken    Reason = "bad_token"
	Expired     Reason = "expired_token"
	OtherUser   Reason = "other_user"
	NotMapped   Reason = "not_mapped"
	KeysMissing Reason = "keys_missing"
)

// Reasons are all reasons, for the metric that counts them.
var Reasons = []Reason{NoIdentity, BadToken, Expired, OtherUser, NotMapped, KeysMissing}

// Refused is who is not answered, and why, in one line.
type Refused struct {
	Reason Reason
	Text   string
}

func (r *Refused) Error() string { return r.Text }

// ReasonOf is why err was refused, and false where it is no refusal of an identity.
func ReasonOf(err error) (Reason, bool) {
	var r *Refused
	if errors.As(err, &r) {
		return r.Reason, true
	}
	return "", false
}
