package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	catalogue "github.com/wattledger/wattledger/dashboards/query"
)

// line is an entry of the ledger, read here and added up here: nothing of dashboards/query has a part in it.
type line struct {
	ID         string `json:"id"`
	Site       string `json:"site"`
	Batch      uint64 `json:"batch"`
	Hour       int64  `json:"hour"`
	Kind       string `json:"kind"`
	Account    string `json:"account"`
	Node       string `json:"node"`
	Device     string `json:"device"`
	Model      string `json:"model"`
	Tenant     string `json:"tenant"`
	Project    string `json:"project"`
	Allocation string `json:"allocation"`
	Workload   string `json:"workload"`
	ModelID    string `json:"model_id"`
	Purpose    string `json:"purpose"`

	From            int64 `json:"from_us"`
	To              int64 `json:"to_us"`
	DeviceTime      int64 `json:"device_time"` // ms × thousandths of a device
	UnavailableTime int64 `json:"unavailable_time"`
	GPU             int64 `json:"gpu_mj"`
	CPU             int64 `json:"cpu_mj"`
	NodeRest        int64 `json:"node_rest_mj"`
	ITShared        int64 `json:"it_shared_mj"`
	Facility        int64 `json:"facility_mj"`
	Measured        int64 `json:"measured_mj"`
	Estimated       int64 `json:"estimated_mj"`
	Modelled        int64 `json:"modelled_mj"`
	Uncertainty     int64 `json:"uncertainty_mj"`
	SMActive        int64 `json:"sm_active_us"` // of a whole device: the unit of device time
	Carbon          int64 `json:"carbon_ug"`
	CarbonMarket    int64 `json:"carbon_market_ug"`
	CarbonEmbodied  int64 `json:"carbon_embodied_ug"`
	Water           int64 `json:"water_ul"`
	HeatReused      int64 `json:"heat_reused_mj"`

	// part is set where a question divides a line's energy: by component, or by provenance.
	part, partName string
}

// ledger reads every entry that a seal stands behind.
func ledger(t *testing.T, data string) []line {
	t.Helper()
	body, err := query(t.Context(), data, `SELECT id, site, batch, toInt64(toUnixTimestamp(hour)) AS hour, kind, account, node, device, model, tenant, project,
		allocation, workload, model_id, purpose, from_us, to_us, device_time, unavailable_time, gpu_mj, cpu_mj, node_rest_mj, it_shared_mj, facility_mj,
		measured_mj, estimated_mj, modelled_mj, uncertainty_mj, sm_active_us, carbon_ug, carbon_market_ug, carbon_embodied_ug, water_ul, heat_reused_mj
		FROM (SELECT * FROM entries FINAL) AS e INNER JOIN (SELECT site, batch, root FROM seals FINAL) AS s USING (site, batch, root)
		SETTINGS output_format_json_quote_64bit_integers = 0 FORMAT JSONEachRow`)
	if err != nil {
		t.Fatal(err)
	}
	var out []line
	for rows := bufio.NewScanner(strings.NewReader(body)); rows.Scan(); {
		var l line
		if err := json.Unmarshal(rows.Bytes(), &l); err != nil {
			t.Fatalf("%v in %s", err, rows.Text())
		}
		out = append(out, l)
	}
	if len(out) == 0 {
		t.Fatal("the ledger is empty")
	}
	return out
}

func (l line) it() int64    { return l.GPU + l.CPU + l.NodeRest + l.ITShared }
func (l line) total() int64 { return l.it() + l.Facility }

func (l line) held() bool { return l.Account == "tenant" || l.Account == "held_idle" }

