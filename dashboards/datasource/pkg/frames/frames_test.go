package frames_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"

	"github.com/wattledger/wattledger/dashboards/datasource/pkg/frames"
	"github.com/wattledger/wattledger/dashboards/query"
)

var hour = time.Date(2026, 3, 1, 4, 0, 0, 0, time.UTC)

func metric(t *testing.T, kind query.Kind, name string) query.Metric {
	t.Helper()
	m, err := query.Query{Kind: kind, Metric: name}.Validate()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func series(provisional bool, numbers ...float64) query.Frame {
	times := make([]time.Time, len(numbers))
	for i := range times {
		times[i] = hour.Add(time.Duration(i) * time.Hour)
	}
	labels := map[string]string{"site": "par", "tenant": "t bank"}
	return query.Frame{
		Name: "t bank", Source: "subtotal", Step: time.Hour, AsOf: map[string]uint64{"par": 7}, Notices: []string{"a notice"},
		Columns: []query.Column{
			{Name: "time", Type: query.Time, Times: times},
			{Name: "total", Type: query.Number, Unit: "watth", Labels: labels, Provisional: provisional, Numbers: numbers},
		},
	}
}

func TestSeries(t *testing.T) {
	asked := frames.Asked{Metric: metric(t, query.KindEnergy, "total"), Form: query.FormSeries, UID: "my uid"}
	got := frames.Of([]query.Frame{series(false, 1, query.Absent, 3), series(true, query.Absent, query.Absent, 4)}, asked)
	f := got[0]
	if f.Meta.Type != data.FrameTypeTimeSeriesMulti || f.Fields[0].Type() != data.FieldTypeTime || f.Fields[1].Type() != data.FieldTypeNullableFloat64 {
		t.Errorf("type %s of %s, %s", f.Meta.Type, f.Fields[0].Type(), f.Fields[1].Type())
	}
	if _, err := f.FloatAt(1, 1); err != nil || !f.Fields[1].NilAt(1) {
		t.Error("what is absent is not null")
	}
	c := f.Fields[1].Config
	if c.Unit != "watth" || c.DisplayNameFromDS != "t bank" || c.Description == "" || c.Custom != nil || f.Fields[1].Labels["tenant"] != "t bank" {
		t.Errorf("%+v", c)
	}
	if f.Fields[0].Config.Interval != 3_600_000 {
		t.Errorf("points are %v ms apart", f.Fields[0].Config.Interval)
	}
	want := "/d/wattledger-ledger?var-datasource=my+uid&var-site=par&var-tenant=t+bank&time=${__value.time}&time.window=7200000"
	if len(c.Links) != 1 || c.Links[0].URL != want {
		t.Errorf("links %+v, want %s", c.Links, want)
	}
	if custom, ok := f.Meta.Custom.(frames.Custom); !ok || custom.Source != "subtotal" || custom.StepMS != 3_600_000 || custom.AsOf["par"] != 7 || custom.Provisional {
		t.Errorf("custom %+v", f.Meta.Custom)
	}
	if len(f.Meta.Notices) != 1 || f.Meta.Notices[0].Text != "a notice" {
		t.Errorf("notices %+v", f.Meta.Notices)
	}
	p := got[1].Fields[1].Config
	raw, err := json.Marshal(p.Custom)
	if err != nil || !strings.Contains(string(raw), `"lineStyle":{"dash":[8,6],"fill":"dash"}`) || p.DisplayNameFromDS != "t bank (provisional)" || len(p.Links) != 0 {
		t.Errorf("provisional: %s, %+v, %v", raw, p, err)
	}
}

func TestTypesByWhichAlertRulesRead(t *testing.T) {
	table := func(columns ...query.Column) []query.Frame { return []query.Frame{{Columns: columns}} }
	site := query.Column{Name: "site", Type: query.Text, Texts: []string{"par"}}
	number := query.Column{Name: "total", Type: query.Number, Numbers: []float64{1}}
	f := func(m query.Metric, form query.Form, answer []query.Frame, want data.FrameType) {
		t.Helper()
		got := frames.Of(answer, frames.Asked{Metric: m, Form: form, By: []query.Dimension{query.Site}})
		if got[0].Meta.Type != want {
			t.Errorf("%s %s: %s, want %s", m.Name, form, got[0].Meta.Type, want)
		}
	}
	energy, now := metric(t, query.KindEnergy, "total"), metric(t, query.KindDevice, "now")
	f(energy, query.FormSeries, []query.Frame{series(false, 1)}, data.FrameTypeTimeSeriesMulti)
	f(energy, query.FormTotal, table(number), data.FrameTypeNumericWide)
	f(energy, query.FormTotal, append(table(number), table(number)...), data.FrameTypeNumericMulti)
	f(energy, query.FormTable, table(site, number), data.FrameTypeNumericLong)
	f(now, query.FormTable, table(site, number), data.FrameTypeTable)
	f(energy, query.FormSeries, nil, data.FrameTypeTimeSeriesMulti)
	f(energy, query.FormTotal, nil, data.FrameTypeNumericWide)
	f(energy, query.FormTable, nil, data.FrameTypeNumericLong)
	f(now, query.FormTable, nil, data.FrameTypeTable)
}

func TestEntriesLeadToHowTheyCameAbout(t *testing.T) {
	got := frames.Of([]query.Frame{{Columns: []query.Column{
		{Name: "hour", Type: query.Time, Times: []time.Time{hour, {}}},
		{Name: "entry", Type: query.Text, Texts: []string{"e1", "e2"}},
		{Name: "open", Type: query.Flag, Flags: []bool{true, false}},
	}}}, frames.Asked{Metric: metric(t, query.KindLedger, "entries"), Form: query.FormTable})
	if links := got[0].Fields[1].Config.Links; len(links) != 1 || links[0].URL != "/d/wattledger-ledger?var-entry=${__value.raw}&${__url_time_range}" {
		t.Errorf("links %+v", links)
	}
	if !got[0].Fields[0].NilAt(1) || got[0].Fields[2].Type() != data.FieldTypeNullableBool {
		t.Error("a time that is not there is not null, or a flag no flag")
	}
	got = frames.Of([]query.Frame{{Columns: []query.Column{
		{Name: "tenant", Type: query.Text, Texts: []string{"t"}}, {Name: "total", Type: query.Number, Numbers: []float64{1}},
	}}}, frames.Asked{Metric: metric(t, query.KindEnergy, "total"), Form: query.FormTable, By: []query.Dimension{query.Tenant}})
	if links := got[0].Fields[1].Config.Links; len(links) != 1 || links[0].URL != `/d/wattledger-ledger?var-tenant=${__data.fields["tenant"]}&${__url_time_range}` {
		t.Errorf("links %+v", links)
	}
	// What a limit left out has no entries of its own name.
	other := series(false, 1, 2)
	other.Name, other.Columns[1].Labels = query.OtherName, map[string]string{"tenant": query.OtherName}
	got = frames.Of([]query.Frame{other}, frames.Asked{Metric: metric(t, query.KindEnergy, "total"), Form: query.FormSeries, By: []query.Dimension{query.Tenant}})
	if links := got[0].Fields[1].Config.Links; len(links) != 0 {
		t.Errorf("the others' entries: %+v", links)
	}
}

func TestAnnotations(t *testing.T) {
	got := frames.Of([]query.Frame{{Columns: []query.Column{
		{Name: "time", Type: query.Time, Times: []time.Time{hour, hour}},
		{Name: "time_end", Type: query.Time, Times: []time.Time{hour.Add(time.Minute), {}}},
		{Name: "event", Type: query.Text, Texts: []string{"gap", "xid"}},
		{Name: "site", Type: query.Text, Texts: []string{"par", "par"}},
		{Name: "node", Type: query.Text, Texts: []string{"", "n1"}},
		{Name: "text", Type: query.Text, Texts: []string{"6 ticks", "XID 79"}},
	}}}, frames.Asked{Metric: metric(t, query.KindEvents, "all"), Form: query.FormTable})[0]
	text := func(name string, row int) string {
		t.Helper()
		f, i := got.FieldByName(name)
		if i < 0 {
			t.Fatalf("no field %s", name)
		}
		s, _ := f.At(row).(*string)
		return *s
	}
	if text("title", 1) != "xid par n1" || text("text", 1) != "XID 79" || text("tags", 0) != "gap,par" {
		t.Errorf("%q %q %q", text("title", 1), text("text", 1), text("tags", 0))
	}
	end, _ := got.FieldByName("timeEnd")
	for row, want := range []time.Time{hour.Add(time.Minute), hour} {
		if at, _ := end.At(row).(*time.Time); at == nil || !at.Equal(want) {
			t.Errorf("row %d ends %v, want %s", row, at, want)
		}
	}
}

// What Grafana is sent can be sent.
func TestFramesAreSent(t *testing.T) {
	asked := frames.Asked{Metric: metric(t, query.KindEnergy, "total"), Form: query.FormSeries}
	for _, f := range frames.Of([]query.Frame{series(true, 1, query.Absent)}, asked) {
		if _, err := f.MarshalArrow(); err != nil {
			t.Error(err)
		}
		if _, err := data.FrameToJSON(f, data.IncludeAll); err != nil {
			t.Error(err)
		}
	}
}
