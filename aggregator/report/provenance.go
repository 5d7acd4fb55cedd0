package report

import (
	"slices"
	"strings"

	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
)

// Provenance is what a document rests on.
type Provenance struct {
	// Rules are the editions of the rules by which the entries were made.
	Rules []string `json:"rules"`
	// AsOf is how much of the ledger was there: String reproduces the document.
	AsOf      string     `json:"as_of"`
	AsOfSeals uint64     `json:"as_of_seals"`
	Sites     []SiteLog  `json:"ledger"`
	Factors   []Factor   `json:"carbon_factors"`
	Modelled  []string   `json:"modelled"`
	Flags     []FlagSeen `json:"flags"`
}

// Factor is a carbon factor that entries name.
type Factor struct {
	Ref      string `json:"ref"`
	Boundary string `json:"boundary"`
	Source   string `json:"source,omitempty"`
	Edition  string `json:"edition,omitempty"`
	Licence  string `json:"licence,omitempty"`
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
	"pue_modelled":        "facility energy is (declared PUE − 1) × IT energy, not metered",
	"it_shared_unmetered": "network, storage and switches are not metered and not in the figures",
	"mig_by_slices":       "activity of a MIG instance could not be read for part of the hour; energy was split by slices",
	"overbooked":          "an allocation asked for more of the device than was free and was refused",
	noActivity:            "the device does not report SM activity",
}

// modelled are the flags that say a figure was not measured.
var modelledFlags = []string{"rest_modelled", "pue_modelled", "it_shared_unmetered"}

// Basis gathers the provenance of a document while its entries go by.
type Basis struct {
	rules, factors map[string]bool
	flags          map[string]int64
}

// Add notes what an entry rests on.
func (b *Basis) Add(e record.Entry) {
	if b.rules == nil {
		b.rules, b.factors, b.flags = map[string]bool{}, map[string]bool{}, map[string]int64{}
	}
	b.rules[e.Rules] = true
	if e.Factor != "" {
		b.factors[e.Factor] = true
	}
	for _, f := range e.Flags {
		b.flags[f]++
	}
}

// Provenance is what the entries rest on.
func (b *Basis) Provenance(log *Log) Provenance {
	p := Provenance{
		AsOf: log.asOf.String(), AsOfSeals: log.asOf.Seals(), Rules: keys(b.rules), Sites: log.sites,
		Factors: []Factor{}, Modelled: b.Modelled(), Flags: []FlagSeen{},
	}
	for _, ref := range keys(b.factors) {
		p.Factors = append(p.Factors, factorOf(ref))
	}
	for _, f := range keys(b.flags) {
		p.Flags = append(p.Flags, FlagSeen{f, b.flags[f], meanings[f]})
	}
	return p
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

func factorOf(ref string) Factor {
	f := Factor{Ref: ref, Boundary: Boundary(ref)}
	grids, err := factor.Grids()
	if err != nil {
		return f // the reference alone names source, edition and boundary
	}
	for _, g := range grids {
		if g.Ref() == ref {
			f.Source, f.Edition, f.Licence = g.Source, g.Edition, g.Licence
		}
	}
	return f
}

// Boundary is that of the carbon factor an entry names: masses of different boundaries are never summed.
func Boundary(ref string) string {
	for _, word := range strings.Fields(ref) {
		if word == "lifecycle" || word == "direct" {
			return word
		}
	}
	return "unknown"
}

func keys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
