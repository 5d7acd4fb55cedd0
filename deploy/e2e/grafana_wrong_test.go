package e2e

import (
	"fmt"
	"strings"
	"testing"

	catalogue "github.com/wattledger/wattledger/dashboards/query"
)

// wrongIsFound makes wrong what the other cases hold right, and sees that they would say so. It goes last: the day is not the same after it.
func wrongIsFound(t *testing.T, s *stage, lines []line) {
	operator := s.operator(t)
	b := boards(t)[0]
	set := b.choose(t, operator, nil)
	find := func(what string, wrong []string, want string) {
		t.Helper()
		if all := strings.Join(wrong, "\n"); !strings.Contains(all, want) {
			t.Errorf("%s: %q is not among what is found wrong:\n%s", what, want, all)
		}
	}

	energy := question{where: "energy", q: catalogue.Query{Kind: catalogue.KindEnergy, Metric: "total", Form: catalogue.FormTable, By: []catalogue.Dimension{catalogue.Site}}}
	if wrong := s.check(t, operator, []question{energy}, lines); len(wrong) > 0 {
		t.Fatalf("wrong before anything is: %s", wrong)
	}
	other := energy
	other.q.Metric = "gpu"
	answer := s.ask(t, operator, other.q)[0]
	find("an answer to another question", s.wrongWith(t, energy, answer, lines), "no figure named total")

	for _, q := range b.asked(set) {
		if m, ok := metricOf(q.q); ok && m.Unit != "" && q.panel.FieldConfig.Defaults.Unit == m.Unit && !q.panel.mixed() {
			q.panel.FieldConfig.Defaults.Unit = "furlong"
			find("a unit that is not the figure's", s.check(t, operator, []question{q}, lines), `the panel shows `+m.Name+` in "furlong"`)
			break
		}
	}
	from, to := asksOf([]board{b}), b
	to.raw = []byte(strings.Replace(string(b.raw), `"metric": "power"`, `"metric": "power_limit"`, 1))
	if string(to.raw) == string(b.raw) {
		to.raw = []byte(strings.Replace(string(b.raw), `"metric": "total"`, `"metric": "gpu"`, 1))
	}
	if asksOf([]board{parseBoard(t, b.file, to.raw)}) == from {
		t.Error("a panel that asks for another metric is not told from the one that is shipped")
	}

	// The store: one entry doubled, then both copies dropped. Sums that were made when the entries were booked tell.
	change := func(sql string) []line {
		t.Helper()
		if _, err := query(t.Context(), s.data, sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		return ledger(t, s.data)
	}
	var one line
	for _, l := range lines {
		if l.GPU > one.GPU {
			one = l
		}
	}
	doubled := change(fmt.Sprintf("INSERT INTO entries SELECT * REPLACE (position + 1000000 AS position) FROM entries WHERE id = '%s'", one.ID))
	find("an entry doubled", wholeLedger(t.Context(), s.data, doubled), "its seal says")
	find("an entry doubled", s.check(t, operator, []question{energy}, doubled), "by the ledger")
	dropped := change(fmt.Sprintf("DELETE FROM entries WHERE id = '%s'", one.ID))
	find("an entry dropped", wholeLedger(t.Context(), s.data, dropped), "its seal says")
	find("an entry dropped", s.check(t, operator, []question{energy}, dropped), "by the ledger")
}
