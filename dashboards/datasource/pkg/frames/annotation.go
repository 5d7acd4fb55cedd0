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
	begin, end := at(f, "time"), at(f, "time_end")
	if begin != nil && at(f, "timeEnd") == nil {
		ends := make([]*time.Time, f.Rows())
		for i := range ends {
			ends[i] = moment(begin, i)
			if t := moment(end, i); t != nil {
				ends[i] = t
			}
		}
		f.Fields = append(f.Fields, data.NewField("timeEnd", nil, ends))
	}
	add(f, "title", " ", "event", "site", "node", "device")
	add(f, "text", " ", "event")
	add(f, "tags", ",", "event", "site", "node")
}

func moment(of *data.Field, row int) *time.Time {
	if of == nil {
		return nil
	}
	t, _ := of.At(row).(*time.Time)
	return t
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
