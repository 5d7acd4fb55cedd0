// Package documents makes every document of a period from the ledger and writes them to files.
//
// It owns which documents there are and where they lie; what stands in them belongs to report, invoice and sovereignty.
// One pass over the entries makes them all, in an order that depends on the ledger alone, so that equal ledgers give equal
// files, byte for byte. A tenant's folder holds nothing of another tenant.
package documents

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/wattledger/wattledger/aggregator/invoice"
	"github.com/wattledger/wattledger/aggregator/report"
	"github.com/wattledger/wattledger/aggregator/sovereignty"
	"github.com/wattledger/wattledger/aggregator/tariff"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Ledger is what documents are made from.
type Ledger interface {
	Sites(ctx context.Context) ([]record.Site, error)
	Tenants(ctx context.Context) ([]record.Tenant, error)
	// Nodes are all that the inventory has, once each.
	Nodes(ctx context.Context) ([]record.Node, error)
	// Seals are all of them, in the order of the log.
	Seals(ctx context.Context) ([]record.Seal, error)
	// Entries come in order of site, batch and position. The first error ends them.
	Entries(ctx context.Context, f Filter) iter.Seq2[report.Booked, error]
	// Quality names the devices and meters whose readings contradict others, in the order of report.CompareQuality. Of the filter it takes
	// site, period and as-of.
	Quality(ctx context.Context, f Filter) ([]report.QualityRow, error)
	// Export writes the ledger as JSON lines; equal ledgers give equal bytes.
	Export(ctx context.Context, w io.Writer, asOf report.AsOf) error
}

// Filter says which entries are wanted. A field left empty asks for all.
type Filter struct {
	Site, Tenant string
	// Nodes adds, to a tenant's entries, those of nobody on these nodes.
	Nodes  []string
	Period report.Period
	// AsOf leaves out what was sealed later.
	AsOf report.AsOf
	// WholeBatches adds the entries outside the period that a seal of the period covers, so that the seal can be checked.
	WholeBatches bool
}

// Options are which documents to make.
type Options struct {
	Period report.Period
	// AsOf leaves out what was sealed later; nil takes all there is.
	AsOf report.AsOf
	// Prices are those of the invoices; without there are none.
	Prices *tariff.List
	// Tenant limits everything to one tenant; there is no fleet report then.
	Tenant string
	// IdleLimit is the SM activity, in thousandths, under which held time by rules older than 2026-12 is held idle; 0 takes the default.
	IdleLimit unit.Thousandths
}

// Set is every document of a period. Documents of tenants are in order of tenant id.
type Set struct {
	Log         *report.Log
	Fleet       *report.FleetDocument
	Usage       []report.UsageDocument
	Invoices    []invoice.Invoice
	Sovereignty report.SovereigntyDocument
	// Faults are invoices that could not be made, each with its reason; everything else is complete.
	Faults []error

	findings sovereignty.Findings
	opts     report.Options
}

// account is the documents of one tenant in the making.
type account struct {
	usage   *report.Usage
	invoice *invoice.Builder
}

func newAccount(tenant record.Tenant, prices *tariff.List, opts report.Options) *account {
	a := &account{usage: report.NewUsage(tenant, opts)}
	if prices != nil {
		a.invoice = invoice.NewBuilder(tenant, prices, opts)
	}
	return a
}

func (a *account) add(e report.Booked) error {
	err := a.usage.Add(e)
	if a.invoice != nil {
		err = errors.Join(err, a.invoice.Add(e))
	}
	return err
}

func (a *account) addReserved(e report.Booked) error {
	err := a.usage.AddReserved(e)
	if a.invoice != nil {
		err = errors.Join(err, a.invoice.AddReserved(e))
	}
	return err
}

// reserve finds who pays for what nobody held. The inventory's nodes are read only for a list that reserves any.
func reserve(ctx context.Context, ledger Ledger, prices *tariff.List, tenants []record.Tenant) (tariff.Reserved, error) {
	var nodes []record.Node
	if prices.Reserves() {
		var err error
		if nodes, err = ledger.Nodes(ctx); err != nil {
			return nil, err
		}
	}
	return prices.Reserve(tenants, nodes)
}

