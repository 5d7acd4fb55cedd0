package factor

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/wattledger/wattledger/schemas/unit"
)

// Kind is what a factor says something about.
type Kind string

// The kinds of factor, with the unit of Value and what Key names.
const (
	// GridIntensity is location-based: µg CO2e per kWh in a grid zone.
	GridIntensity Kind = "grid"
	// ResidualMix is market-based, for what no instrument covers: µg CO2e per kWh in a grid zone.
	ResidualMix Kind = "residual"
	// Instrument is a contractual instrument of a site (guarantee of origin, PPA): µg CO2e per kWh over Volume or Cover.
	Instrument Kind = "instrument"
	// PUE is the power usage effectiveness of a site × 1000 (ISO/IEC 30134-2).
	PUE Kind = "pue"
	// WUE is the water usage effectiveness of a site: µl per kWh of IT energy (ISO/IEC 30134-9).
	WUE Kind = "wue"
	// HeatReuse is the energy reuse factor of a site × 1000 (ISO/IEC 30134-6): energy handed on over all energy.
	HeatReuse Kind = "heat_reuse"
	// Embodied is the footprint of one device of a model: µg CO2e over Life.
	Embodied Kind = "embodied"
)

// Boundaries of what is about emissions.
const (
	// Direct is combustion at the plant alone: what Scope 2 is.
	Direct = "direct"
	// Lifecycle adds fuel, construction and disposal: Scope 2 and Scope 3, category 3.
	Lifecycle = "lifecycle"
	// CradleToGate is a product's footprint until it leaves the factory (ISO 14067).
	CradleToGate = "cradle-to-gate"
)

// Resolutions, the finest first.
const (
	Hourly  = "hourly"
	Monthly = "monthly"
	Yearly  = "yearly"
)

// Edition is a value with its validity and provenance. It never changes: a later word on the same hours is another edition.
type Edition struct {
	Kind Kind
	// Key is the grid zone, the site or the device model.
	Key string
	// From and To bound its validity; From 0 is always, To 0 is open.
	From, To unit.Micros
	Value    int64
	// Boundary is "direct" or "lifecycle" of what is about emissions: never summed together, always named. Of embodied
	// emissions it is "cradle-to-gate" or "lifecycle"; other kinds leave it empty.
	Boundary string
	// Resolution is "hourly", "monthly" or "yearly": the finer one is chosen first. Other kinds than grid and residual leave it
	// empty.
	Resolution string
	// Method says what kind of value it is: production average, consumption average (flow-traced), declared, metered.
	Method string
	// Estimated says that the publisher calls the value an estimate or provisional.
	Estimated bool
	// Source published it, Name is the publisher's name of the edition, Licence the terms.
	Source, Name, Licence string
	// Volume is the energy an instrument covers per hour; Cover the share of consumption it covers, in ppm, where it has no
	// volume. An instrument with neither has been withdrawn. Matching is "hourly" or "yearly".
	Volume   unit.Millijoules
	Cover    int64
	Matching string
	// Life is the lifetime that embodied emissions are spread over.
	Life unit.Milliseconds
	// Sequence orders editions: of two that say something about the same hour, the higher one counts. It is the store's to give;
	// 0 is what stands in the committed tables and in no store.
	Sequence uint64
	// Committed says that it comes from the committed tables, which count after all else whatever their sequence.
	Committed bool
}

// most is how large a value of a kind may be: one beyond is a wrong unit.
var most = map[Kind]int64{
	GridIntensity: 3_000_000_000, ResidualMix: 3_000_000_000, Instrument: 3_000_000_000, // 3 kg per kWh: burnt peat is under half of it
	PUE: 10_000, WUE: 100_000_000, HeatReuse: 1000,
	Embodied: 100_000_000_000_000, // 100 t
}

// Covers says that the edition is valid at t.
func (e Edition) Covers(t unit.Micros) bool { return e.From <= t && (e.To == 0 || t < e.To) }

