package query

import (
	"fmt"
	"strings"
)

// from says in a few words what a figure is made of, for the page that documents it.
func (m Metric) from() string {
	if f, ok := figures[m.Kind][m.Name]; ok {
		return "ledger: `" + f.columns + "`"
	}
	switch m.Kind {
	case KindFleet:
		s := sumsOf[m.Name]
		if s.b != "" {
			return "sums by node: `" + s.a + "` over `" + s.b + "`"
		}
		return "sums by node: `" + s.a + "`"
	case KindDevice:
		r, ok := readingsOf[m.Name]
		switch {
		case !ok:
			return "samples"
		case r.ofGauge():
			return "samples and rollups: `" + r.gauge + r.code + "`"
		case r.den != nil:
			return "growth of `" + strings.Join(r.num, "` + `") + "` over that of `" + strings.Join(r.den, "` + `") + "`"
		case r.fold == foldCount:
			return "growth of `" + strings.Join(r.num, "` + `") + "`"
		default:
			return "growth of `" + strings.Join(r.num, "` + `") + "` over time"
		}
	case KindCoverage:
		if q, ok := qualityOf[m.Name]; ok {
			if q.den == "" {
				return "device-hours: `" + q.num + "`"
			}
			return "device-hours: `" + q.num + "` over `" + q.den + "`"
		}
		return map[string]string{"lines": "`device_hour`", "missing": "`missing`"}[m.Name]
	case KindPipeline:
		if m.Name == "rollups" {
			return "`rollup_progress`"
		}
		return "`messages`"
	case KindSovereignty:
		return "ledger, `sites`, `tenants`; rule SV-03"
	case KindLedger, KindUsage, KindCarbon, KindEnergy:
		return "ledger and its seals"
	case KindEvents:
		return "samples and rollups, `incident`, ledger and its seals"
	default:
		return "inventory"
	}
}

// Page is the table of all that can be asked, in Markdown.
func Page() string {
	var b strings.Builder
	var kind Kind
	for _, m := range Metrics {
		if m.Kind != kind {
			kind = m.Kind
			fmt.Fprintf(&b, "\n### %s\n\n| metric | unit | what | by | forms | from |\n| --- | --- | --- | --- | --- | --- |\n", kind)
		}
		sums := ""
		if m.Sums {
			sums = "; adds up"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s%s | %s | %s | %s |\n", m.Name, orDash(m.Unit), m.Help, sums, orDash(list(m.By)), list(m.Forms), strings.ReplaceAll(m.from(), "|", `\|`))
	}
	return b.String()
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}