// Gather makes the documents.
func Gather(ctx context.Context, ledger Ledger, o Options) (Set, error) {
	if err := o.Period.Validate(); err != nil {
		return Set{}, err
	}
	sites, err := ledger.Sites(ctx)
	if err != nil {
		return Set{}, err
	}
	list, err := ledger.Tenants(ctx)
	if err != nil {
		return Set{}, err
	}
	all, err := ledger.Seals(ctx)
	if err != nil {
		return Set{}, err
	}
	seals, err := upTo(all, o.AsOf)
	if err != nil {
		return Set{}, err
	}
	if o.IdleLimit == 0 {
		o.IdleLimit = report.DefaultIdleLimit
	}
	reserved, err := reserve(ctx, ledger, o.Prices, list)
	if err != nil {
		return Set{}, err
	}
	opts := report.Options{Period: o.Period, Log: report.NewLog(o.Period, seals), IdleLimit: o.IdleLimit}
	tenants := map[string]record.Tenant{}
	for _, t := range list {
		tenants[t.ID] = t
	}
	fleet, judge, accounts := report.NewFleet(sites, opts), sovereignty.New(sites, list), map[string]*account{}
	of := func(id string) *account {
		a, ok := accounts[id]
		if !ok {
			tenant, known := tenants[id]
			if !known {
				tenant = record.Tenant{ID: id}
			}
			a = newAccount(tenant, o.Prices, opts)
			accounts[id] = a
		}
		return a
	}
	var basis report.Basis
	filter := Filter{Tenant: o.Tenant, Period: o.Period, AsOf: opts.Log.AsOf(), WholeBatches: o.Tenant == ""}
	if o.Tenant != "" {
		filter.Nodes = reserved.Of(o.Tenant)
	}
	for e, err := range ledger.Entries(ctx, filter) {
		if err != nil {
			return Set{}, err
		}
		if err := fleet.Add(e); err != nil {
			return Set{}, err
		}
		hour, err := e.Start()
		if err != nil {
			return Set{}, err
		}
		if !o.Period.Holds(hour) {
			continue
		}
		if e.Account.Held() {
			judge.Add(e.ID, e.Entry)
			basis.Add(e, o.IdleLimit)
			err = of(e.Tenant).add(e)
		} else if payer := reserved.Payer(e.Entry, hour); payer != "" && (o.Tenant == "" || payer == o.Tenant) {
			err = of(payer).addReserved(e)
		}
		if err != nil {
			return Set{}, err
		}
	}
	set := Set{Log: opts.Log, findings: judge.Findings(), opts: opts}
	set.Sovereignty = report.NewSovereigntyDocument(set.findings, o.Tenant, opts, basis.Provenance(opts.Log))
	if o.Tenant == "" {
		quality, err := ledger.Quality(ctx, filter)
		if err != nil {
			return Set{}, err
		}
		fleet.AddQuality(quality)
		d := fleet.Document()
		set.Fleet = &d
	}
	for _, id := range sorted(accounts) {
		set.Usage = append(set.Usage, accounts[id].usage.Document())
		if b := accounts[id].invoice; b != nil {
			inv, err := b.Invoice()
			if err != nil {
				set.Faults = append(set.Faults, err)
				continue
			}
			set.Invoices = append(set.Invoices, inv)
		}
	}
	return set, nil
}

// upTo are the seals that an as-of covers, all for nil.
func upTo(all []record.Seal, asOf report.AsOf) ([]record.Seal, error) {
	if asOf == nil {
		return all, nil
	}
	have := report.AsOfSeals(all)
	for site, n := range asOf {
		if n > have[site] {
			return nil, fmt.Errorf("as of %s: the ledger has %d batches of site %s, not %d; as of now it is %s", asOf, have[site], site, n, have)
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(s record.Seal) bool { return !asOf.Covers(s.Site, s.Batch) }), nil
}

func sorted[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
