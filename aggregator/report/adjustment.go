package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// AdjustmentRow is a correction of an hour that was closed before, with what it changes. Its figures are in the sums of the document.
type AdjustmentRow struct {
	Site string `json:"site"`
	Hour string `json:"hour"`
	// Batch booked it, Entry is its id, Corrects the id of the entry it corrects, or "seal:" and the root of the hour's seal.
	Batch    uint64 `json:"batch"`
	Entry    string `json:"entry"`
	Corrects string `json:"corrects"`
	// Reason is the entry's, without allocations that are not the entry's own: they may be another tenant's.
	Reason string `json:"reason"`

	Account    record.Account `json:"account"`
	Device     string         `json:"device"`
	Allocation string         `json:"allocation"`
	Project    string         `json:"project"`
	Workload   string         `json:"workload"`

	DeviceTime     unit.DeviceTime     `json:"device_time"`
	Energy         unit.Millijoules    `json:"energy_mj"`
	Measured       unit.Millijoules    `json:"measured_mj"`
	Estimated      unit.Millijoules    `json:"estimated_mj"`
	Modelled       unit.Millijoules    `json:"modelled_mj"`
	Carbon         unit.MicrogramsCO2e `json:"carbon_ug"`
	CarbonMarket   unit.MicrogramsCO2e `json:"carbon_market_ug"`
	CarbonEmbodied unit.MicrogramsCO2e `json:"carbon_embodied_ug"`
	Water          unit.Microlitres    `json:"water_ul"`

	// The boundaries are those of the factors that hold now.
	Boundary         string `json:"carbon_boundary"`
	MarketBoundary   string `json:"carbon_market_boundary"`
	EmbodiedBoundary string `json:"carbon_embodied_boundary"`
}

// CarbonBy is what the adjustment changes by a method, and within which boundary.
func (a AdjustmentRow) CarbonBy(method string) (unit.MicrogramsCO2e, string) {
	switch method {
	case LocationBased:
		return a.Carbon, a.Boundary
	case MarketBased:
		return a.CarbonMarket, a.MarketBoundary
	default:
		return a.CarbonEmbodied, a.EmbodiedBoundary
	}
}

// AdjustmentOf is the row of an entry that is one.
func AdjustmentOf(b Booked) AdjustmentRow {
	return AdjustmentRow{
		Site: b.Site, Hour: b.Hour, Batch: b.Batch, Entry: b.ID, Corrects: b.Corrects, Reason: b.Reason, Account: b.Account, Device: b.Device,
		Allocation: b.Allocation, Project: b.Project, Workload: b.Workload, DeviceTime: b.DeviceTime, Energy: b.Total(),
		Measured: b.Measured, Estimated: b.Estimated, Modelled: b.Modelled,
		Carbon: b.Carbon, CarbonMarket: b.CarbonMarket, CarbonEmbodied: b.CarbonEmbodied, Water: b.Water,
		Boundary: Boundary(b.Factor), MarketBoundary: Boundary(b.FactorMarket), EmbodiedBoundary: Boundary(b.FactorEmbodied),
	}
}

func compareAdjustments(a, b AdjustmentRow) int {
	return cmp.Or(cmp.Compare(a.Site, b.Site), cmp.Compare(a.Batch, b.Batch), cmp.Compare(a.Hour, b.Hour), cmp.Compare(a.Device, b.Device),
		cmp.Compare(a.Account, b.Account), cmp.Compare(a.Allocation, b.Allocation), cmp.Compare(a.Entry, b.Entry))
}

