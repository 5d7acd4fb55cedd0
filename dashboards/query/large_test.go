package query_test

import (
	"strings"
	"testing"
	"time"

	"github.com/wattledger/wattledger/dashboards/query"
)

// What no sum of a node holds yet is read from samples where they are few; a large fleet's wait, and the panel says so.
func TestTheNewestOfALargeFleet(t *testing.T) {
	all := query.Scope{All: true}
	f := func(devices uint64, q query.Query, s query.Span, want string, notice bool) {
		t.Helper()
		st := state()
		st.Devices = devices
		for name, level := range state().Levels {
			st.Levels["node_"+name] = level
		}
		plan, err := query.New(q, all, s, st, opt)
		if err != nil {
			t.Fatal(err)
		}
		last := plan.Statements[len(plan.Statements)-1]
		if got := strings.Contains(last.SQL, "FROM sample "); got != (want == "sample") {
			t.Errorf("%d devices, %s %s: samples are read: %v", devices, q.Kind, q.Metric, got)
		}
		if got := strings.Contains(strings.Join(last.Result.Notices, " "), "not drawn"); got != notice {
			t.Errorf("%d devices, %s %s: notices %q", devices, q.Kind, q.Metric, last.Result.Notices)
		}
	}
	power := query.Query{Kind: query.KindFleet, Metric: "power"}
	one := query.Query{Kind: query.KindFleet, Metric: "power", Filters: []query.Filter{{Dimension: query.Node, Values: []string{"n1"}}}}
	f(144, power, span(time.Hour), "sample", false)
	f(18000, power, span(time.Hour), "sums", true)
	f(18000, one, span(time.Hour), "sample", false)
	f(18000, power, query.Span{From: noon.Add(-6 * time.Hour), To: noon.Add(-5 * time.Hour)}, "sums", false)

	carbon := query.Query{Kind: query.KindCarbon, Metric: "location"}
	f(144, carbon, span(6*time.Hour), "sample", false)
	f(18000, carbon, span(6*time.Hour), "sums", false)
}

// Where it is not known how far the sums are, a large fleet is still not read sample by sample.
func TestALargeFleetWithoutProgress(t *testing.T) {
	st := state()
	st.Devices, st.Levels = 18000, nil
	plan, err := query.New(query.Query{Kind: query.KindFleet, Metric: "power"}, query.Scope{All: true}, span(time.Hour), st, opt)
	if err != nil {
		t.Fatal(err)
	}
	if got := plan.Statements[0]; strings.Contains(got.SQL, "FROM sample ") || !strings.Contains(got.SQL, "node_sum_") || len(got.Result.Notices) == 0 {
		t.Errorf("reads %s, and says %q", got.SQL, got.Result.Notices)
	}
}

// A figure over a long range is read from a coarse level, and its begin from a finer one.
func TestAFigureBeginsWithItsRange(t *testing.T) {
	st := state()
	for name, level := range state().Levels {
		st.Levels["node_"+name] = level
	}
	s := query.Span{From: noon.Add(-24*time.Hour - 20*time.Minute), To: noon.Add(-2 * time.Hour), MaxPoints: 100}
	plan, err := query.New(query.Query{Kind: query.KindFleet, Metric: "ecc_sbe", Form: query.FormTotal}, query.Scope{All: true}, s, st, opt)
	if err != nil {
		t.Fatal(err)
	}
	fine, coarse := false, false
	for _, v := range plan.Statements[0].Args {
		fine = fine || v == s.From.Unix()
		coarse = coarse || v == noon.Add(-24*time.Hour).Unix()
	}
	if sql := plan.Statements[0].SQL; !fine || !coarse || !strings.Contains(sql, "node_sum_1m") || !strings.Contains(sql, "node_sum_1h") {
		t.Errorf("reads %s with %v", sql, plan.Statements[0].Args)
	}
}

// A panel of a large fleet reads a coarser level rather than millions of rows; one of a node, or of a small fleet, as fine a one as it is wide.
func TestALargeFleetIsReadCoarser(t *testing.T) {
	power := query.Query{Kind: query.KindFleet, Metric: "power"}
	one := query.Query{Kind: query.KindFleet, Metric: "power", Filters: []query.Filter{{Dimension: query.Node, Values: []string{"n1"}}}}
	for _, c := range []struct {
		q       query.Query
		devices uint64
		length  time.Duration
		want    string
	}{
		{power, 144, 6 * time.Hour, "node_10s"},
		{power, 18000, 3 * time.Hour, "node_10s"},
		{power, 18000, 6 * time.Hour, "node_1m"},
		{one, 18000, 6 * time.Hour, "node_10s"},
		{power, 18000, 24 * time.Hour, "node_1m"},
		{power, 18000, 48 * time.Hour, "node_1m"},
	} {
		st := state()
		st.Devices = c.devices
		s := span(c.length)
		s.MaxPoints = 3000
		plan, err := query.New(c.q, query.Scope{All: true}, s, st, opt)
		if err != nil {
			t.Fatal(err)
		}
		if got := plan.Statements[0].Result; got.Source != c.want || c.want == "node_1m" && got.Step < time.Minute {
			t.Errorf("%d devices, %v, %s: read from %s in steps of %v, want %s", c.devices, c.q.Filters, c.length, got.Source, got.Step, c.want)
		}
	}
}