// overlaps says that there is an instant at which both are valid.
func (e Edition) overlaps(o Edition) bool {
	return (o.To == 0 || e.From < o.To) && (e.To == 0 || o.From < e.To)
}

// Validate reports every fault of the edition at once.
func (e Edition) Validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	limit, known := most[e.Kind]
	if !known {
		add("kind is %q; write grid, residual, instrument, pue, wue, heat_reuse or embodied", e.Kind)
	}
	for _, f := range []struct{ name, text string }{{"key", e.Key}, {"source", e.Source}, {"name", e.Name}, {"method", e.Method}, {"licence", e.Licence}} {
		if f.text == "" {
			add("%s is empty", f.name)
		} else if strings.TrimSpace(f.text) != f.text || strings.ContainsFunc(f.text, control) || len(f.text) > 200 {
			add("%s is %q; write one line of at most 200 bytes without spaces around it", f.name, f.text)
		}
	}
	if e.From < 0 || e.To < 0 {
		add("from is %d µs and to %d µs; write instants from 1970 on", e.From, e.To)
	} else if e.To != 0 && e.To <= e.From {
		add("it ends at %s, not after it begins at %s", stamp(e.To), stamp(e.From))
	}
	if e.From%unit.Hour != 0 || e.To%unit.Hour != 0 {
		add("it holds from %s to %s; write whole hours in UTC, which is what is accounted", stamp(e.From), stamp(e.To))
	}
	if known && (e.Value < 0 || e.Value > limit) {
		add("value is %d %s; write from 0 to %d", e.Value, e.Unit(), limit)
	}
	if e.Kind == PUE && e.Value < 1000 {
		add("PUE is %d thousandths; a site draws no less than its IT, so write 1000 or more", e.Value)
	}
	errs = append(errs, e.validateBoundary(), e.validateInstrument())
	if e.Kind == Embodied && (e.Life <= 0 || e.Life > maxLife) {
		add("life is %d ms; write more than 0 and at most 50 years", e.Life)
	} else if e.Kind != Embodied && e.Life != 0 {
		add("life is %d ms; only embodied emissions have one", e.Life)
	}
	return errors.Join(errs...)
}

// maxLife is 50 years.
const maxLife unit.Milliseconds = 50 * 8766 * 3_600_000

func control(r rune) bool {
	return r < ' ' || r == 0x7f || r == '\uFFFD' || r == '\u2028' || r == '\u2029'
}

func (e Edition) validateBoundary() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch e.Kind {
	case GridIntensity, ResidualMix, Instrument:
		if e.Boundary != Direct && e.Boundary != Lifecycle {
			add("boundary is %q; write direct or lifecycle, as the two are never mixed", e.Boundary)
		}
	case Embodied:
		if e.Boundary != CradleToGate && e.Boundary != Lifecycle {
			add("boundary is %q; write cradle-to-gate or lifecycle", e.Boundary)
		}
	default:
		if e.Boundary != "" {
			add("boundary is %q; %s has none", e.Boundary, e.Kind)
		}
	}
	switch {
	case e.Kind != GridIntensity && e.Kind != ResidualMix:
		if e.Resolution != "" {
			add("resolution is %q; only grid and residual have one", e.Resolution)
		}
	case e.Resolution == Hourly && (e.To != e.From+unit.Hour):
		add("it is hourly and holds from %s to %s; write one hour", stamp(e.From), stamp(e.To))
	case e.Resolution == Monthly || e.Resolution == Yearly:
		if e.From == 0 || e.To == 0 {
			add("it is %s and holds from %s to %s; write both, as it is of a %s", e.Resolution, stamp(e.From), stamp(e.To), strings.TrimSuffix(e.Resolution, "ly"))
		}
	case e.Resolution != Hourly:
		add("resolution is %q; write hourly, monthly or yearly", e.Resolution)
	}
	return errors.Join(errs...)
}