// of is a line's value of a dimension.
func (l line) of(d catalogue.Dimension) string {
	switch d {
	case catalogue.Site:
		return l.Site
	case catalogue.Node:
		return l.Node
	case catalogue.DeviceID:
		return l.Device
	case catalogue.Model:
		return l.Model
	case catalogue.Account:
		return l.Account
	case catalogue.Tenant:
		return l.Tenant
	case catalogue.Project:
		return l.Project
	case catalogue.Workload:
		return l.Workload
	case catalogue.Allocation:
		return l.Allocation
	case catalogue.ModelID:
		return l.ModelID
	case catalogue.Purpose:
		return l.Purpose
	case catalogue.EntryID:
		return l.ID
	case catalogue.Component, catalogue.Provenance:
		return l.partName
	default:
		panic(fmt.Sprintf("the ledger has no %s", d))
	}
}

// parts divides the energy of lines by component or provenance. Each part is a line whose energy is that part.
func parts(lines []line, d catalogue.Dimension) []line {
	var out []line
	for _, l := range lines {
		split := map[string]int64{"gpu": l.GPU, "cpu": l.CPU, "node_rest": l.NodeRest, "it_shared": l.ITShared, "facility": l.Facility}
		if d == catalogue.Provenance {
			split = map[string]int64{"measured": l.Measured, "estimated": l.Estimated, "modelled": l.Modelled}
		}
		for name, mj := range split {
			p := l
			p.GPU, p.CPU, p.NodeRest, p.ITShared, p.Facility = mj, 0, 0, 0, 0
			p.part, p.partName = string(d), name
			out = append(out, p)
		}
	}
	return out
}

// figure says in words of the ledger what a metric is: a sum of lines over another sum, or over a fixed amount.
type figure struct {
	of   func(line) int64
	per  func(line) int64 // nil: each is
	each *big.Rat         // one unit of the metric in units of the ledger; nil is 1
}

func whole(n int64) *big.Rat { return big.NewRat(n, 1) }

func when(holds func(line) bool, of func(line) int64) func(line) int64 {
	return func(l line) int64 {
		if holds(l) {
			return of(l)
		}
		return 0
	}
}

var (
	deviceTime = func(l line) int64 { return l.DeviceTime }
	isIdle     = func(l line) bool { return l.Account == "held_idle" }
	mjPerWh    = whole(3_600_000)
	gPerKWh    = big.NewRat(1, 3_600) // µg per mJ → g per kWh
)

// figures are the ledger's, by kind and metric.
var figures = map[string]figure{
	"usage device_time":         {of: deviceTime, each: whole(3_600_000_000)},
	"usage unavailable_time":    {of: func(l line) int64 { return l.UnavailableTime }, each: whole(3_600_000_000)},
	"usage allocated_share":     {of: when(line.held, deviceTime), per: deviceTime},
	"usage sm_active":           {of: when(line.held, func(l line) int64 { return l.SMActive }), per: when(line.held, deviceTime)},
	"usage held_idle_share":     {of: when(isIdle, deviceTime), per: when(line.held, deviceTime)},
	"energy total":              {of: line.total, each: mjPerWh},
	"energy gpu":                {of: func(l line) int64 { return l.GPU }, each: mjPerWh},
	"energy overhead":           {of: func(l line) int64 { return l.total() - l.GPU }, each: mjPerWh},
	"energy uncertainty":        {of: func(l line) int64 { return l.Uncertainty }, each: mjPerWh},
	"energy pue":                {of: line.total, per: line.it},
	"energy unmeasured_share":   {of: func(l line) int64 { return l.Estimated + l.Modelled }, per: line.total},
	"carbon location":           {of: func(l line) int64 { return l.Carbon }, each: whole(1_000_000)},
	"carbon market":             {of: func(l line) int64 { return l.CarbonMarket }, each: whole(1_000_000)},
	"carbon embodied":           {of: func(l line) int64 { return l.CarbonEmbodied }, each: whole(1_000_000)},
	"carbon intensity_location": {of: func(l line) int64 { return l.Carbon }, per: line.total, each: gPerKWh},
	"carbon intensity_market":   {of: func(l line) int64 { return l.CarbonMarket }, per: line.total, each: gPerKWh},
	"carbon water":              {of: func(l line) int64 { return l.Water }, each: whole(1_000_000)},
	"carbon heat_reused":        {of: func(l line) int64 { return l.HeatReused }, each: mjPerWh},
}

