package factor

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/schemas/unit"
)

func at(text string) unit.Micros {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return unit.MicrosOf(t)
}

// hourly is a value of one hour in France.
func hourly(from unit.Micros, value int64, sequence uint64) Edition {
	return Edition{
		Kind: GridIntensity, Key: "FR", From: from, To: from + unit.Hour, Value: value, Boundary: Lifecycle, Resolution: Hourly,
		Method: "consumption average", Source: "Somebody", Name: "v4", Licence: "contract", Sequence: sequence,
	}
}

func spanning(resolution, from, to string, value int64, sequence uint64) Edition {
	e := hourly(0, value, sequence)
	e.Resolution, e.From, e.To = resolution, at(from), at(to)
	return e
}

func site(kind Kind, from, to unit.Micros, value int64, sequence uint64) Edition {
	return Edition{Kind: kind, Key: "fr-1", From: from, To: to, Value: value, Method: "declared", Source: "operator", Name: "declaration", Licence: "own", Sequence: sequence}
}

func contract(name string, value int64) Edition {
	return Edition{
		Kind: Instrument, Key: "fr-1", From: at("2026-01-01T00:00:00Z"), To: at("2027-01-01T00:00:00Z"), Value: value, Boundary: Lifecycle,
		Method: "guarantee of origin", Source: "registry", Name: name, Licence: "own", Cover: 500_000, Matching: Yearly, Sequence: 1,
	}
}

const hour = "2026-11-03T04:00:00Z"

func TestCommittedTables(t *testing.T) {
	all, err := Committed()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range Check(all) {
		t.Errorf("%s", f)
	}
	b := NewBook(all, nil, Newest)
	f := func(product, ref string) {
		t.Helper()
		if got := b.Choose(Embodied, product, at(hour)).Ref(); got != ref {
			t.Errorf("%s: %q, want %q", product, got, ref)
		}
	}
	f("NVIDIA B200", "NVIDIA PCF summary 2025 NVIDIA B200 cradle-to-gate PCF of the HGX B200 baseboard over 8 GPUs 284250000000µg over 126230400000ms")
	f("NVIDIA GB300", "NVIDIA PCF summary 2025 NVIDIA GB300 cradle-to-gate proxy: NVIDIA B200 estimated 284250000000µg over 126230400000ms")
	f("NVIDIA A100-SXM4-40GB", "arXiv 2509.00093 2025-09 NVIDIA A100 cradle-to-gate life-cycle assessment of an A100 SXM 40 GB card 127600000000µg over 126230400000ms")
	f("NVIDIA A1000", "") // another card
	f("Tesla T4", "")
	if sensors, err := Sensors(); err != nil || sensors[SensorGPUCounter].Permille != 50 || sensors[SensorSiteMeter].Permille != 10 || sensors[SensorDeclared].Permille != 300 {
		t.Errorf("sensors: %+v, %v", sensors, err)
	}
}

