package factor

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/wattledger/wattledger/schemas/unit"
)

// Newest is the as-of of all that is known.
const Newest uint64 = math.MaxUint64

// Book is a set of editions with the chains by which one is chosen for an hour. What is chosen depends on the set alone, and in
// no way on its order. A book never changes: asking it again gives the same answer.
type Book struct {
	// grid holds what has a resolution, by kind, zone and resolution, in order of From; other what has none, by kind and key.
	grid     map[place][]Edition
	other    map[place][]Edition
	chains   map[string]Chain
	sequence uint64
}

type place struct {
	kind            Kind
	key, resolution string
}

// NewBook makes a book of the editions that were known as of a sequence. Without a chain of its own, and without one for every
// zone (of zone ""), a zone has DefaultChain. Editions and chains are valid; Check says whether the set makes sense.
func NewBook(editions []Edition, chains []Chain, asOf uint64) *Book {
	b := &Book{grid: map[place][]Edition{}, other: map[place][]Edition{}, chains: map[string]Chain{"": DefaultChain()}}
	for _, c := range chains {
		b.chains[c.Zone] = c
	}
	for _, e := range editions {
		if e.Sequence > asOf {
			continue
		}
		b.sequence = max(b.sequence, e.Sequence)
		at := place{e.Kind, e.Key, e.Resolution}
		if e.Resolution == "" {
			b.other[at] = append(b.other[at], e)
		} else {
			b.grid[at] = append(b.grid[at], e)
		}
	}
	for _, list := range b.grid {
		slices.SortFunc(list, func(a, b Edition) int { return cmp.Compare(a.From, b.From) })
	}
	return b
}

// Sequence is the highest of its editions: as of it, the same set gives this book again.
func (b *Book) Sequence() uint64 { return b.sequence }

// Chain is that of a zone.
func (b *Book) Chain(zone string) Chain {
	if c, ok := b.chains[zone]; ok {
		return c
	}
	return b.chains[""]
}

// Choose is the edition that counts for a key in the hour: of a grid zone's electricity the first step of the chain that has one,
// of a site or a device model the one that is valid. Of several the one of the highest sequence counts. It is unknown when there is none.
func (b *Book) Choose(kind Kind, key string, hour unit.Micros) Chosen {
	switch kind {
	case GridIntensity, ResidualMix:
		return b.chooseGrid(kind, key, hour)
	case Embodied:
		return b.chooseEmbodied(key, hour)
	}
	best, ok := newest(covering(b.other[place{kind: kind, key: key}], hour))
	if !ok {
		return Chosen{}
	}
	return Chosen{Edition: best}
}

func (b *Book) chooseGrid(kind Kind, zone string, hour unit.Micros) Chosen {
	c := b.Chain(zone)
	steps, boundary := c.Steps, c.Boundary
	if kind == ResidualMix { // its publishers are others than the grid's
		steps, boundary = DefaultChain().Steps, c.MarketBoundary
	}
	country, _, isPart := strings.Cut(zone, "-")
	type attempt struct {
		step Step
		key  string
	}
	var attempts []attempt
	for _, s := range steps {
		attempts = append(attempts, attempt{s, zone})
	}
	if kind == GridIntensity { // the committed table, also of the country that the zone is a part of
		attempts = append(attempts, attempt{committed, zone})
		if isPart {
			attempts = append(attempts, attempt{committed, country})
		}
	}
	// First whatever is of this hour, then the nearest year: of year Y nothing yearly is published before the year after.
	for _, anyYear := range []bool{false, true} {
		for i, a := range attempts {
			if anyYear && a.step.Resolution != Yearly {
				continue
			}
			list := b.grid[place{kind, a.key, a.step.Resolution}]
			if a.step.Resolution == Hourly {
				list = ofHour(list, hour)
			}
			var fit []Edition
			for _, e := range list {
				if a.step.takes(e) && (boundary == "" || e.Boundary == boundary) && (anyYear || e.Covers(hour)) {
					fit = append(fit, e)
				}
			}
			if anyYear {
				fit = nearest(fit, hour)
			}
			best, ok := newest(fit)
			if !ok {
				continue
			}
			words := []string{a.step.Resolution}
			if anyYear {
				words = append(words, fmt.Sprintf("of %d", best.From.Time().Year()))
			}
			if a.key != zone {
				words = append(words, "of "+a.key)
			}
			if i == 0 && len(words) == 1 {
				return Chosen{Edition: best}
			}
			return Chosen{Edition: best, Fallback: strings.Join(words, " ")}
		}
	}
	return Chosen{}
}

