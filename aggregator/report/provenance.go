package report

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Provenance is what a document rests on.
type Provenance struct {
	// Rules are the editions of the rules by which the entries were made.
	Rules []string `json:"rules"`
	// AsOf is how much of the ledger was there: String reproduces the document.
	AsOf      string    `json:"as_of"`
	AsOfSeals uint64    `json:"as_of_seals"`
	Sites     []SiteLog `json:"ledger"`
	// Later are batches of hours after the period that adjust it.
	Later []LaterBatch `json:"adjusted_by"`
	// Factors are the carbon factors and instruments, Sources what the shared components came from.
	Factors  []Factor   `json:"carbon_factors"`
	Sources  []Source   `json:"sources"`
	Modelled []string   `json:"modelled"`
	Flags    []FlagSeen `json:"flags"`
}

// LaterBatch is a batch whose hour lies outside the period and that holds entries of it.
type LaterBatch struct {
	Site    string `json:"site"`
	Batch   uint64 `json:"batch"`
	Root    string `json:"root"`
	Entries int64  `json:"entries"`
}

// Factor is a carbon factor, or a sum of instruments and factors, that entries name.
type Factor struct {
	// Method is location-based, market-based or embodied.
	Method   string `json:"method"`
	Ref      string `json:"ref"`
	Boundary string `json:"boundary"`
	Entries  int64  `json:"entries"`
	Source   string `json:"source,omitempty"`
	Edition  string `json:"edition,omitempty"`
	Licence  string `json:"licence,omitempty"`
}

// Source is the meter, the declared value or the factor that a component of entries came from.
type Source struct {
	Component string `json:"component"`
	Source    string `json:"source"`
	Entries   int64  `json:"entries"`
}

// FlagSeen is a flag, what it means, and how many entries carry it.
type FlagSeen struct {
	Flag    string `json:"flag"`
	Entries int64  `json:"entries"`
	Meaning string `json:"meaning"`
}

var meanings = map[string]string{
	"counter_reset":       "the energy counter fell within the hour; each part was counted by itself",
	"clock_step":          "readings whose time did not rise with their value were left out",
	"no_readings":         "nothing was read in the hour",
	"integrated":          "the device has no energy counter: power was integrated on the node",
	"estimated":           "part of the energy was seen by no counter",
	"interpolated":        "part of the energy is measured but its place in time is not",
	"rest_modelled":       "node rest is declared watts of the node model × time, not metered",
	"pue_modelled":        "facility energy is (PUE − 1) × IT energy, not metered",
	"it_shared_unmetered": "network, storage and switches are not metered and not in the figures",
	"mig_by_slices":       "activity of a MIG instance could not be read for part of the hour; energy was split by slices",
	"overbooked":          "an allocation asked for more of the device than was free and was refused",
	noActivity:            "the device does not report SM activity",
	"meter_below_devices": "the node's meter read less than its devices, which cannot be; node rest is 0 and the difference is in the fleet report",
	"meter_incomplete":    "a meter does not tell the whole hour, and it was not used",
	"meter_refused":       "a meter's readings contradict one another, and it was not used",
	"site_meter_below_it": "the site's meter read less than its IT, which cannot be; facility energy is 0 and the difference is in the fleet report",
	"second_opinion":      "the energy counter and the integral of power differ by more than the limit",
	"location_unknown":    "no intensity of the grid is known; location-based carbon is 0",
	"market_unknown":      "no instrument, residual mix or grid factor is known; market-based carbon is 0",
	"embodied_unknown":    "no footprint of the device's model is known; embodied carbon is 0",
	"water_modelled":      "water is IT energy × the site's WUE, not metered",
	"heat_modelled":       "heat handed on is energy × the site's reuse factor, not metered",
}

// modelled are the flags that say a figure was not measured.
var modelledFlags = []string{"rest_modelled", "pue_modelled", "it_shared_unmetered", "water_modelled", "heat_modelled"}

// The methods of counting carbon.
const (
	LocationBased = "location-based"
	MarketBased   = "market-based"
	Embodied      = "embodied"
)

type factorKey struct{ method, ref string }

// Basis gathers the provenance of a document while its entries go by.
type Basis struct {
	rules   map[string]bool
	factors map[factorKey]int64
	sources map[Source]int64
	flags   map[string]int64
	limits  map[unit.Thousandths]bool
	batches map[batchKey]int64
}