// The declared chain, step by step, and its word in the entry.
func TestChain(t *testing.T) {
	tables, err := Committed()
	if err != nil {
		t.Fatal(err)
	}
	f := func(zone string, when string, want string, fallback string, more ...Edition) {
		t.Helper()
		got := NewBook(append(more, tables...), nil, Newest).Choose(GridIntensity, zone, at(when))
		if value := fmt.Sprint(got.Value); value != want || got.Fallback != fallback {
			t.Errorf("%s at %s is %s, fallback %q; want %s, %q", zone, when, value, got.Fallback, want, fallback)
		}
	}
	month := spanning(Monthly, "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z", 30_000_000, 2)
	year := spanning(Yearly, "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z", 31_000_000, 3)
	last := spanning(Yearly, "2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z", 32_000_000, 4)
	f("FR", hour, "29000000", "", hourly(at(hour), 29_000_000, 1), month, year)
	f("FR", hour, "30000000", "monthly", hourly(at(hour)+unit.Hour, 29_000_000, 1), month, year)
	f("FR", hour, "31000000", "yearly", last, year)
	f("FR", hour, "32000000", "yearly of 2025", last)
	f("FR", hour, "44180000", "yearly of 2024")
	f("FR", "2024-05-01T00:00:00Z", "44180000", "yearly")
	f("FR", "2020-05-01T00:00:00Z", "44180000", "yearly of 2024") // nothing older is known
	f("SE-SE3", hour, "35890000", "yearly of 2024 of SE")
	f("XX", hour, "0", "")
	direct := hourly(at(hour), 12_000_000, 9)
	direct.Boundary = Direct
	f("FR", hour, "44180000", "yearly of 2024", direct) // another boundary does not count, however fine it is
	chains := []Chain{{Zone: "FR", Boundary: Direct, Steps: []Step{{Source: "Somebody", Resolution: Hourly}}}}
	b := NewBook(append(tables, direct), chains, Newest)
	if got := b.Choose(GridIntensity, "FR", at(hour)); got.Value != 12_000_000 || got.Fallback != "" {
		t.Errorf("a chain of direct values chose %+v", got)
	}
	if got := b.Choose(GridIntensity, "FR", at(hour)+unit.Hour); got.Known() {
		t.Errorf("a chain of direct values fell back to %s", got.Ref())
	}
	if ref := NewBook(tables, nil, Newest).Choose(GridIntensity, "FR", at(hour)).Ref(); ref != "Ember 2024 FR lifecycle production average yearly 44180000µg/kWh (fallback: yearly of 2024)" {
		t.Errorf("an entry names %q", ref)
	}
}

// A revision counts from its sequence on, and as of an older one the old value still does.
func TestRevision(t *testing.T) {
	all := []Edition{hourly(at(hour), 20_000_000, 5), hourly(at(hour), 21_000_000, 8), site(PUE, 0, 0, 1300, 2), site(PUE, at("2026-01-01T00:00:00Z"), 0, 1200, 9)}
	f := func(asOf uint64, kind Kind, key string, want int64) {
		t.Helper()
		if got := NewBook(all, nil, asOf).Choose(kind, key, at(hour)); got.Value != want {
			t.Errorf("as of %d: %s is %d, want %d", asOf, kind, got.Value, want)
		}
	}
	f(4, GridIntensity, "FR", 0)
	f(5, GridIntensity, "FR", 20_000_000)
	f(7, GridIntensity, "FR", 20_000_000)
	f(8, GridIntensity, "FR", 21_000_000)
	f(1, PUE, "fr-1", 0)
	f(8, PUE, "fr-1", 1300)
	f(Newest, PUE, "fr-1", 1200)
	if got := NewBook(all, nil, 8).Sequence(); got != 8 {
		t.Errorf("the book is of sequence %d", got)
	}
}

func TestInstruments(t *testing.T) {
	ppa := contract("wind park", 0)
	ppa.Matching, ppa.Cover, ppa.Volume = Hourly, 0, 500*unit.MillijoulesPerKWh
	withdrawn := contract("GO 1", 0)
	withdrawn.Cover, withdrawn.Sequence = 0, 4
	book := func(asOf uint64) []string {
		var out []string
		for _, e := range NewBook([]Edition{contract("GO 2", 0), withdrawn, contract("GO 1", 0), ppa}, nil, asOf).Instruments("fr-1", at(hour)) {
			out = append(out, e.Name)
		}
		return out
	}
	if got := book(3); !slices.Equal(got, []string{"wind park", "GO 1", "GO 2"}) {
		t.Errorf("used up in the order %v", got)
	}
	if got := book(4); !slices.Equal(got, []string{"wind park", "GO 2"}) {
		t.Errorf("after it was withdrawn: %v", got)
	}
}

