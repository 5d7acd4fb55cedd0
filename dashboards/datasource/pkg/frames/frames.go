// Package frames turns answers into Grafana's data frames.
//
// It sets what Grafana draws them by: types, units, names, labels, links and the type of the frame, by which alert rules read it
// (the data plane contract, https://grafana.github.io/dataplane/contract/). It computes no amount. What is absent is null and drawn
// as a gap; what no closed hour stands behind is dashed and says so in its name.
package frames

import (
	"math"
	"slices"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"

	"github.com/wattledger/wattledger/dashboards/query"
)

// Asked is what an answer is of.
type Asked struct {
	Metric query.Metric
	Form   query.Form
	By     []query.Dimension
	// UID is that of the data source, for links that lead on with it.
	UID string
	// Notices are said beside those of the answer.
	Notices []string
}

// Custom is what a frame says of itself to programs: FrameMeta.Custom.
type Custom struct {
	// Source is the level that was read.
	Source string `json:"source,omitempty"`
	// StepMS is the time between two points.
	StepMS int64 `json:"stepMs,omitempty"`
	// AsOf is, of ledger figures, the number of batches of each site that they rest on.
	AsOf        map[string]uint64 `json:"asOf,omitempty"`
	Provisional bool              `json:"provisional,omitempty"`
}

// Provisional is what the name of a figure ends in while its hours are not closed.
const Provisional = " (provisional)"

// version is that of the data plane contract whose types we name.
var version = data.FrameTypeVersion{0, 1}

// Of converts an answer. An answer of nothing is one frame without fields, of the type it would have had.
func Of(answer []query.Frame, asked Asked) data.Frames {
	if len(answer) == 0 {
		empty := data.NewFrame("")
		empty.Meta = &data.FrameMeta{Type: emptyType(asked), TypeVersion: version}
		notices(empty, asked.Notices)
		return data.Frames{empty}
	}
	out := make(data.Frames, len(answer))
	for i, f := range answer {
		out[i] = frame(f, asked)
		if i == 0 {
			notices(out[i], asked.Notices)
		}
	}
	if asked.Form == query.FormTotal && len(out) > 1 { // the closed hours and the provisional ones
		for _, f := range out {
			if f.Meta.Type == data.FrameTypeNumericWide && len(f.Fields) == 1 {
				f.Meta.Type = data.FrameTypeNumericMulti
			}
		}
	}
	if asked.Metric.Kind == query.KindEvents && asked.Form == query.FormTable {
		for _, f := range out {
			annotate(f)
		}
	}
	return out
}

func frame(f query.Frame, asked Asked) *data.Frame {
	out := data.NewFrame(f.Name)
	kind := typeOf(f, asked)
	series := kind.IsTimeSeries()
	provisional := false
	for _, c := range f.Columns {
		provisional = provisional || c.Provisional
		out.Fields = append(out.Fields, field(c, f, asked, series))
	}
	link(out, f, asked)
	out.Meta = &data.FrameMeta{
		Type: kind, TypeVersion: version,
		Custom: Custom{Source: f.Source, StepMS: f.Step.Milliseconds(), AsOf: f.AsOf, Provisional: provisional},
	}
	if kind == data.FrameTypeTable {
		out.Meta.TypeVersion = data.FrameTypeVersion{} // a table is no type of the contract
	}
	switch {
	case series:
		out.Meta.PreferredVisualization = data.VisTypeGraph
	case kind != data.FrameTypeNumericWide:
		out.Meta.PreferredVisualization = data.VisTypeTable
	}
	notices(out, f.Notices)
	return out
}

func notices(f *data.Frame, texts []string) {
	for _, text := range texts {
		f.AppendNotices(data.Notice{Severity: data.NoticeSeverityInfo, Text: text})
	}
}

