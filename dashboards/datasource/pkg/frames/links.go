package frames

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/grafana/grafana-plugin-sdk-go/data"

	"github.com/wattledger/wattledger/dashboards/query"
)

// Ledger is the uid of the dashboard that shows what entries rest on; dashboards/grafana makes it.
const Ledger = "wattledger-ledger"

// booked are the kinds whose figures are sums of entries of the ledger.
var booked = []query.Kind{query.KindUsage, query.KindEnergy, query.KindCarbon}

// ledgerVariables are the variables of the ledger's dashboard that a label of a series can fill.
var ledgerVariables = []query.Dimension{query.Site, query.Node, query.Tenant}

// link leads from an entry to how it came about, and from a figure to the entries that it sums. What is written ${…} Grafana fills in
// (https://grafana.com/docs/grafana/latest/panels-visualizations/configure-data-links/).
func link(out *data.Frame, f query.Frame, asked Asked) {
	for i, c := range f.Columns {
		config := out.Fields[i].Config
		switch {
		case c.Type == query.Text && asked.Metric.Kind != query.KindEvents && (c.Name == string(query.EntryID) || c.Name == "corrects"):
			config.Links = append(config.Links, data.DataLink{Title: "How this entry came about", URL: address(asked.UID, "var-entry=${__value.raw}", "${__url_time_range}")})
		case c.Type == query.Number && slices.Contains(booked, asked.Metric.Kind) && !c.Provisional && !others(c, asked):
			config.Links = append(config.Links, data.DataLink{Title: "The entries behind it", URL: entries(c, f, asked)})
		}
	}
}

// others says that a series is the sum of what a limit left out, whose entries have no label in common.
func others(c query.Column, asked Asked) bool {
	return slices.ContainsFunc(asked.By, func(d query.Dimension) bool { return c.Labels[string(d)] == query.OtherName })
}

// entries is the address of the entries that a figure sums: those of its point's time, or of the whole range, and of its labels.
func entries(c query.Column, f query.Frame, asked Asked) string {
	var parts []string
	for _, d := range ledgerVariables {
		switch {
		case asked.Form == query.FormSeries && c.Labels[string(d)] != "":
			parts = append(parts, "var-"+string(d)+"="+url.QueryEscape(c.Labels[string(d)]))
		case asked.Form == query.FormTable && slices.Contains(asked.By, d):
			parts = append(parts, "var-"+string(d)+"=${__data.fields[\""+string(d)+"\"]}")
		}
	}
	if asked.Form == query.FormSeries && f.Step > 0 {
		// Grafana's time.window lies around time, which is the begin of the slot: twice the step holds the slot, and the one before.
		parts = append(parts, fmt.Sprintf("time=${__value.time}&time.window=%d", 2*f.Step.Milliseconds()))
	} else {
		parts = append(parts, "${__url_time_range}")
	}
	return address(asked.UID, parts...)
}

func address(uid string, parts ...string) string {
	if uid != "" {
		parts = append([]string{"var-datasource=" + url.QueryEscape(uid)}, parts...)
	}
	return "/d/" + Ledger + "?" + strings.Join(parts, "&")
}