// Add notes what an entry rests on. limit is the activity under which time is held idle where the entry names none.
func (b *Basis) Add(e Booked, limit unit.Thousandths) {
	if b.rules == nil {
		b.rules, b.flags, b.limits = map[string]bool{}, map[string]int64{}, map[unit.Thousandths]bool{}
		b.factors, b.sources, b.batches = map[factorKey]int64{}, map[Source]int64{}, map[batchKey]int64{}
	}
	b.rules[e.Rules] = true
	b.batches[batchKey{e.Site, e.Batch}]++
	if e.Rules >= idleAccounts {
		limit = e.IdleLimit
	}
	if e.Account.Held() {
		b.limits[limit] = true
	}
	for _, f := range []factorKey{{LocationBased, e.Factor}, {MarketBased, e.FactorMarket}, {Embodied, e.FactorEmbodied}} {
		if f.ref != "" {
			b.factors[f]++
		}
	}
	for _, s := range []Source{
		{Component: "node_rest", Source: e.RestSource},
		{Component: "it_shared", Source: e.SharedSource},
		{Component: "facility", Source: e.FacilitySource},
		{Component: "water", Source: e.WaterSource},
		{Component: "heat", Source: e.HeatSource},
	} {
		if s.Source != "" {
			b.sources[s]++
		}
	}
	for _, f := range e.Flags {
		b.flags[f]++
	}
}

// Provenance is what the entries rest on.
func (b *Basis) Provenance(log *Log) Provenance {
	p := Provenance{
		AsOf: log.asOf.String(), AsOfSeals: log.asOf.Seals(), Rules: keys(b.rules), Sites: log.sites, Later: []LaterBatch{},
		Factors: []Factor{}, Sources: []Source{}, Modelled: b.Modelled(), Flags: []FlagSeen{},
	}
	for k, n := range b.batches {
		if root, ok := log.later[k]; ok {
			p.Later = append(p.Later, LaterBatch{k.site, k.batch, root, n})
		}
	}
	slices.SortFunc(p.Later, func(a, b LaterBatch) int { return cmp.Or(cmp.Compare(a.Site, b.Site), cmp.Compare(a.Batch, b.Batch)) })
	for k, n := range b.factors {
		p.Factors = append(p.Factors, factorOf(k, n))
	}
	order := []string{LocationBased, MarketBased, Embodied}
	slices.SortFunc(p.Factors, func(a, b Factor) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.Method), slices.Index(order, b.Method)), cmp.Compare(a.Ref, b.Ref))
	})
	for s, n := range b.sources {
		s.Entries = n
		p.Sources = append(p.Sources, s)
	}
	slices.SortFunc(p.Sources, func(a, b Source) int {
		return cmp.Or(cmp.Compare(slices.Index(sourced, a.Component), slices.Index(sourced, b.Component)), cmp.Compare(a.Source, b.Source))
	})
	for _, f := range keys(b.flags) {
		p.Flags = append(p.Flags, FlagSeen{f, b.flags[f], meanings[f]})
	}
	return p
}

// sourced are the components that entries name a source of, in the order of documents.
var sourced = []string{"node_rest", "it_shared", "facility", "water", "heat"}

// Limits are the activities under which held time is idle, as shares; of no entries the one asked for.
func (b *Basis) Limits(otherwise unit.Thousandths) []Number {
	if len(b.limits) == 0 {
		return []Number{quotient(int64(otherwise), 1000, 3)}
	}
	out := []Number{}
	for l := range b.limits {
		out = append(out, quotient(int64(l), 1000, 3))
	}
	slices.Sort(out)
	return out
}

// Modelled says what in the entries was not measured, in words.
func (b *Basis) Modelled() []string {
	out := []string{}
	for _, f := range modelledFlags {
		if b.flags[f] > 0 {
			out = append(out, meanings[f])
		}
	}
	return out
}

func factorOf(k factorKey, entries int64) Factor {
	f := Factor{Method: k.method, Ref: k.ref, Boundary: Boundary(k.ref), Entries: entries}
	if e, ok := committed()[k.ref]; ok {
		f.Source, f.Edition, f.Licence = e.Source, e.Edition, e.Licence
	}
	return f
}

// committed are the factors that come with the program, by the references of entries of either edition of the rules. Of others the
// reference alone names source and edition.
var committed = sync.OnceValue(func() map[string]factor.Grid {
	out := map[string]factor.Grid{}
	if grids, err := factor.Grids(); err == nil {
		for _, g := range grids {
			out[g.Ref()] = g
		}
	}
	if editions, err := factor.Committed(); err == nil {
		for _, e := range editions {
			out[e.Ref()] = factor.Grid{Source: e.Source, Edition: e.Name, Licence: e.Licence}
		}
	}
	return out
})

// Boundary is that of the carbon factor an entry names: masses of different boundaries are never summed.
func Boundary(ref string) string {
	if ref == "" {
		return NoFactor
	}
	for _, word := range strings.Fields(ref) {
		if word == "lifecycle" || word == "direct" || word == "cradle-to-gate" {
			return word
		}
	}
	return "unknown"
}

// NoFactor is the boundary of what was counted with no factor at all.
const NoFactor = "none"

func keys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
