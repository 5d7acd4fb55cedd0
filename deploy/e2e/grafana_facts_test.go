package e2e

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	catalogue "github.com/wattledger/wattledger/dashboards/query"
)

// What counts in the ledger, as its design says: rows that a seal stands behind. Cases read them by these words and by no view.
const (
	sealed = `(site, batch, root) IN (SELECT site, batch, root FROM seals FINAL)`
	booked = `(SELECT * FROM entries FINAL WHERE ` + sealed + `)`
	// Of two batches that speak of one device-hour the later one counts.
	deviceHours = `(SELECT * FROM device_hours FINAL WHERE ` + sealed + ` ORDER BY batch DESC LIMIT 1 BY site, hour, node, device, kind)`
	energyMJ    = `gpu_mj + cpu_mj + node_rest_mj + it_shared_mj + facility_mj`
)

// judged are the lines of tenants beside what their tenant allows and where the site is. Who allows no country in particular allows all.
const judged = `(SELECT *, arrayStringConcat(arraySort(allows), ', ') AS allowed_countries, CASE WHEN tenant_id = '' THEN 'unknown' WHEN empty(allows) THEN 'pass'
		WHEN length(country) != 2 THEN 'unknown' WHEN has(allows, country) THEN 'pass' ELSE 'fail' END AS verdict
	FROM ` + booked + ` AS e LEFT JOIN (SELECT id AS site_id, country, operator, operator_country FROM sites FINAL) AS s ON site_id = site
	LEFT JOIN (SELECT id AS tenant_id, allowed_countries AS allows FROM tenants FINAL) AS t ON tenant_id = tenant WHERE account IN ('tenant', 'held_idle'))`

// claim says what a metric is: the rows it is made of, what of them is added up, over what, and at which second a row stands.
type claim struct {
	from    string
	at      string
	of, per string
	// each is one unit of the metric in units of the rows; 0 is 1.
	each int64
	// most says that the greatest counts instead of the sum, second that the sum is over the time it is of.
	most, second bool
	// within is by how much the metric may be off, where the engine counts in floating point; 0 is one rounding.
	within float64
}

const (
	messages = `(SELECT *, source AS node FROM messages WHERE topic = 'wl.sample.v1' AND rows > 0)`
	lastTick = "toUnixTimestamp(last_tick)"
	underWay = "greatest(toUnixTimestamp64Micro(received) - toUnixTimestamp64Micro(last_tick), 0)"
)

const theHour = "toUnixTimestamp(hour)"

var claims = map[string]claim{
	"coverage coverage":           {from: readHours, at: theHour, of: "covered_us", per: "present_us"},
	"coverage ticks_missing":      {from: readHours, at: theHour, of: "ticks_expected - ticks_read"},
	"coverage estimated_share":    {from: readHours, at: theHour, of: "estimated_mj", per: "counter_mj + estimated_mj"},
	"coverage interpolated_share": {from: readHours, at: theHour, of: "interpolated_mj", per: "counter_mj"},
	// −1 stands for an integral that is not known: such hours are compared with nothing.
	"coverage second_opinion": {from: readHours, at: theHour, of: "if(integral_mj = -1, 0, integral_mj - counter_mj)", per: "if(integral_mj = -1, 0, counter_mj)"},
	"coverage resets":         {from: readHours, at: theHour, of: "resets"},
	"coverage clock_steps":    {from: readHours, at: theHour, of: "clock_steps"},

	"sovereignty device_time": {from: judged, at: theHour, of: "device_time", each: 3_600_000_000},

	"ledger adjusted_energy": {from: `(SELECT * FROM ` + booked + ` WHERE kind = 'adjustment')`, at: theHour, of: "abs(" + energyMJ + ")", each: 3_600_000},
	"ledger closing_delay": {
		from: `(SELECT * FROM seals FINAL WHERE closing != 'adjustment')`, at: theHour,
		of: "toUnixTimestamp64Micro(inserted) - 1000000 * (toUnixTimestamp(hour) + 3600)", per: "1", each: 1_000_000, within: 1e-6,
	},

	// Messages stand at their last tick. A clock that is ahead makes no delay less than none.
	"pipeline messages":  {from: messages, at: lastTick, of: "1"},
	"pipeline rows":      {from: messages, at: lastTick, of: "rows", second: true},
	"pipeline delay":     {from: messages, at: lastTick, of: underWay, per: "1", each: 1_000_000, within: 1e-6},
	"pipeline delay_max": {from: messages, at: lastTick, of: underWay, each: 1_000_000, most: true},

	"events count": {from: events, at: "intDiv(began_us, 1000000)", of: "1"},
}