// What is chosen depends on the set of editions, not on the order they came in; adding one of another key, or one of a later
// sequence seen as of before, changes nothing.
func TestChoosingDependsOnTheSetAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := at("2026-01-01T00:00:00Z")
		one := rapid.Custom(func(t *rapid.T) Edition {
			e := hourly(start, rapid.Int64Range(1, 5).Draw(t, "value"), rapid.Uint64Range(0, 4).Draw(t, "sequence"))
			e.Source = rapid.SampledFrom([]string{"A", "B"}).Draw(t, "source")
			e.Boundary = rapid.SampledFrom([]string{Direct, Lifecycle}).Draw(t, "boundary")
			e.From += unit.Micros(rapid.Int64Range(0, 3).Draw(t, "hour")) * unit.Hour
			e.To = e.From + unit.Hour
			switch rapid.IntRange(0, 4).Draw(t, "form") {
			case 1:
				e.Resolution, e.To = Monthly, start+31*24*unit.Hour
			case 2:
				e.Resolution, e.From, e.To = Yearly, at("2025-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z")
			case 3:
				e = site(PUE, e.From, 0, 1000+e.Value, e.Sequence)
			case 4:
				sequence, value := e.Sequence, e.Value
				e = contract(rapid.SampledFrom([]string{"x", "y"}).Draw(t, "contract"), value)
				e.Sequence = sequence
			}
			return e
		})
		all := rapid.SliceOfN(one, 0, 12).Draw(t, "editions")
		asOf := rapid.Uint64Range(0, 5).Draw(t, "as of")
		chains := []Chain{{Zone: "FR", Boundary: Lifecycle, Steps: []Step{{Source: "A", Resolution: Hourly}, {Resolution: Hourly}, {Resolution: Yearly}}}}
		answer := func(list []Edition) string {
			b := NewBook(list, chains, asOf)
			var out strings.Builder
			for h := range unit.Micros(5) {
				h = start + h*unit.Hour
				fmt.Fprintf(&out, "%+v %+v %+v", b.Choose(GridIntensity, "FR", h), b.Choose(PUE, "fr-1", h), b.Instruments("fr-1", h))
			}
			return out.String()
		}
		want := answer(all)
		if got := answer(rapid.Permutation(all).Draw(t, "other order")); got != want {
			t.Fatalf("in another order it chose\n%s\nand not\n%s", got, want)
		}
		later := rapid.SliceOfN(one, 0, 4).Draw(t, "later")
		for i := range later {
			later[i].Sequence += asOf + 1
		}
		other := hourly(start, 99, 0)
		other.Key = "DE"
		if got := answer(append(append(slices.Clone(all), later...), other)); got != want {
			t.Fatalf("with later editions it chose\n%s\nand not\n%s", got, want)
		}
		if !slices.EqualFunc(Check(all), Check(rapid.Permutation(all).Draw(t, "checked")), func(a, b Finding) bool { return a == b }) {
			t.Fatal("what is found depends on the order")
		}
	})
}

