package plugin

import (
	"fmt"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"github.com/wattledger/wattledger/dashboards/datasource/pkg/spelling"
	"github.com/wattledger/wattledger/dashboards/query"
)

// target is a panel's question as it lies in the dashboard, beside what Grafana keeps with each.
type target struct {
	query.Query
	// Timezone is the IANA name of the dashboard's time zone. Grafana hands a backend none, so the front end fills it in; an alert rule has
	// what it was saved with, or UTC.
	Timezone string `json:"timezone"`
}

// theirs are the fields that Grafana puts beside ours: DataQuery of @grafana/schema, what DataSourceWithBackend adds, and alerting.
var theirs = []string{
	"refId", "hide", "key", "queryType", "datasource", "datasourceId", "datasourceUid", "intervalMs", "maxDataPoints", "queryCachingTTL",
	"timeRange", "range", "from", "to", "requestId", "panelId", "scopes", "scopedVars", "legendFormat",
	"live", // the browser's own, which an alert rule made from a panel brings along
}

// decode reads a question, with its range. Notices say what of it was not understood and does no harm.
func decode(raw backend.DataQuery) (query.Query, query.Span, []string, error) {
	if len(raw.JSON) > bodyLimit {
		return query.Query{}, query.Span{}, nil, fmt.Errorf("the question is larger than %d KiB", bodyLimit>>10)
	}
	var t target
	unknown, err := spelling.Decode(raw.JSON, &t, theirs...)
	if err != nil {
		return query.Query{}, query.Span{}, nil, err
	}
	zone := time.UTC
	if t.Timezone != "" && t.Timezone != "utc" {
		if zone, err = time.LoadLocation(t.Timezone); err != nil || t.Timezone == "Local" {
			return query.Query{}, query.Span{}, nil, fmt.Errorf("timezone %.60q: must be a name such as Europe/Paris, or UTC", t.Timezone)
		}
	}
	var notices []string
	for _, name := range unknown {
		notices = append(notices, fmt.Sprintf("the field %.60q of the question is not known and was left out of account", name))
	}
	if t.Form == "" {
		if m, err := t.Validate(); err == nil && len(m.Forms) > 0 {
			t.Form = m.Forms[0]
		}
	}
	return t.Query, query.Span{
		From: raw.TimeRange.From, To: raw.TimeRange.To, MaxPoints: int(min(max(raw.MaxDataPoints, 0), 1<<20)), Interval: max(raw.Interval, 0), Zone: zone,
	}, notices, nil
}
