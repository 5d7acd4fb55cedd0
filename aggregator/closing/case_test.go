package closing_test

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/wattledger/wattledger/aggregator/verify"
	"github.com/wattledger/wattledger/aggregator/verify/fleettest"
	"github.com/wattledger/wattledger/aggregator/verify/fleettest/books"
	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

var update = flag.Bool("update", false, "write what is found into testdata/cases; check it against the story")

// Each case is a story, what was read, and the lines that the ledger holds in the end. README.md in testdata/cases says how to
// read one. Besides being as they stand there, the lines are those of the independent recomputation.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/cases/*.txtar")
	if err != nil || len(files) < 25 {
		t.Fatalf("%d cases, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			c := readCase(t, a)
			b, err := books.Settled(c.fleet)
			if err != nil {
				t.Fatal(err)
			}
			p := c.fleet.Period()
			p.Settled = true
			lines, quality, err := verify.Recompute(c.fleet.Site, c.fleet.Nodes, p, true)
			if err != nil {
				t.Fatal(err)
			}
			if d := verify.Compare(b.Entries, lines); d.Entries != 0 {
				t.Errorf("the ledger is not its recomputation: %v", d.First)
			}
			if d := verify.CompareQuality(b.DeviceHours, quality); d.Quality != 0 {
				t.Errorf("device-hours are not their recomputation: %v", d.First)
			}
			c.compare(t, a, "want/entries.txt", entriesTable(b.Entries))
			c.compare(t, a, "want/totals.txt", totalsTable(b.Entries))
			c.compare(t, a, "want/meters.txt", qualityTable(b.DeviceHours))
			findings := ""
			for _, f := range b.Findings {
				findings += f.Kind + " " + f.Record + "\n"
			}
			c.compare(t, a, "want/findings.txt", findings)
			if *update {
				if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

type testCase struct{ fleet *fleettest.Fleet }

// compare holds a file of the case against what was found. A file that is not there wants nothing to be found.
func (c testCase) compare(t *testing.T, a *txtar.Archive, name, got string) {
	t.Helper()
	i := slices.IndexFunc(a.Files, func(f txtar.File) bool { return f.Name == name })
	if *update {
		switch {
		case i >= 0 && got == "":
			a.Files = slices.Delete(a.Files, i, i+1)
		case i >= 0:
			a.Files[i].Data = []byte(got)
		case got != "":
			a.Files = append(a.Files, txtar.File{Name: name, Data: []byte(got)})
		}
		return
	}
	want := ""
	if i >= 0 {
		want = string(a.Files[i].Data)
	}
	if got != want {
		t.Errorf("%s is\n%s\nwant\n%s", name, got, want)
	}
}

// rows reads a table of a case; what is left out is empty.
func rows(t *testing.T, a *txtar.Archive, name string) []map[string]string {
	t.Helper()
	var out []map[string]string
	for _, f := range a.Files {
		if f.Name != name {
			continue
		}
		r := csv.NewReader(bytes.NewReader(f.Data))
		r.TrimLeadingSpace, r.Comment = true, '#'
		all, err := r.ReadAll()
		if err != nil || len(all) == 0 {
			t.Fatalf("%s: %v", name, err)
		}
		for _, row := range all[1:] {
			m := map[string]string{}
			for i, v := range row {
				m[strings.TrimSpace(all[0][i])] = strings.TrimSpace(v)
			}
			out = append(out, m)
		}
	}
	return out
}

// scaled is a decimal number in thousandths, or in 10⁻ⁿ.
func scaled(t *testing.T, text string, digits int) int64 {
	t.Helper()
	if text == "" {
		return 0
	}
	whole, part, _ := strings.Cut(strings.ReplaceAll(text, "_", ""), ".")
	if len(part) > digits {
		t.Fatalf("%q has more than %d decimals", text, digits)
	}
	v, err := strconv.ParseInt(whole+part+strings.Repeat("0", digits-len(part)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// midnight is that of the day on which every case plays.
var midnight = fleettest.Begin / (24 * unit.Hour) * (24 * unit.Hour)

// at is an instant of the day; empty stands for otherwise.
func at(t *testing.T, text string, otherwise unit.Micros) unit.Micros {
	t.Helper()
	if text == "" {
		return otherwise
	}
	var h, m, s int64
	if n, _ := fmt.Sscanf(text, "%d:%d:%d", &h, &m, &s); n < 2 {
		t.Fatalf("%q is not hh:mm or hh:mm:ss", text)
	}
	return midnight + unit.Micros(h*3600+m*60+s)*unit.Second
}

func readCase(t *testing.T, a *txtar.Archive) testCase {
	t.Helper()
	f := &fleettest.Fleet{Hours: 1, Truth: map[string]*fleettest.Power{}, Late: fleettest.NewLate()}
	f.Site.IdleLimit = verify.DefaultIdleLimit
	f.Site.ID, f.Site.Zone, f.Site.PUEThousandths = "site", "FR", 1000
	for _, r := range rows(t, a, "site.csv") {
		f.Site.PUEThousandths = scaled(t, cmp.Or(r["pue"], "1"), 3)
		f.Hours = int(scaled(t, cmp.Or(r["hours"], "1"), 0))
	}
	for _, r := range rows(t, a, "nodes.csv") {
		f.Nodes = append(f.Nodes, verify.Node{
			Node:   record.Node{ID: r["node"], Site: "site", RestMilliwatts: unit.Milliwatts(scaled(t, r["rest_w"], 3)), From: at(t, r["from"], 0), To: at(t, r["to"], 0)},
			Series: map[string]verify.Series{}, Allocations: map[string][]record.Allocation{}, IdleLimit: f.Site.IdleLimit,
		})
	}
	for _, r := range rows(t, a, "devices.csv") {
		readDevice(t, f, r)
	}
	readPower(t, a, f)
	readCounters(t, a, f)
	for _, r := range rows(t, a, "allocations.csv") {
		al := record.Allocation{
			ID: r["allocation"], Device: r["device"], Tenant: r["tenant"], Share: unit.Thousandths(scaled(t, cmp.Or(r["share"], "1"), 3)),
			Start: at(t, r["from"], 0), End: at(t, r["to"], 0), Purpose: r["purpose"],
		}
		n := nodeOf(t, f, al.Device)
		n.Allocations[al.Device] = append(n.Allocations[al.Device], al)
		f.Late.Allocations[al.ID] = at(t, r["known"], 0)
	}
	readMeters(t, a, f)
	readFactors(t, a, f)
	for _, r := range rows(t, a, "late.csv") {
		f.Late.Outage(r["what"], fleettest.Outage{From: at(t, r["from"], 0), To: at(t, r["to"], 0), Until: at(t, r["known"], 0)})
	}
	f.Site.Factors = func(hour unit.Micros) verify.Factors { return f.Factors(hour, 1<<62) }
	return testCase{f}
}

func nodeOf(t *testing.T, f *fleettest.Fleet, device string) *verify.Node {
	t.Helper()
	for i := range f.Nodes {
		if slices.ContainsFunc(f.Nodes[i].Devices, func(d record.Device) bool { return d.UUID == device }) {
			return &f.Nodes[i]
		}
	}
	t.Fatalf("no node has device %s", device)
	return nil
}

func readDevice(t *testing.T, f *fleettest.Fleet, r map[string]string) {
	t.Helper()
	d := record.Device{
		UUID: r["device"], Node: r["node"], Parent: r["parent"], Model: cmp.Or(r["model"], "NVIDIA B200"), Kind: record.KindGPU,
		Energy: record.EnergyHardware, Index: uint32(scaled(t, r["index"], 0)), Slices: uint32(scaled(t, r["slices"], 0)),
		LimitMilliwatts: unit.Milliwatts(scaled(t, cmp.Or(r["limit_w"], "1000"), 3)), IdleMilliwatts: unit.Milliwatts(scaled(t, cmp.Or(r["idle_w"], "140"), 3)),
		From: at(t, r["from"], 0), To: at(t, r["to"], 0),
	}
	switch r["kind"] {
	case "mig":
		d.Kind, d.Energy = record.KindMIG, record.EnergyNone
	case "cpu":
		d.Kind, d.Model = record.KindCPU, ""
	}
	if r["counter"] == "integrated" {
		d.Energy = record.EnergyIntegrated
	}
	for i := range f.Nodes {
		if f.Nodes[i].ID == d.Node {
			f.Nodes[i].Devices = append(f.Nodes[i].Devices, d)
			return
		}
	}
	t.Fatalf("device %s is on node %q, which is not in nodes.csv", d.UUID, d.Node)
}

// cadence is how often a device of power.csv is read.
const cadence = 10 * unit.Second

// readPower reads devices whose power is stated, every ten seconds from before the first hour until after the last, but between the
// instants that gaps.csv names.
func readPower(t *testing.T, a *txtar.Archive, f *fleettest.Fleet) {
	t.Helper()
	for _, r := range rows(t, a, "power.csv") {
		d := r["device"]
		if f.Truth[d] == nil {
			f.Truth[d] = &fleettest.Power{}
		}
		f.Truth[d].Then(at(t, r["from"], fleettest.Begin-unit.Hour), scaled(t, r["watts"], 3), scaled(t, r["busy"], 3))
	}
	for d, p := range f.Truth {
		s := verify.Series{Identities: []verify.Identity{{Boot: "boot", Driver: "570", Run: "run"}}, Interval: cadence}
		mig := slices.ContainsFunc(nodeOf(t, f, d).Devices, func(o record.Device) bool { return o.UUID == d && o.Kind == record.KindMIG })
	ticks:
		for tick := fleettest.Begin - 60*unit.Second; tick <= f.Period().To+10*60*unit.Second; tick += cadence {
			for _, g := range rows(t, a, "gaps.csv") {
				if g["device"] == d && tick > at(t, g["from"], 0) && tick < at(t, g["to"], 0) {
					continue ticks
				}
			}
			r := verify.Sample{
				Tick: tick, At: tick, Energy: unit.Millijoules(p.Nanojoules(tick) / 1_000_000), Integral: unit.Millijoules(p.Nanojoules(tick) / 1_000_000),
				Activity: unit.Micros(p.Busy(tick) / 1000), Read: int64((tick - fleettest.Begin) / cadence),
			}
			if mig {
				r.At, r.Energy, r.Integral = verify.Absent, verify.Absent, verify.Absent
			}
			s.Samples = append(s.Samples, r)
		}
		nodeOf(t, f, d).Series[d] = s
	}
}

// readCounters reads single readings of counters, in joules.
func readCounters(t *testing.T, a *txtar.Archive, f *fleettest.Fleet) {
	t.Helper()
	absent := func(text string, v int64) int64 {
		if text == "" {
			return verify.Absent
		}
		return v
	}
	for _, r := range rows(t, a, "counters.csv") {
		n := nodeOf(t, f, r["device"])
		s := n.Series[r["device"]]
		s.Interval = cadence
		id := verify.Identity{Boot: cmp.Or(r["boot"], "boot"), Driver: "570", Run: cmp.Or(r["run"], "run")}
		i := slices.Index(s.Identities, id)
		if i < 0 {
			i, s.Identities = len(s.Identities), append(s.Identities, id)
		}
		tick := at(t, r["at"], 0)
		sample := verify.Sample{
			Tick: tick, At: tick, Energy: unit.Millijoules(absent(r["joules"], scaled(t, r["joules"], 3))),
			Integral: unit.Millijoules(absent(r["integral_j"], scaled(t, r["integral_j"], 3))),
			Activity: unit.Micros(absent(r["busy_s"], scaled(t, r["busy_s"], 6))), Seen: absent(r["seen"], scaled(t, r["seen"], 0)), Identity: int32(i),
		}
		if sample.Energy == verify.Absent {
			sample.At = verify.Absent
		}
		s.Samples = append(s.Samples, sample)
		n.Series[r["device"]] = s
	}
}

// quantities of meters.csv, with the decimals that their values may have: kWh and litres.
var quantities = map[string]string{"node": "node_energy", "site": "site_energy", "it_shared": "it_shared_energy", "water": "water", "heat": "heat"}

func readMeters(t *testing.T, a *txtar.Archive, f *fleettest.Fleet) {
	t.Helper()
	for _, r := range rows(t, a, "meters.csv") {
		q, ok := quantities[r["what"]]
		if !ok {
			t.Fatalf("meters.csv: %q is none of node, site, it_shared, water, heat", r["what"])
		}
		m := record.Reading{
			Meter: r["meter"], Quantity: q, Unit: record.ReadingUnits[q], Node: r["node"], From: at(t, r["from"], 0), To: at(t, r["to"], 0), Epoch: r["epoch"],
		}
		if r["at"] != "" {
			m.From = at(t, r["at"], 0)
			m.To, m.Counter = m.From, true
		}
		m.Value = scaled(t, r["kwh"], 4) * (unit.MillijoulesPerKWh / 10_000)
		if q == "water" {
			m.Value = scaled(t, r["litres"], 3)
		}
		if m.Node == "" {
			f.Site.Readings = append(f.Site.Readings, m)
			continue
		}
		i := slices.IndexFunc(f.Nodes, func(n verify.Node) bool { return n.ID == m.Node })
		f.Nodes[i].Readings = append(f.Nodes[i].Readings, m)
	}
}

// readFactors reads what counts from an hour on, in the order in which it was published; a later row of the same kind replaces an earlier.
// Intensities are in g/kWh, footprints in kg, water in l/kWh.
func readFactors(t *testing.T, a *txtar.Archive, f *fleettest.Fleet) {
	t.Helper()
	// Where a case states no intensity the grid has 100 g/kWh.
	current := verify.Factors{
		Grid:     factor.Chosen{Edition: factor.Edition{Kind: factor.GridIntensity, Key: "FR", Value: 100_000_000, Boundary: factor.Lifecycle, Source: "Exemplia", Name: "1"}},
		Embodied: map[string]factor.Chosen{},
	}
	f.Revisions = []fleettest.Revision{{Factors: current}}
	for _, r := range rows(t, a, "factors.csv") {
		hour := at(t, r["hour"], fleettest.Begin)
		e := factor.Edition{Key: cmp.Or(r["key"], "FR"), Boundary: cmp.Or(r["boundary"], "lifecycle"), Source: "Exemplia", Name: cmp.Or(r["edition"], "1"), Resolution: "hourly"}
		chosen := func(kind factor.Kind, digits int) factor.Chosen {
			e.Kind, e.Value = kind, scaled(t, r["value"], digits)
			return factor.Chosen{Edition: e}
		}
		next := current
		next.Instruments = slices.Clone(current.Instruments)
		switch r["kind"] {
		case "grid":
			next.Grid = chosen(factor.GridIntensity, 6)
		case "residual":
			next.Residual = chosen(factor.ResidualMix, 6)
		case "instrument":
			e.Volume, e.Cover = unit.Millijoules(scaled(t, r["kwh"], 4)*(unit.MillijoulesPerKWh/10_000)), scaled(t, r["cover"], 6)
			next.Instruments = append(next.Instruments, chosen(factor.Instrument, 6).Edition)
		case "pue":
			next.PUE = chosen(factor.PUE, 3)
		case "wue":
			next.WUE = chosen(factor.WUE, 6)
		case "heat_reuse":
			next.HeatReuse = chosen(factor.HeatReuse, 3)
		case "embodied":
			e.Life = unit.Milliseconds(scaled(t, r["life_hours"], 0) * 3_600_000)
			next.Embodied = map[string]factor.Chosen{e.Key: chosen(factor.Embodied, 9)}
		default:
			t.Fatalf("factors.csv: kind %q", r["kind"])
		}
		current = next
		f.Revisions = append(f.Revisions, fleettest.Revision{From: hour, Known: at(t, r["known"], 0), Factors: next})
	}
}

// decimal writes an integer of 10⁻ⁿ as a person would.
func decimal(v int64, digits int) string {
	sign := ""
	if v < 0 {
		sign, v = "-", -v
	}
	text := fmt.Sprintf("%0*d", digits+1, v)
	whole, part := text[:len(text)-digits], strings.TrimRight(text[len(text)-digits:], "0")
	if part != "" {
		part = "." + part
	}
	return sign + whole + part
}

type column struct {
	name  string
	value func(record.Entry) string
}

func joules(f func(record.Entry) unit.Millijoules) func(record.Entry) string {
	return func(e record.Entry) string { return decimal(int64(f(e)), 3) }
}

func grams(f func(record.Entry) unit.MicrogramsCO2e) func(record.Entry) string {
	return func(e record.Entry) string { return decimal(int64(f(e)), 6) }
}

// amounts are the columns of what is summed: energy in J, held time in seconds of a whole device, carbon in g, water in l.
var amounts = []column{
	{"device_s", func(e record.Entry) string { return decimal(int64(e.DeviceTime), 6) }},
	{"unavailable_s", func(e record.Entry) string { return decimal(int64(e.Unavailable), 6) }},
	{"gpu_j", joules(func(e record.Entry) unit.Millijoules { return e.GPU })},
	{"cpu_j", joules(func(e record.Entry) unit.Millijoules { return e.CPU })},
	{"rest_j", joules(func(e record.Entry) unit.Millijoules { return e.NodeRest })},
	{"it_shared_j", joules(func(e record.Entry) unit.Millijoules { return e.ITShared })},
	{"facility_j", joules(func(e record.Entry) unit.Millijoules { return e.Facility })},
	{"total_j", joules(record.Entry.Total)},
	{"measured_j", joules(func(e record.Entry) unit.Millijoules { return e.Measured })},
	{"estimated_j", joules(func(e record.Entry) unit.Millijoules { return e.Estimated })},
	{"modelled_j", joules(func(e record.Entry) unit.Millijoules { return e.Modelled })},
	{"interpolated_j", joules(func(e record.Entry) unit.Millijoules { return e.Interpolated })},
	{"carbon_g", grams(func(e record.Entry) unit.MicrogramsCO2e { return e.Carbon })},
	{"market_g", grams(func(e record.Entry) unit.MicrogramsCO2e { return e.CarbonMarket })},
	{"embodied_g", grams(func(e record.Entry) unit.MicrogramsCO2e { return e.CarbonEmbodied })},
	{"water_l", func(e record.Entry) string { return decimal(int64(e.Water), 6) }},
	{"heat_reused_j", joules(func(e record.Entry) unit.Millijoules { return e.HeatReused })},
}

func entriesTable(entries []record.Entry) string {
	clock := func(t unit.Micros) string { return t.Time().Format("15:04:05") }
	list := slices.Clone(entries)
	slices.SortStableFunc(list, func(a, b record.Entry) int {
		return cmp.Or(cmp.Compare(a.Hour, b.Hour), -cmp.Compare(a.Kind, b.Kind), record.CompareEntries(a, b))
	})
	return table(append(append([]column{
		{"from", func(e record.Entry) string { return clock(e.From) }},
		{"to", func(e record.Entry) string { return clock(e.To) }},
		{"kind", func(e record.Entry) string { return string(e.Kind) }},
		{"account", func(e record.Entry) string { return string(e.Account) }},
		{"tenant", func(e record.Entry) string { return e.Tenant }},
		{"node", func(e record.Entry) string { return e.Node }},
		{"device", func(e record.Entry) string { return e.Device }},
	}, amounts...), column{"flags", func(e record.Entry) string { return strings.Join(e.Flags, " ") }}), list)
}

// totalsTable sums by account and tenant; the last row is all.
func totalsTable(entries []record.Entry) string {
	sums := map[string]record.Entry{}
	for _, e := range entries {
		for _, k := range []record.Entry{{Account: e.Account, Tenant: e.Tenant}, {Account: "total"}} {
			key := string(k.Account) + "/" + k.Tenant
			s, ok := sums[key]
			if !ok {
				s = k
			}
			s.DeviceTime, s.Unavailable = s.DeviceTime+e.DeviceTime, s.Unavailable+e.Unavailable
			s.GPU, s.CPU, s.NodeRest, s.ITShared, s.Facility = s.GPU+e.GPU, s.CPU+e.CPU, s.NodeRest+e.NodeRest, s.ITShared+e.ITShared, s.Facility+e.Facility
			s.Measured, s.Estimated, s.Modelled, s.Interpolated = s.Measured+e.Measured, s.Estimated+e.Estimated, s.Modelled+e.Modelled, s.Interpolated+e.Interpolated
			s.Carbon, s.CarbonMarket, s.CarbonEmbodied = s.Carbon+e.Carbon, s.CarbonMarket+e.CarbonMarket, s.CarbonEmbodied+e.CarbonEmbodied
			s.Water, s.HeatReused = s.Water+e.Water, s.HeatReused+e.HeatReused
			sums[key] = s
		}
	}
	var list []record.Entry
	for _, s := range sums {
		list = append(list, s)
	}
	last := func(e record.Entry) int {
		if e.Account == "total" {
			return 1
		}
		return 0
	}
	slices.SortFunc(list, func(a, b record.Entry) int {
		return cmp.Or(cmp.Compare(last(a), last(b)), cmp.Compare(a.Account, b.Account), cmp.Compare(a.Tenant, b.Tenant))
	})
	return table(append([]column{
		{"account", func(e record.Entry) string { return string(e.Account) }}, {"tenant", func(e record.Entry) string { return e.Tenant }},
	}, amounts...), list)
}

// table leaves out columns in which nothing stands.
func table(columns []column, list []record.Entry) string {
	columns = slices.DeleteFunc(columns, func(c column) bool {
		return !slices.ContainsFunc(list, func(e record.Entry) bool { v := c.value(e); return v != "" && v != "0" })
	})
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	var names []string
	for _, c := range columns {
		names = append(names, c.name)
	}
	fmt.Fprintln(w, strings.Join(names, "\t"))
	for _, e := range list {
		var cells []string
		for _, c := range columns {
			cells = append(cells, cmp.Or(c.value(e), "-"))
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	_ = w.Flush()
	return trimmed(out.String())
}

// qualityTable shows the lines that say more than that all went well.
func qualityTable(list []record.DeviceHour) string {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "hour\tkind\twhat\tmetered_j\testimated_j\texcess_j\tpresent_s\tcovered_s\tresets\tflags")
	any := false
	for _, d := range list {
		meter := (d.Kind == "node" || d.Kind == "site") && d.Counter != 0
		if !meter && d.Estimated == 0 && d.Excess == 0 && d.Resets == 0 && len(d.Flags) == 0 && d.Covered >= d.Present {
			continue
		}
		any = true
		hour, _ := time.Parse(time.RFC3339, d.Hour)
		fmt.Fprintln(w, strings.Join([]string{
			hour.Format("15:04"), d.Kind, cmp.Or(d.Device, d.Node, d.Site), decimal(int64(d.Counter), 3), decimal(int64(d.Estimated), 3),
			decimal(int64(d.Excess), 3), decimal(int64(d.Present), 6), decimal(int64(d.Covered), 6), fmt.Sprint(d.Resets), cmp.Or(strings.Join(d.Flags, " "), "-"),
		}, "\t"))
	}
	_ = w.Flush()
	if !any {
		return ""
	}
	return trimmed(out.String())
}

func trimmed(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}
