package tariff

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Contract says what a tenant agreed to pay for besides what it held and used. What a tenant has no contract about is the
// operator's, but held idle time, which is billed like any other.
type Contract struct {
	// Tenant is the id in the inventory.
	Tenant string `yaml:"tenant"`
	// HeldIdle says whether time and energy of the account held_idle are "billed" (the default) or "waived".
	HeldIdle string `yaml:"held_idle"`
	// Unallocated says who pays for what nobody held of the reserved nodes: "operator" (the default) or "tenant".
	Unallocated string `yaml:"unallocated"`
	// Platform says the same of energy of the reserved nodes that no device carries. That of a site is always the operator's.
	Platform string        `yaml:"platform"`
	Reserved []Reservation `yaml:"reserved"`
}

// Reservation is nodes that are kept for a tenant.
type Reservation struct {
	Site  string   `yaml:"site"`
	Nodes []string `yaml:"nodes"`
	// Racks stand for the nodes that the inventory has in them.
	Racks []string `yaml:"racks"`
	// From is the first day (UTC), To the first day on which it holds no more; left out, those of the price list.
	From Date `yaml:"from"`
	To   Date `yaml:"to"`
}

// The words of a contract.
const (
	billed   = "billed"
	waived   = "waived"
	operator = "operator"
	payer    = "tenant"
)

// pays says that the reservations of the contract have something to say.
func (c Contract) pays() bool { return c.Unallocated == payer || c.Platform == payer }

// Waives says whether an entry that a tenant held is free for it by contract.
func (l *List) Waives(e record.Entry) bool {
	if e.Account != record.AccountHeldIdle {
		return false
	}
	return slices.ContainsFunc(l.Contracts, func(c Contract) bool { return c.Tenant == e.Tenant && c.HeldIdle == waived })
}

// Reserves says whether there is any node that a tenant pays for when nobody holds it.
func (l *List) Reserves() bool { return l != nil && slices.ContainsFunc(l.Contracts, Contract.pays) }

type nodeKey struct{ site, node string }

// stay is a time for which a node is reserved.
type stay struct {
	contract *Contract
	from, to unit.Micros // to 0 is open
}

func (s stay) holds(t unit.Micros) bool { return s.from <= t && (s.to == 0 || t < s.to) }

// Reserved says who pays for what nobody held of which node.
type Reserved map[nodeKey][]stay