func (e Edition) validateInstrument() error {
	switch {
	case e.Kind != Instrument && (e.Volume != 0 || e.Cover != 0 || e.Matching != ""):
		return errors.New("volume, cover and matching are an instrument's; leave them out")
	case e.Kind != Instrument:
		return nil
	case e.Matching != Hourly && e.Matching != Yearly:
		return fmt.Errorf("matching is %q; write hourly or yearly", e.Matching)
	case e.Volume < 0 || e.Cover < 0 || e.Cover > 1_000_000:
		return fmt.Errorf("it covers %d mJ per hour or %d ppm; write no less than 0 and at most 1000000 ppm", e.Volume, e.Cover)
	case e.Volume != 0 && e.Cover != 0:
		return fmt.Errorf("it covers %d mJ per hour and %d ppm; write the one or the other", e.Volume, e.Cover)
	case e.Matching == Yearly && e.Volume != 0:
		return errors.New("it is matched over the year and has a volume per hour; write the share of consumption that it covers, in ppm")
	}
	return nil
}

func stamp(t unit.Micros) string {
	if t == 0 {
		return "(open)"
	}
	return t.Time().Format(time.RFC3339)
}

// Unit is that of Value.
func (e Edition) Unit() string {
	switch e.Kind {
	case GridIntensity, ResidualMix, Instrument:
		return "µg/kWh"
	case PUE, HeatReuse:
		return "‰"
	case WUE:
		return "µl/kWh"
	case Embodied:
		return "µg"
	}
	return ""
}

// Ref names the edition as an entry does: source, name, key, boundary, method, resolution and value with its unit; of an
// instrument also what it covers and how it is matched, of embodied emissions the lifetime.
func (e Edition) Ref() string {
	words := []string{e.Source, e.Name, e.Key, e.Boundary, e.Method, e.Resolution}
	if e.Kind == Instrument {
		words = append(words, e.Matching+" matching")
		if e.Volume != 0 {
			words = append(words, fmt.Sprintf("%dmJ/h", e.Volume))
		} else {
			words = append(words, fmt.Sprintf("%dppm", e.Cover))
		}
	}
	if e.Estimated {
		words = append(words, "estimated")
	}
	words = append(words, fmt.Sprintf("%d%s", e.Value, e.Unit()))
	if e.Kind == Embodied {
		words = append(words, fmt.Sprintf("over %dms", e.Life))
	}
	kept := words[:0]
	for _, w := range words {
		if w != "" {
			kept = append(kept, w)
		}
	}
	return strings.Join(kept, " ")
}

// ID is the SHA-256 of the edition's content in hex. Sequence and Committed are no content: the same words said twice have one ID.
func (e Edition) ID() string {
	// A list of strings and numbers: no field order, no float, no omission that could make two editions look alike.
	b, err := json.Marshal([]any{
		"wattledger factor 1", e.Kind, e.Key, e.From, e.To, e.Value, e.Boundary, e.Resolution, e.Method, e.Estimated,
		e.Source, e.Name, e.Licence, e.Volume, e.Cover, e.Matching, e.Life,
	})
	if err != nil {
		panic(err) // strings and integers always marshal
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// String names the edition in messages: what it is, of what, whose, and since when.
func (e Edition) String() string {
	words := []string{string(e.Kind), e.Key, e.Source, e.Name, e.Resolution}
	kept := words[:0]
	for _, w := range words {
		if w != "" {
			kept = append(kept, w)
		}
	}
	return fmt.Sprintf("%s from %s to %s", strings.Join(kept, " "), stamp(e.From), stamp(e.To))
}

// Chosen is the edition that counts for an hour, and how far down the declared chain it was found.
type Chosen struct {
	Edition
	// Fallback is empty when the first step of the chain had a value; otherwise the step that had.
	Fallback string
}

// Known says that there is a value.
func (c Chosen) Known() bool { return c.Kind != "" }

// Ref names the edition as an entry does, with the step of the chain where it was not the first; empty when there is none.
func (c Chosen) Ref() string {
	switch {
	case !c.Known():
		return ""
	case c.Fallback != "":
		return c.Edition.Ref() + " (fallback: " + c.Fallback + ")"
	}
	return c.Edition.Ref()
}