// readHours are the device-hours of what is read: not of meters.
const readHours = `(SELECT * FROM ` + deviceHours + ` AS h LEFT JOIN (SELECT id AS node, rack FROM nodes FINAL) AS n USING (node) WHERE kind IN ('gpu', 'cpu', 'mig'))`

// fact is a row, and what of it is added up.
type fact struct {
	words   map[string]string
	at      int64
	of, per *big.Int
}

// facts asks for the rows of a claim, once.
func (s *stage) facts(t *testing.T, name string, c claim) []fact {
	t.Helper()
	if known, ok := s.known[name]; ok {
		return known
	}
	per := c.per
	if per == "" {
		per = "0"
	}
	var out []fact
	for _, row := range s.rows(t, fmt.Sprintf("SELECT *, toString(%s) AS z_at, toString(%s) AS z_of, toString(%s) AS z_per FROM %s", c.at, c.of, per, s.spans(c.from))) {
		f := fact{words: map[string]string{}, of: new(big.Int), per: new(big.Int)}
		for column, v := range row {
			f.words[column] = fmt.Sprint(v)
		}
		_, ofOK := f.of.SetString(f.words["z_of"], 10)
		_, perOK := f.per.SetString(f.words["z_per"], 10)
		at, err := strconv.ParseInt(f.words["z_at"], 10, 64)
		if f.at = at; err != nil || !ofOK || !perOK {
			t.Fatalf("%s: no whole numbers in %v", name, row)
		}
		out = append(out, f)
	}
	if s.known == nil {
		s.known = map[string][]fact{}
	}
	s.known[name] = out
	return out
}

// spans puts the day's begin and end, in microseconds, into a statement.
func (s *stage) spans(sql string) string {
	return strings.NewReplacer("{from}", strconv.FormatInt(s.from.UnixMicro(), 10), "{to}", strconv.FormatInt(s.to.UnixMicro(), 10)).Replace(sql)
}

// rows asks the engine itself. Numbers are kept as they are written.
func (s *stage) rows(t *testing.T, sql string) []map[string]any {
	t.Helper()
	if known, ok := s.told[sql]; ok {
		return known
	}
	body, err := query(t.Context(), s.data, sql+" SETTINGS output_format_json_quote_64bit_integers = 0, join_use_nulls = 0 FORMAT JSONEachRow")
	if err != nil {
		t.Errorf("%v in %s", err, sql)
		return nil
	}
	var out []map[string]any
	lines := bufio.NewScanner(strings.NewReader(body))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		row := map[string]any{}
		read := json.NewDecoder(strings.NewReader(lines.Text()))
		read.UseNumber()
		if err := read.Decode(&row); err != nil {
			t.Fatalf("%v in %s", err, lines.Text())
		}
		out = append(out, row)
	}
	if s.told == nil {
		s.told = map[string][]map[string]any{}
	}
	s.told[sql] = out
	return out
}

// claimed is what the tables say to a question of figures, in groups as it was asked for.
func (s *stage) claimed(t *testing.T, q catalogue.Query, step time.Duration) (map[string]map[int64]float64, float64, bool) {
	t.Helper()
	name := string(q.Kind) + " " + q.Metric
	if name == "ledger open_hours" {
		return s.openHours(t, q, step), 0, true
	}
	if name == "pipeline age" {
		return s.ages(t, q), clocks.Seconds(), true
	}
	c, ok := claims[name]
	if !ok {
		return nil, 0, false
	}
	groups := map[string]map[int64][]fact{}
	if formOf(q) == catalogue.FormTotal && c.per == "" {
		groups[""] = map[int64][]fact{0: nil} // of nothing the sum is 0
	}
	for _, f := range s.facts(t, name, c) {
		if f.at < s.from.Unix() && q.Kind != catalogue.KindEvents || f.at >= s.to.Unix() || !f.passes(q.Filters) {
			continue
		}
		key, slot := f.group(q), int64(0)
		if formOf(q) == catalogue.FormSeries {
			slot = f.at - f.at%int64(step/time.Second)
		}
		if groups[key] == nil {
			groups[key] = map[int64][]fact{}
		}
		groups[key][slot] = append(groups[key][slot], f)
	}
	out := map[string]map[int64]float64{}
	seconds := s.to.Sub(s.from)
	if formOf(q) == catalogue.FormSeries {
		seconds = step
	}
	for key, slots := range groups {
		for slot, of := range slots {
			if v, ok := c.value(of); ok {
				if c.second {
					v /= seconds.Seconds()
				}
				if out[key] == nil {
					out[key] = map[int64]float64{}
				}
				out[key][slot] = v
			}
		}
	}
	if rest := limited(out, q); rest {
		return out, max(c.within, 1e-9), true // the engine adds up roundings
	}
	return out, c.within, true
}

