package query

import "errors"

// ErrNoScope means that nobody said who asks. Whoever answers a question sets the scope from a verified identity or from
// configuration; there is no default.
var ErrNoScope = errors.New("who asks is not known: the data source has neither a tenant, nor an identity that was verified, nor the operator's scope")

// Check refuses a scope that is nobody's, or everybody's and a tenant's at once.
func (s Scope) Check() error {
	if s.All == (s.Tenant != "") {
		return ErrNoScope
	}
	return nil
}
