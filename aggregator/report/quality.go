package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/wattledger/wattledger/schemas/unit"
)

// QualityRow is a device, or the meter of a node or a site, whose readings contradict others: the hours in which they do, summed.
type QualityRow struct {
	Site   string `json:"site"`
	Node   string `json:"node"`
	Device string `json:"device"`
	// Kind is gpu, cpu, or node or site of a meter.
	Kind  string   `json:"kind"`
	Flags []string `json:"flags"`
	// Hours is how many there are, from First to Last.
	Hours int64  `json:"hours"`
	First string `json:"first_hour"`
	Last  string `json:"last_hour"`
	// Excess is by how much the parts read more than the meter of the whole, Largest that of the worst hour.
	Excess  unit.Millijoules `json:"excess_mj"`
	Largest unit.Millijoules `json:"largest_excess_mj"`
	// Doubted are the hours in which the integral of power says something else than the counter; Counter and Integral are their sums.
	Doubted  int64            `json:"second_opinion_hours"`
	Counter  unit.Millijoules `json:"counter_mj"`
	Integral unit.Millijoules `json:"integral_mj"`
}

// SecondOpinion is the flag of an hour whose counter and integral of power differ by more than the limit.
const SecondOpinion = "second_opinion"

// CompareQuality is the order of a report: by site, kind, node and device.
func CompareQuality(a, b QualityRow) int {
	return cmp.Or(cmp.Compare(a.Site, b.Site), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Device, b.Device))
}

// QualityCSV is a row per device or meter.
func (d FleetDocument) QualityCSV() ([]byte, error) {
	var rows [][]string
	for _, q := range d.Quality {
		rows = append(rows, []string{
			d.From, d.To, q.Site, q.Kind, q.Node, q.Device, strings.Join(q.Flags, " "), digits(q.Hours), q.First, q.Last,
			digits(q.Excess), digits(q.Largest), digits(q.Doubted), digits(q.Counter), digits(q.Integral),
		})
	}
	return CSV([]string{
		"from", "to", "site", "kind", "node", "device", "flags", "hours", "first_hour", "last_hour", "excess_mj", "largest_excess_mj",
		"second_opinion_hours", "counter_mj", "integral_mj",
	}, rows)
}

// qualityTable shows the worst of them first.
func (d FleetDocument) qualityTable() Table {
	t := Table{
		Title: "Readings that contradict each other",
		Columns: columns("site", "what", "node", "device", ">hours", "first", "last", ">excess kWh", ">worst hour", ">doubted h",
			">counter kWh", ">integral kWh"),
		Notes: []string{
			"Excess: the devices read more than the meter of their node, or the nodes more than that of the site, which cannot be; the rest was booked as 0. " +
				"Doubted: counter and integral of power differ by more than the limit; the counter was booked.",
		},
	}
	worst := func(q QualityRow) int64 {
		return max(int64(q.Excess), int64(q.Counter-q.Integral), int64(q.Integral-q.Counter))
	}
	list := slices.Clone(d.Quality)
	slices.SortStableFunc(list, func(a, b QualityRow) int { return cmp.Compare(worst(b), worst(a)) })
	kwh := func(e unit.Millijoules) string { return short(int64(e), unit.MillijoulesPerKWh, 3) }
	for _, q := range list[:min(len(list), maxShown)] {
		row := []string{
			q.Site, q.Kind, cut(q.Node, 24), cut(q.Device, 20), digits(q.Hours), q.First, q.Last,
			kwh(q.Excess), kwh(q.Largest), digits(q.Doubted), "–", "–",
		}
		if q.Doubted > 0 {
			row[10], row[11] = kwh(q.Counter), kwh(q.Integral)
		}
		t.Rows = append(t.Rows, row)
	}
	if len(list) > maxShown {
		t.Notes = append(t.Notes, fmt.Sprintf("The worst %d of %d are shown; quality.csv lists them all.", maxShown, len(list)))
	}
	return t
}