// value adds lines up, exactly, and rounds once. It is nothing where there is nothing to divide by.
func (f figure) value(lines []line) (float64, bool) {
	sum := func(of func(line) int64) *big.Int {
		total := new(big.Int)
		for _, l := range lines {
			total.Add(total, big.NewInt(of(l)))
		}
		return total
	}
	den := big.NewInt(1)
	if f.per != nil {
		den = sum(f.per)
	}
	if len(lines) == 0 || den.Sign() == 0 {
		return 0, false
	}
	exact := new(big.Rat).SetFrac(sum(f.of), den)
	if f.each != nil {
		exact.Quo(exact, f.each)
	}
	v, _ := exact.Float64()
	return v, true
}

// expected is what the ledger says to a question: for each group of the dimensions asked for, one value, or one for each slot of time.
func expected(lines []line, q catalogue.Query, from, to time.Time, step time.Duration) map[string]map[int64]float64 {
	f, ok := figures[string(q.Kind)+" "+q.Metric]
	if !ok {
		return nil
	}
	by := q.By
	if formOf(q) == catalogue.FormTotal {
		by = nil
	}
	for _, d := range []catalogue.Dimension{catalogue.Component, catalogue.Provenance} {
		if slices.Contains(by, d) || slices.ContainsFunc(q.Filters, func(f catalogue.Filter) bool { return f.Dimension == d && len(f.Values) > 0 }) {
			lines = parts(lines, d)
		}
	}
	groups := map[string]map[int64][]line{}
	for _, l := range lines {
		if l.Hour < from.Unix() || l.Hour >= to.Unix() || !passes(l, q.Filters) {
			continue
		}
		names := make([]string, len(by))
		for i, d := range by {
			names[i] = l.of(d)
		}
		key, slot := strings.Join(names, "\x00"), int64(0)
		if formOf(q) == catalogue.FormSeries {
			slot = l.Hour - l.Hour%int64(step/time.Second)
		}
		if groups[key] == nil {
			groups[key] = map[int64][]line{}
		}
		groups[key][slot] = append(groups[key][slot], l)
	}
	out := map[string]map[int64]float64{}
	for key, slots := range groups {
		for slot, of := range slots {
			if v, ok := f.value(of); ok {
				if out[key] == nil {
					out[key] = map[int64]float64{}
				}
				out[key][slot] = v
			}
		}
	}
	return out
}

func passes(l line, filters []catalogue.Filter) bool {
	for _, f := range filters {
		if len(f.Values) > 0 && !slices.Contains(f.Values, l.of(f.Dimension)) {
			return false
		}
	}
	return true
}

// tenants are those whom the ledger names.
func tenants(lines []line) []string {
	found := map[string]bool{}
	for _, l := range lines {
		if l.Tenant != "" {
			found[l.Tenant] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// The ledger is whole: as many lines as its seals say, with the energy that they say. What panels are held to is not itself a line short.
func wholeLedger(ctx context.Context, data string, lines []line) []string {
	seals, err := query(ctx, data, "SELECT site, batch, entries, measured_mj + estimated_mj + modelled_mj FROM seals FINAL FORMAT TSV")
	if err != nil {
		return []string{err.Error()}
	}
	count, energy := map[string]int64{}, map[string]int64{}
	for _, l := range lines {
		key := fmt.Sprintf("%s\t%d", l.Site, l.Batch)
		count[key]++
		energy[key] += l.total()
	}
	var wrong []string
	for row := range strings.Lines(seals) {
		var site string
		var batch uint64
		var n, mj int64
		if _, err := fmt.Sscan(row, &site, &batch, &n, &mj); err != nil {
			return []string{err.Error()}
		}
		key := fmt.Sprintf("%s\t%d", site, batch)
		if count[key] != n || energy[key] != mj {
			wrong = append(wrong, fmt.Sprintf("batch %d of %s has %d entries of %d mJ, its seal says %d of %d mJ", batch, site, count[key], energy[key], n, mj))
		}
	}
	return wrong
}