// Reserve finds the nodes that the contracts reserve. A tenant, node or rack that the inventory does not have, and a node that two
// tenants reserve at the same time, are errors, all of them named at once: whom to bill must not be guessed.
func (l *List) Reserve(tenants []record.Tenant, nodes []record.Node) (Reserved, error) {
	if l == nil {
		return Reserved{}, nil
	}
	out, errs := Reserved{}, []error{}
	for _, c := range l.Contracts {
		if !slices.ContainsFunc(tenants, func(t record.Tenant) bool { return t.ID == c.Tenant }) {
			errs = append(errs, fmt.Errorf("there is a contract of tenant %s, whom the inventory does not have: correct the name", c.Tenant))
		}
	}
	racks, known := map[nodeKey][]string{}, map[nodeKey]bool{}
	for _, n := range nodes {
		known[nodeKey{n.Site, n.ID}] = true
		if k := (nodeKey{n.Site, n.Rack}); n.Rack != "" && !slices.Contains(racks[k], n.ID) {
			racks[k] = append(racks[k], n.ID)
		}
	}
	for i := range l.Contracts {
		c := &l.Contracts[i]
		if !c.pays() {
			continue
		}
		for _, r := range c.Reserved {
			s := stay{contract: c, from: max(l.ValidFrom.start(), r.From.start()), to: sooner(l.ValidTo.start(), r.To.start())}
			errs = append(errs, out.reserve(r, s, racks, known)...)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("price list %q: %w", l.Name, err)
	}
	return out, nil
}

func (r Reserved) reserve(res Reservation, s stay, racks map[nodeKey][]string, known map[nodeKey]bool) []error {
	var errs []error
	names := slices.Clone(res.Nodes)
	for _, n := range res.Nodes {
		if !known[nodeKey{res.Site, n}] {
			errs = append(errs, fmt.Errorf("the contract of %s reserves node %s of site %s, which the inventory does not have: correct the name", s.contract.Tenant, n, res.Site))
		}
	}
	for _, rack := range res.Racks {
		in := racks[nodeKey{res.Site, rack}]
		if len(in) == 0 {
			errs = append(errs, fmt.Errorf("the contract of %s reserves rack %s of site %s, in which the inventory has no node: correct the name", s.contract.Tenant, rack, res.Site))
		}
		names = append(names, in...)
	}
	slices.Sort(names)
	for _, n := range slices.Compact(names) {
		k := nodeKey{res.Site, n}
		for _, o := range r[k] {
			if o.contract.Tenant != s.contract.Tenant && overlap(o, s) {
				errs = append(errs, fmt.Errorf("node %s of site %s is reserved by %s and by %s at the same time: end one reservation before the other begins",
					n, res.Site, o.contract.Tenant, s.contract.Tenant))
			}
		}
		r[k] = append(r[k], s)
	}
	return errs
}

func overlap(a, b stay) bool {
	return (a.to == 0 || b.from < a.to) && (b.to == 0 || a.from < b.to)
}

// sooner is the earlier of two ends, of which 0 is open.
func sooner(a, b unit.Micros) unit.Micros {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// Payer is the tenant that pays for an entry which nobody held, by the contract that holds in its hour; empty is the operator.
func (r Reserved) Payer(e record.Entry, hour unit.Micros) string {
	for _, s := range r[nodeKey{e.Site, e.Node}] {
		if !s.holds(hour) || e.Node == "" {
			continue
		}
		if e.Account == record.AccountUnallocated && s.contract.Unallocated == payer || e.Account == record.AccountPlatform && s.contract.Platform == payer {
			return s.contract.Tenant
		}
	}
	return ""
}

// Of names the nodes that a tenant pays for when nobody holds them, in order.
func (r Reserved) Of(tenant string) []string {
	var out []string
	for k, stays := range r {
		if slices.ContainsFunc(stays, func(s stay) bool { return s.contract.Tenant == tenant }) {
			out = append(out, k.node)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// contracts checks the contracts of a list.
func (c *checker) contracts(l *List) {
	seen := map[string]bool{}
	for i, k := range l.Contracts {
		at := fmt.Sprintf("$.contracts[%d]", i)
		switch {
		case k.Tenant == "":
			c.fault(at+".tenant", "is empty; write the tenant's id as the inventory has it")
		case seen[k.Tenant]:
			c.fault(at+".tenant", "%q has two contracts; put them into one", k.Tenant)
		}
		seen[k.Tenant] = true
		c.oneOf(at+".held_idle", cmp.Or(k.HeldIdle, billed), billed, waived)
		c.oneOf(at+".unallocated", cmp.Or(k.Unallocated, operator), operator, payer)
		c.oneOf(at+".platform", cmp.Or(k.Platform, operator), operator, payer)
		switch {
		case k.pays() && len(k.Reserved) == 0:
			c.fault(at+".reserved", "is empty; name the nodes or racks whose unallocated or platform energy the tenant pays for")
		case !k.pays() && len(k.Reserved) > 0:
			c.fault(at+".reserved", "has no effect; write unallocated: tenant or platform: tenant, or leave it out")
		}
		for j, r := range k.Reserved {
			c.reservation(fmt.Sprintf("%s.reserved[%d]", at, j), r)
		}
	}
}

func (c *checker) reservation(at string, r Reservation) {
	if r.Site == "" {
		c.fault(at+".site", "is empty; write the site's id as the inventory has it")
	}
	if len(r.Nodes)+len(r.Racks) == 0 {
		c.fault(at, "names no nodes and no racks; write at least one")
	}
	for _, list := range []struct {
		key   string
		names []string
	}{{"nodes", r.Nodes}, {"racks", r.Racks}} {
		for i, n := range list.names {
			if n == "" || slices.Contains(list.names[:i], n) {
				c.fault(fmt.Sprintf("%s.%s[%d]", at, list.key, i), "is %q; write each name once, and no empty one", n)
			}
		}
	}
	if r.From != "" {
		c.date(at+".from", r.From)
	}
	if r.To != "" {
		c.date(at+".to", r.To)
	}
	if r.From != "" && r.To != "" && r.From.start() >= r.To.start() {
		c.fault(at+".to", "is %s, not after from %s", r.To, r.From)
	}
}