func TestCheck(t *testing.T) {
	f := func(name string, list []Edition, want ...string) {
		t.Helper()
		var got []string
		for _, x := range NewBook(list, nil, Newest).Check() {
			got = append(got, x.Code)
			if x.Record == "" || x.Text == "" {
				t.Errorf("%s: finding %+v names nothing", name, x)
			}
			if (x.Code == FindGap || x.Code == FindUnused) == x.Refused {
				t.Errorf("%s: %s is refused: %v", name, x, x.Refused)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: found %v, want %v", name, got, want)
		}
	}
	h := at(hour)
	f("fine", []Edition{hourly(h, 1, 1), hourly(h+unit.Hour, 2, 1), hourly(h, 3, 2)})
	f("a hole", []Edition{hourly(h, 1, 1), hourly(h+2*unit.Hour, 2, 1)}, FindGap)
	f("twice", []Edition{hourly(h, 1, 1), hourly(h, 1, 1)}, FindDuplicate)
	f("the same word later", []Edition{hourly(h, 1, 1), hourly(h, 1, 2)})
	f("two values in one import", []Edition{hourly(h, 1, 1), hourly(h, 2, 1)}, FindOverlap)
	f("years that overlap", []Edition{
		spanning(Yearly, "2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z", 1, 1), spanning(Yearly, "2025-12-01T00:00:00Z", "2026-12-01T00:00:00Z", 2, 1),
	}, FindOverlap)
	f("an open PUE and another", []Edition{site(PUE, 0, 0, 1300, 1), site(PUE, at(hour), 0, 1200, 1)}, FindOverlap)
	f("an open PUE and a later word", []Edition{site(PUE, 0, 0, 1300, 1), site(PUE, at(hour), 0, 1200, 2)})
	f("a PUE with a hole", []Edition{site(PUE, at("2024-01-01T00:00:00Z"), at("2025-01-01T00:00:00Z"), 1300, 1), site(PUE, at("2025-02-01T00:00:00Z"), 0, 1200, 1)}, FindGap)
	backwards := site(WUE, at(hour), at(hour)-unit.Hour, 1, 1)
	f("the end before the start", []Edition{backwards}, FindInvalid)
	direct := hourly(h, 1, 1)
	direct.Boundary = Direct
	f("a boundary that the chain does not take", []Edition{direct}, FindUnused)
	other := hourly(h, 1, 1)
	other.Source = "Somebody else"
	f("two sources and no chain", []Edition{hourly(h, 1, 1), other}, FindAmbiguous)
	residual, residual2 := spanning(Yearly, "2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z", 1, 1), spanning(Yearly, "2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z", 1, 1)
	residual.Kind, residual2.Kind, residual2.Boundary = ResidualMix, ResidualMix, Direct
	f("a residual mix of both boundaries", []Edition{residual, residual2}, FindBoundary)
	chained := func(want int, boundary string, list ...Edition) {
		t.Helper()
		chains := []Chain{{Zone: "FR", Boundary: boundary, Steps: []Step{{Resolution: Hourly}, {Resolution: Yearly}}}}
		if got := NewBook(list, chains, Newest).Check(); len(got) != want {
			t.Errorf("a chain of %s values: %v, want %d", boundary, got, want)
		}
	}
	ends := spanning(Yearly, "2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z", 1, 1)
	chained(1, Direct)
	chained(2, Direct, ends) // which is life-cycle, and never counts
	chained(0, Lifecycle, ends)
	ends.Boundary = Direct
	chained(0, Direct, ends)
	mixed := contract("b", 0)
	mixed.Boundary = Direct
	f("instruments of two boundaries", []Edition{contract("a", 0), mixed}, FindBoundary, FindBoundary)
}

func TestValidate(t *testing.T) {
	f := func(want string, change func(e *Edition)) {
		t.Helper()
		e := hourly(at(hour), 1, 1)
		change(&e)
		err := e.Validate()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%+v: %v, want %q", e, err, want)
		}
	}
	f("", func(*Edition) {})
	f("kind is", func(e *Edition) { e.Kind = "wind" })
	f("key is empty", func(e *Edition) { e.Key = "" })
	f("licence is empty", func(e *Edition) { e.Licence = "" })
	f("without spaces around it", func(e *Edition) { e.Name = " v4" })
	f("one line", func(e *Edition) { e.Source = "a\nb" })
	f("one line", func(e *Edition) { e.Source = "a\xff" })
	f("it ends at", func(e *Edition) { e.To = e.From - unit.Hour })
	f("whole hours", func(e *Edition) { e.From++; e.To++ })
	f("write one hour", func(e *Edition) { e.To += unit.Hour })
	f("value is -1", func(e *Edition) { e.Value = -1 })
	f("value is 4000000000", func(e *Edition) { e.Value = 4_000_000_000 })
	f("boundary is", func(e *Edition) { e.Boundary = "" })
	f("resolution is", func(e *Edition) { e.Resolution = "daily" })
	f("as it is of a year", func(e *Edition) { e.Resolution, e.To = Yearly, 0 })
	f("an instrument's", func(e *Edition) { e.Cover = 1 })
	f("only embodied", func(e *Edition) { e.Life = 1 })
	f("", func(e *Edition) { *e = contract("x", 0) })
	f("the one or the other", func(e *Edition) { *e = contract("x", 0); e.Volume, e.Matching = 1, Hourly })
	f("matched over the year", func(e *Edition) { *e = contract("x", 0); e.Volume, e.Cover = 1, 0 })
	f("at most 1000000 ppm", func(e *Edition) { *e = contract("x", 0); e.Cover = 1_000_001 })
	f("matching is", func(e *Edition) { *e = contract("x", 0); e.Matching = "" })
	f("no less than its IT", func(e *Edition) { *e = site(PUE, 0, 0, 999, 1) })
	f("has none", func(e *Edition) { *e = site(PUE, 0, 0, 1200, 1); e.Boundary = Direct })
}