// typeOf is the type by which server-side expressions read a frame.
func typeOf(f query.Frame, asked Asked) data.FrameType {
	count := func(t query.Type) (n int) {
		for _, c := range f.Columns {
			if c.Type == t {
				n++
			}
		}
		return n
	}
	switch times, numbers := count(query.Time), count(query.Number); {
	case asked.Form == query.FormSeries && times == 1 && numbers == 1 && len(f.Columns) == 2:
		return data.FrameTypeTimeSeriesMulti
	case asked.Form == query.FormSeries && times == 1 && numbers > 1 && len(f.Columns) == 1+numbers:
		return data.FrameTypeTimeSeriesWide
	case asked.Form == query.FormTotal && numbers == len(f.Columns):
		return data.FrameTypeNumericWide
	// A row for each combination of dimensions, and their number: an alert rule makes an instance of each. Lists are lists.
	case asked.Form == query.FormTable && slices.Contains(asked.Metric.Forms, query.FormTotal) && numbers > 0 && times == 0 && count(query.Flag) == 0:
		return data.FrameTypeNumericLong
	default:
		return data.FrameTypeTable
	}
}

func emptyType(asked Asked) data.FrameType {
	switch {
	case asked.Form == query.FormSeries:
		return data.FrameTypeTimeSeriesMulti
	case asked.Form == query.FormTotal:
		return data.FrameTypeNumericWide
	case slices.Contains(asked.Metric.Forms, query.FormTotal):
		return data.FrameTypeNumericLong
	default:
		return data.FrameTypeTable
	}
}

// field converts a column. The slice of its type has the values; a null is nil.
func field(c query.Column, f query.Frame, asked Asked, series bool) *data.Field {
	var out *data.Field
	switch c.Type {
	case query.Time:
		if series {
			out = data.NewField(c.Name, nil, slices.Clone(c.Times)) // the contract wants no null there
			break
		}
		out = data.NewField(c.Name, nil, nullable(c.Times, time.Time.IsZero))
	case query.Number:
		out = data.NewField(c.Name, labels(c.Labels), nullable(c.Numbers, func(n float64) bool { return math.IsNaN(n) || math.IsInf(n, 0) }))
	case query.Flag:
		out = data.NewField(c.Name, nil, nullable(c.Flags, func(bool) bool { return false }))
	default:
		out = data.NewField(c.Name, nil, nullable(c.Texts, func(string) bool { return false }))
	}
	config := &data.FieldConfig{Unit: c.Unit}
	switch {
	case c.Type == query.Time && series && f.Step > 0:
		config.Interval = float64(f.Step.Milliseconds()) // Grafana breaks the line where a point is missing
	case c.Type == query.Number:
		config.DisplayNameFromDS = name(c, f, series, asked)
		if c.Name == asked.Metric.Name {
			config.Description = asked.Metric.Help
		}
		if c.Provisional {
			config.Custom = map[string]any{
				"lineStyle":   map[string]any{"fill": "dash", "dash": []int{8, 6}},
				"fillOpacity": 0,
			}
		}
	}
	out.Config = config
	return out
}

// name is what a legend or a head says. A series is called as query called it; in a table a column is, and only a provisional one needs more.
func name(c query.Column, f query.Frame, series bool, asked Asked) string {
	base := c.Name
	if series && f.Name != "" && len(f.Columns) == 2 {
		base = f.Name
	}
	switch {
	case c.Provisional:
		return base + Provisional
	case series || asked.Form == query.FormTotal:
		return base
	default:
		return "" // a table's dashboard renames columns by their names
	}
}

func labels(l map[string]string) data.Labels {
	if len(l) == 0 {
		return nil
	}
	out := make(data.Labels, len(l))
	for k, v := range l {
		out[k] = v
	}
	return out
}

func nullable[T any](values []T, absent func(T) bool) []*T {
	out := make([]*T, len(values))
	for i := range values {
		if !absent(values[i]) {
			v := values[i]
			out[i] = &v
		}
	}
	return out
}
