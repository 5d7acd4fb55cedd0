package frames

import (
	"strings"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"
)

// annotate adds the fields by which Grafana makes annotations of a frame: time, timeEnd, title, text and tags, the tags with commas
// between (https://grafana.com/developers/plugin-tools/how-to-guides/data-source-plugins/add-support-for-annotation-queries). Fields that
// are there stay.
func annotate(f *data.Frame) {
	if at(f, "time") == nil {
		for _, other := range f.Fields {
			if other.Type() == data.FieldTypeNullableTime {
				other.Name = "time"
				break
			}
		}
	}
	rows := f.Rows()
	if at(f, "timeEnd") == nil && at(f, "time") != nil {
		ends := make([]*time.Time, rows)
		for i := range ends {
			for _, from := range []*data.Field{at(f, "until"), at(f, "end"), at(f, "time")} {
				if from == nil {
					continue
				}
				if t, ok := from.At(i).(*time.Time); ok && t != nil {
					ends[i] = t
					break
				}
			}
		}
		f.Fields = append(f.Fields, data.NewField("timeEnd", nil, ends))
	}
	add(f, "title", " ", "event", "reason")
	add(f, "text", " · ", "reason", "site", "node", "device", "tenant", "amount")
	add(f, "tags", ",", "event", "site", "node")
	if f.Meta.Type == data.FrameTypeTable {
		f.Meta.DataTopic = "" // a panel may show it as a table; the annotation layer sets its topic itself
	}
}

// add makes a text field of others, where it is not there yet.
func add(f *data.Frame, name, between string, of ...string) {
	if at(f, name) != nil {
		return
	}
	texts := make([]*string, f.Rows())
	for i := range texts {
		var parts []string
		for _, n := range of {
			from := at(f, n)
			if from == nil {
				continue
			}
			if s, ok := from.At(i).(*string); ok && s != nil && *s != "" {
				parts = append(parts, *s)
			}
		}
		text := strings.Join(parts, between)
		texts[i] = &text
	}
	f.Fields = append(f.Fields, data.NewField(name, nil, texts))
}

func at(f *data.Frame, name string) *data.Field {
	field, i := f.FieldByName(name)
	if i < 0 {
		return nil
	}
	return field
}