// Whatever is content is in the ID, and what is not is not.
func TestID(t *testing.T) {
	base := contract("x", 7)
	f := func(same bool, change func(e *Edition)) {
		t.Helper()
		e := base
		change(&e)
		if (e.ID() == base.ID()) != same {
			t.Errorf("%+v: the same ID: %v, want %v", e, !same, same)
		}
	}
	f(true, func(e *Edition) { e.Sequence, e.Committed = 9, true })
	for _, change := range []func(e *Edition){
		func(e *Edition) { e.Kind = PUE }, func(e *Edition) { e.Key += "x" }, func(e *Edition) { e.From++ }, func(e *Edition) { e.To++ },
		func(e *Edition) { e.Value++ }, func(e *Edition) { e.Boundary = Direct }, func(e *Edition) { e.Resolution = Hourly },
		func(e *Edition) { e.Method += "x" }, func(e *Edition) { e.Estimated = true }, func(e *Edition) { e.Source += "x" },
		func(e *Edition) { e.Name += "x" }, func(e *Edition) { e.Licence += "x" }, func(e *Edition) { e.Volume++ }, func(e *Edition) { e.Cover++ },
		func(e *Edition) { e.Matching = Hourly }, func(e *Edition) { e.Life++ },
		func(e *Edition) { e.Source, e.Name = e.Source+e.Name[:1], e.Name[1:] },
	} {
		f(false, change)
	}
	// Pinned: what is stored under it stays to be found.
	if got := base.ID(); got != "b8f6daa6d354fbfb662431e391fd88d785128a67802b7cc048610e481e2af5cc" {
		t.Errorf("the ID is %s", got)
	}
	if got := base.Ref(); got != "registry x fr-1 lifecycle guarantee of origin yearly matching 500000ppm 7µg/kWh" {
		t.Errorf("the entry names %q", got)
	}
}

// What is stored twice in a row is named and refuses nothing; what is said again after a revision is a revision.
func TestRepeatedNamesWhatIsStoredTwice(t *testing.T) {
	h := at(hour)
	f := func(name string, editions []Edition, want int) {
		t.Helper()
		got := NewBook(editions, nil, Newest).Repeated()
		for _, x := range got {
			if x.Code != FindDuplicate || x.Refused {
				t.Errorf("%s: %+v", name, x)
			}
		}
		if len(got) != want {
			t.Errorf("%s: %d findings, want %d", name, len(got), want)
		}
	}
	f("once", []Edition{hourly(h, 1, 1), hourly(h+unit.Hour, 1, 1)}, 0)
	f("twice", []Edition{hourly(h, 1, 2), hourly(h, 1, 1)}, 1)
	f("taken back", []Edition{hourly(h, 1, 1), hourly(h, 2, 2), hourly(h, 1, 3)}, 0)
}