// AdjustmentsCSV is a row per adjustment.
func AdjustmentsCSV(list []AdjustmentRow) ([]byte, error) {
	var rows [][]string
	for _, a := range list {
		rows = append(rows, []string{
			a.Site, a.Hour, digits(a.Batch), a.Entry, a.Corrects, a.Reason, string(a.Account), a.Device, a.Allocation, a.Project, a.Workload,
			digits(a.DeviceTime), digits(a.Energy), digits(a.Measured), digits(a.Estimated), digits(a.Modelled),
			digits(a.Carbon), digits(a.CarbonMarket), digits(a.CarbonEmbodied), digits(a.Water),
			a.Boundary, a.MarketBoundary, a.EmbodiedBoundary,
		})
	}
	return CSV([]string{
		"site", "hour", "batch", "entry", "corrects", "reason", "account", "device", "allocation", "project", "workload",
		"device_time_ms_thousandths", "energy_mj", "measured_mj", "estimated_mj", "modelled_mj",
		"carbon_ug", "carbon_market_ug", "carbon_embodied_ug", "water_ul",
		"carbon_boundary", "carbon_market_boundary", "carbon_embodied_boundary",
	}, rows)
}

// maxShown is how many lines a table for people has; files have them all.
const maxShown = 25

// AdjustmentsTable shows which entries were adjusted, why and by how much.
func AdjustmentsTable(title string, list []AdjustmentRow) Table {
	t := Table{
		Title:   title,
		Columns: columns("hour", "site", "account", "allocation", "reason", "corrects", "booked in", ">GPU-h", ">kWh", ">kgCO2e", ">market", ">embodied"),
	}
	var sum AdjustmentRow
	for i, a := range list {
		sum.DeviceTime += a.DeviceTime
		sum.Energy += a.Energy
		sum.Carbon += a.Carbon
		sum.CarbonMarket += a.CarbonMarket
		sum.CarbonEmbodied += a.CarbonEmbodied
		if i < maxShown {
			t.Rows = append(t.Rows, append([]string{
				a.Hour, a.Site, string(a.Account), cut(a.Allocation, 24), cut(a.Reason, 36), corrected(a.Corrects), fmt.Sprintf("batch %d", a.Batch),
			}, a.amounts()...))
		}
	}
	t.Totals = append([]string{"total", "", "", "", "", "", ""}, sum.amounts()...)
	if len(list) > maxShown {
		t.Notes = append(t.Notes, fmt.Sprintf("The first %d of %d adjustments are shown and all are in the total; adjustments.csv lists them.", maxShown, len(list)))
	}
	return t
}

func (a AdjustmentRow) amounts() []string {
	return []string{
		signed(int64(a.DeviceTime), unit.DeviceTimePerHour, 2), signed(int64(a.Energy), unit.MillijoulesPerKWh, 3),
		signed(int64(a.Carbon), 1_000_000_000, 3), signed(int64(a.CarbonMarket), 1_000_000_000, 3), signed(int64(a.CarbonEmbodied), 1_000_000_000, 3),
	}
}

// corrected is an id as people compare it: its beginning.
func corrected(id string) string {
	if root, ok := strings.CutPrefix(id, "seal:"); ok {
		return "seal " + cut(root, 12)
	}
	return cut(id, 12)
}

// cut shortens a text for a table.
func cut(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// ReasonRow is all adjustments of a site for one reason, by account.
type ReasonRow struct {
	Site    string         `json:"site"`
	Reason  string         `json:"reason"`
	Account record.Account `json:"account"`
	Sums
}

type reasonKey struct {
	site, reason string
	account      record.Account
}

// reasonWord is the word of record.Reasons that a reason begins with.
func reasonWord(reason string) string {
	word, _, _ := strings.Cut(reason, " ")
	return strings.TrimRight(word, ":,;")
}

func reasonRows(m map[reasonKey]*Sums) []ReasonRow {
	out := []ReasonRow{}
	for k, s := range m {
		out = append(out, ReasonRow{k.site, k.reason, k.account, s.finish()})
	}
	slices.SortFunc(out, func(a, b ReasonRow) int {
		return cmp.Or(cmp.Compare(a.Site, b.Site), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Account, b.Account))
	})
	return out
}