// limited keeps the largest groups, as many as a question has room for: of series those with the largest mean. Where parts add up, the
// rest is one group more.
func limited(groups map[string]map[int64]float64, q catalogue.Query) bool {
	limit := q.Limit
	if limit == 0 {
		limit = map[bool]int{true: 25, false: 1000}[formOf(q) == catalogue.FormSeries]
	}
	if len(groups) <= limit || formOf(q) == catalogue.FormTotal {
		return false
	}
	mean := func(key string) float64 {
		sum := 0.0
		for _, v := range groups[key] {
			sum += v
		}
		return sum / float64(len(groups[key]))
	}
	keys := slices.SortedFunc(maps.Keys(groups), func(a, b string) int { return cmp.Or(-cmp.Compare(mean(a), mean(b)), cmp.Compare(a, b)) })
	rest := map[int64]float64{}
	for _, key := range keys[limit:] {
		for slot, v := range groups[key] {
			rest[slot] += v
		}
		delete(groups, key)
	}
	if m, _ := metricOf(q); m.Sums {
		groups[strings.Repeat("other\x00", len(q.By)-1)+"other"] = rest
	}
	return true
}

// value adds up, exactly, and rounds once.
func (c claim) value(facts []fact) (float64, bool) {
	of, per := new(big.Int), big.NewInt(1)
	if c.per != "" {
		per = new(big.Int)
	}
	for _, f := range facts {
		if c.most && f.of.Cmp(of) > 0 {
			of.Set(f.of)
		}
		if c.most {
			continue
		}
		of.Add(of, f.of)
		if c.per != "" {
			per.Add(per, f.per)
		}
	}
	if per.Sign() == 0 {
		return 0, false
	}
	exact := new(big.Rat).SetFrac(of, per)
	if c.each != 0 {
		exact.Quo(exact, big.NewRat(c.each, 1))
	}
	v, _ := exact.Float64()
	return v, true
}

func (f fact) passes(filters []catalogue.Filter) bool {
	for _, x := range filters {
		if len(x.Values) > 0 && !slices.Contains(x.Values, f.words[string(x.Dimension)]) {
			return false
		}
	}
	return true
}

func (f fact) group(q catalogue.Query) string {
	if formOf(q) == catalogue.FormTotal {
		return ""
	}
	names := make([]string, len(q.By))
	for i, d := range q.By {
		names[i] = f.words[string(d)]
	}
	return strings.Join(names, "\x00")
}

// openHours counts, at each moment, the hours that were over and had no seal yet; without moments, when the newest sample was read. A day
// that was played afterwards was sealed long after all of it.
func (s *stage) openHours(t *testing.T, q catalogue.Query, step time.Duration) map[string]map[int64]float64 {
	t.Helper()
	hours := s.facts(t, "ledger open_hours", claim{
		from: `(SELECT site, hour, inserted FROM seals FINAL WHERE closing != 'adjustment')`,
		at:   "toUnixTimestamp(hour) + 3600", of: "toUnixTimestamp(inserted)",
	})
	newest := s.rows(t, "SELECT toUnixTimestamp(max(tick)) AS newest FROM samples")[0]["newest"]
	end, err := strconv.ParseInt(fmt.Sprint(newest), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	end = min(end, s.to.Unix())
	moments := map[int64]int64{0: end}
	if formOf(q) == catalogue.FormSeries {
		moments = map[int64]int64{}
		for m := s.from.Unix(); m <= end && m < s.to.Unix(); m += int64(step / time.Second) {
			moments[m] = m
		}
	}
	out := map[string]map[int64]float64{}
	for _, f := range hours {
		if !f.passes(q.Filters) {
			continue
		}
		key := f.group(q)
		if out[key] == nil {
			out[key] = map[int64]float64{}
		}
		for slot, moment := range moments {
			n := 0.0
			if f.at <= moment && f.of.Int64() > moment {
				n = 1
			}
			out[key][slot] += n
		}
	}
	return out
}

// ages are how long ago anything was read, by the clock of now.
func (s *stage) ages(t *testing.T, q catalogue.Query) map[string]map[int64]float64 {
	t.Helper()
	out := map[string]map[int64]float64{}
	for _, f := range s.facts(t, "pipeline age", claim{from: messages, at: lastTick, of: "toUnixTimestamp64Micro(last_tick)"}) {
		if !f.passes(q.Filters) {
			continue
		}
		age := time.Since(time.UnixMicro(f.of.Int64())).Seconds()
		if known, ok := out[f.group(q)]; !ok || age < known[0] {
			out[f.group(q)] = map[int64]float64{0: age}
		}
	}
	return out
}

// near allows for what a claim allows.
func near(within float64) func(a, b float64) bool {
	return func(a, b float64) bool { return same(a, b) || math.Abs(a-b) <= within }
}
