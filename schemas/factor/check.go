package factor

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wattledger/wattledger/schemas/unit"
)

// Finding is something wrong with a set of editions.
type Finding struct {
	// Code is one of the codes below.
	Code string `json:"code"`
	// Record names the edition it is about, Text says what is wrong and how to mend it.
	Record string `json:"record"`
	Text   string `json:"text"`
	// Refused says that a set with it is not taken; of the others a chain's next step makes up for what is missing.
	Refused bool `json:"refused"`
}

// The codes of findings.
const (
	FindInvalid   = "invalid"   // the edition contradicts itself
	FindDuplicate = "duplicate" // the same edition stands twice
	FindOverlap   = "overlap"   // two editions of one series and one sequence say something about the same hour
	FindBoundary  = "boundary"  // emissions of two boundaries would be added
	FindAmbiguous = "ambiguous" // several sources have a value and no chain says which counts
	FindGap       = "gap"       // hours between the first and the last of a series have no value
	FindUnused    = "unused"    // no chain ever takes it
)

func (f Finding) String() string { return f.Record + ": " + f.Text + " [" + f.Code + "]" }

// series is what tells editions apart that say different things from those that say the same thing anew.
type series struct {
	kind                                        Kind
	key, source, boundary, resolution, contract string
}

func seriesOf(e Edition) series {
	s := series{e.Kind, e.Key, e.Source, e.Boundary, e.Resolution, ""}
	if e.Kind == Instrument {
		s.contract = e.Name
	}
	return s
}

// Says reports that two editions are of one series and of the same span of time, so that the later one revises the other.
func (e Edition) Says(o Edition) bool {
	return seriesOf(e) == seriesOf(o) && e.From == o.From && e.To == o.To
}

// Check finds what is wrong with a set of editions by itself: faults of an edition, editions that stand twice, overlaps within a
// sequence and gaps. The order of the findings depends on the set alone.
func Check(editions []Edition) []Finding {
	var out []Finding
	sorted := slices.Clone(editions)
	slices.SortFunc(sorted, Compare)
	bySeries := map[series][]Edition{}
	var order []series
	type said struct {
		id       string
		sequence uint64
	}
	seen := map[said]bool{}
	for _, e := range sorted {
		if err := e.Validate(); err != nil {
			out = append(out, Finding{FindInvalid, e.String(), strings.ReplaceAll(err.Error(), "\n", "; "), true})
			continue
		}
		at := said{e.ID(), e.Sequence}
		if seen[at] {
			out = append(out, Finding{FindDuplicate, e.String(), "it stands twice; leave one out", true})
			continue
		}
		seen[at] = true
		s := seriesOf(e)
		if bySeries[s] == nil {
			order = append(order, s)
		}
		bySeries[s] = append(bySeries[s], e)
	}
	for _, s := range order {
		out = append(out, overlaps(bySeries[s])...)
		if s.kind != Instrument && s.kind != Embodied {
			out = append(out, gaps(bySeries[s])...)
		}
	}
	return out
}

// overlaps are pairs within one sequence that hold at the same time.
func overlaps(list []Edition) (out []Finding) {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b Edition) int {
		return cmp.Or(cmp.Compare(a.Sequence, b.Sequence), cmp.Compare(a.From, b.From))
	})
	for i, furthest := 1, 0; i < len(list); i++ {
		a, b := list[furthest], list[i]
		if a.Sequence == b.Sequence && a.overlaps(b) {
			out = append(out, Finding{FindOverlap, b.String(), fmt.Sprintf("%d %s, but %s says %d of the same time; leave one out, or import the one that counts in a file of its own, later",
				b.Value, b.Unit(), a, a.Value), true})
		}
		if a.Sequence != b.Sequence || a.To != 0 && (b.To == 0 || b.To > a.To) {
			furthest = i
		}
	}
	return out
}

// gaps are the spans between editions of a series in which none holds.
func gaps(list []Edition) (out []Finding) {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b Edition) int { return cmp.Compare(a.From, b.From) })
	until, last := unit.Micros(-1), Edition{}
	for i, e := range list {
		if i > 0 && until != 0 && e.From > until {
			hours := int64((e.From - until) / unit.Hour)
			out = append(out, Finding{FindGap, last.String(), fmt.Sprintf("nothing holds from %s to %s (%d hours); import what is missing, or the next step of the chain counts there",
				stamp(until), stamp(e.From), hours), false})
		}
		if i == 0 || until != 0 && (e.To == 0 || e.To > until) {
			until, last = e.To, e
		}
	}
	return out
}