// committed ends every chain. No publisher has its name.
var committed = Step{Source: "\x00committed", Resolution: Yearly}

// ofHour are the hourly editions of an hour from a list in order of From.
func ofHour(list []Edition, hour unit.Micros) []Edition {
	i, _ := slices.BinarySearchFunc(list, hour, func(e Edition, t unit.Micros) int { return cmp.Compare(e.From, t) })
	j := i
	for j < len(list) && list[j].From == hour {
		j++
	}
	return list[i:j]
}

// nearest are those of the latest year before the hour, or where there is none of the earliest after it.
func nearest(list []Edition, hour unit.Micros) []Edition {
	var before, after []Edition
	for _, e := range list {
		if e.To <= hour {
			before = append(before, e)
		} else {
			after = append(after, e)
		}
	}
	best := before
	if len(before) == 0 {
		best = after
	}
	var year unit.Micros
	for i, e := range best {
		later := e.From > year
		if len(before) == 0 {
			later = e.From < year
		}
		if i == 0 || later {
			year = e.From
		}
	}
	return slices.DeleteFunc(best, func(e Edition) bool { return e.From != year })
}

// chooseEmbodied takes the key that is the longest part of the product's name in whole words, as FindModel does.
func (b *Book) chooseEmbodied(product string, hour unit.Micros) Chosen {
	var best Chosen
	for at, list := range b.other {
		rest, ok := strings.CutPrefix(product, at.key)
		if at.kind != Embodied || !ok || at.key == "" || len(at.key) <= len(best.Key) || rest != "" && alphanumeric(rest[0]) {
			continue
		}
		if e, ok := newest(covering(list, hour)); ok {
			best = Chosen{Edition: e}
		}
	}
	return best
}

// Instruments are those of a site in the hour, in the order in which they are used up: what is matched hour by hour before what is
// matched over the year, then by source, name and begin. Of an instrument with several editions the newest counts; one that was
// withdrawn is left out.
func (b *Book) Instruments(site string, hour unit.Micros) []Edition {
	type name struct{ source, name string }
	byName := map[name][]Edition{}
	for _, e := range covering(b.other[place{kind: Instrument, key: site}], hour) {
		n := name{e.Source, e.Name}
		byName[n] = append(byName[n], e)
	}
	var out []Edition
	for _, list := range byName {
		if e, _ := newest(list); e.Volume != 0 || e.Cover != 0 {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b Edition) int {
		return cmp.Or(cmp.Compare(a.Matching, b.Matching), cmp.Compare(a.Source, b.Source), cmp.Compare(a.Name, b.Name), cmp.Compare(a.From, b.From))
	})
	return out
}

// Editions are all of them, in an order of their content.
func (b *Book) Editions() []Edition {
	var out []Edition
	for _, m := range []map[place][]Edition{b.grid, b.other} {
		for _, list := range m {
			out = append(out, list...)
		}
	}
	slices.SortFunc(out, Compare)
	return out
}

// Compare is the order in which editions are shown: by kind, key, source, resolution, begin and sequence.
func Compare(a, b Edition) int {
	if c := cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Key, b.Key), cmp.Compare(a.Source, b.Source), cmp.Compare(a.Resolution, b.Resolution),
		cmp.Compare(a.Boundary, b.Boundary), cmp.Compare(a.From, b.From), cmp.Compare(a.Sequence, b.Sequence), cmp.Compare(a.Name, b.Name)); c != 0 {
		return c
	}
	return cmp.Compare(a.ID(), b.ID())
}

func covering(list []Edition, hour unit.Micros) []Edition {
	var out []Edition
	for _, e := range list {
		if e.Covers(hour) {
			out = append(out, e)
		}
	}
	return out
}

// newest is the one of the highest sequence, and one from the committed tables only where there is no other. Two of one sequence, which Check names, are told apart by content, so that no order of
// arrival decides.
func newest(list []Edition) (Edition, bool) {
	if len(list) == 0 {
		return Edition{}, false
	}
	best := list[0]
	for _, e := range list[1:] {
		if outranks(e, best) {
			best = e
		}
	}
	return best, true
}

func outranks(a, b Edition) bool {
	switch {
	case a.Committed != b.Committed:
		return b.Committed
	case a.Sequence != b.Sequence:
		return a.Sequence > b.Sequence
	}
	return a.ID() > b.ID()
}