// Check finds what is wrong with the set and with how its chains choose from it.
func (b *Book) Check() []Finding {
	all := b.Editions()
	out := Check(all)
	type group struct {
		kind            Kind
		key, resolution string
	}
	sources, boundaries := map[group][]string{}, map[group][]string{}
	var order []group
	for _, e := range all {
		if e.Kind != GridIntensity && e.Kind != ResidualMix { // others have one publisher or a name
			continue
		}
		c := b.Chain(e.Key)
		boundary := c.Boundary
		if e.Kind == ResidualMix {
			boundary = c.MarketBoundary
		}
		g := group{e.Kind, e.Key, e.Resolution}
		if sources[g] == nil && boundaries[g] == nil {
			order = append(order, g)
		}
		if !slices.Contains(boundaries[g], e.Boundary) {
			boundaries[g] = append(boundaries[g], e.Boundary)
			if boundary != "" && e.Boundary != boundary && !e.Committed {
				out = append(out, Finding{FindUnused, e.String(), fmt.Sprintf("it is %s and the chain of zone %s takes %s: it never counts; state the chain's boundary under carbon.chains if it should", e.Boundary, e.Key, boundary), false})
			}
		}
		if !e.Committed && (boundary == "" || e.Boundary == boundary) && !slices.Contains(sources[g], e.Source) {
			sources[g] = append(sources[g], e.Source)
		}
	}
	for _, g := range order {
		c := b.Chain(g.key)
		name := fmt.Sprintf("%s %s %s", g.kind, g.key, g.resolution)
		if g.kind == ResidualMix && c.MarketBoundary == "" && len(boundaries[g]) > 1 {
			out = append(out, Finding{FindBoundary, name, "there are values of both boundaries; state market_boundary of the zone's chain under carbon.chains", true})
		}
		if list := sources[g]; len(list) > 1 && (g.kind == ResidualMix || anybody(c, g.resolution)) {
			out = append(out, Finding{FindAmbiguous, name, fmt.Sprintf("%s have values and no chain says whose counts; name the source in the steps of the zone's chain under carbon.chains",
				strings.Join(list, ", ")), true})
		}
	}
	return append(append(out, b.checkChains()...), b.checkInstruments(all)...)
}

// Repeated names editions that are stored twice in a row, with the same words: two that store at once may do that. They count once.
func (b *Book) Repeated() (out []Finding) {
	type said struct {
		series
		from, to unit.Micros
	}
	last := map[said]Edition{}
	for _, e := range b.Editions() {
		at := said{seriesOf(e), e.From, e.To}
		if old, ok := last[at]; ok && old.ID() == e.ID() {
			out = append(out, Finding{FindDuplicate, e.String(), fmt.Sprintf("it is stored under sequence %d and again under %d; it counts once, and there is nothing to mend", old.Sequence, e.Sequence), false})
		}
		last[at] = e
	}
	return out
}

// checkChains finds chains that have no yearly value to end with: an hour without a finer one would count nothing.
func (b *Book) checkChains() (out []Finding) {
	for _, zone := range slices.Sorted(maps.Keys(b.chains)) {
		if zone == "" {
			continue
		}
		c := b.chains[zone]
		country, _, _ := strings.Cut(zone, "-")
		ends := slices.ContainsFunc(slices.Concat(c.Steps, []Step{committed}), func(s Step) bool {
			return slices.ContainsFunc([]string{zone, country}, func(key string) bool {
				return slices.ContainsFunc(b.grid[place{GridIntensity, key, Yearly}], func(e Edition) bool {
					return e.Boundary == c.Boundary && s.takes(e) && (key == zone || e.Committed)
				})
			})
		})
		if !ends {
			out = append(out, Finding{FindGap, "chain of zone " + zone, fmt.Sprintf("no yearly value of boundary %s ends it: an hour without a finer one counts 0 and is flagged location_unknown; import one and name it as the last step", c.Boundary), false})
		}
	}
	return out
}

// anybody says that a chain takes whoever published a resolution.
func anybody(c Chain, resolution string) bool {
	return slices.ContainsFunc(c.Steps, func(s Step) bool { return s.Source == "" && s.Resolution == resolution })
}

// checkInstruments finds instruments of a site that hold at the same time and are of two boundaries.
func (b *Book) checkInstruments(all []Edition) (out []Finding) {
	for _, e := range all {
		if e.Kind != Instrument || e.Validate() != nil {
			continue
		}
		for _, o := range b.Instruments(e.Key, e.From) {
			if o.Boundary != e.Boundary {
				out = append(out, Finding{FindBoundary, e.String(), fmt.Sprintf("it is %s and %s, which holds at the same time, is %s; state both with one boundary", e.Boundary, o, o.Boundary), true})
				break
			}
		}
	}
	return out
}
