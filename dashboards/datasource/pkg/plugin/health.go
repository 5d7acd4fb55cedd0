package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"github.com/wattledger/wattledger/dashboards/datasource/pkg/settings"
	"github.com/wattledger/wattledger/dashboards/query"
	schema "github.com/wattledger/wattledger/schemas/clickhouse"
)

// CheckHealth says whether the data source works, for whom, and how fresh its data are; or what is wrong and how to mend it.
func (s *Source) CheckHealth(ctx context.Context, req *backend.CheckHealthRequest) (*backend.CheckHealthResult, error) {
	if s.broken != nil {
		return sick(s.broken.Error()), nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.settings.DialTimeout)*time.Second+10*time.Second)
	defer cancel()
	e, _, err := s.reach(ctx)
	if err != nil {
		return sick(explain(err)), nil
	}
	// Whoever sets up a data source that goes by identity need not be in its map. They learn whether it works, and nothing of the data.
	scope, _, denied := s.scope(ctx, req.PluginContext, req)
	probe := scope
	if denied != nil {
		probe = query.Scope{All: true}
	}
	h, err := e.Health(ctx, probe)
	if err != nil {
		return sick(explain(err)), nil
	}
	newest, err := schema.Newest()
	if err != nil {
		return nil, err
	}
	if denied != nil {
		h.Sites = nil
	}
	details, err := json.Marshal(map[string]any{"server": h.Version, "schema": h.Schema, "schemaExpected": newest, "scope": s.settings.Scope, "sites": h.Sites})
	if err != nil {
		return nil, err
	}
	out := &backend.CheckHealthResult{Status: backend.HealthStatusOk, JSONDetails: details}
	text := []string{fmt.Sprintf("ClickHouse %s, schema %d of %d", h.Version, h.Schema, newest)}
	switch {
	case h.Schema < newest:
		out.Status = backend.HealthStatusError
		text[0] += ": older than this plugin needs; run `wattledger migrate` of the plugin's release"
	case h.Schema > newest:
		text[0] += ": newer than this plugin knows; update the plugin when you can"
	}
	text = append(text, s.describe(scope, denied))
	if denied == nil {
		text = append(text, sites(h))
	}
	out.Message = strings.Join(text, "; ")
	return out, nil
}

func sick(text string) *backend.CheckHealthResult {
	return &backend.CheckHealthResult{Status: backend.HealthStatusError, Message: text}
}

// describe is the scope in words.
func (s *Source) describe(scope query.Scope, denied error) string {
	switch {
	case s.settings.Scope == settings.Identity && denied != nil:
		return "answers persons by their verified identity, and not you: " + denied.Error()
	case s.settings.Scope == settings.Identity && scope.All:
		return "answers persons by their verified identity: you are an operator"
	case s.settings.Scope == settings.Identity:
		return "answers persons by their verified identity: you are of tenant " + scope.Tenant
	case scope.All:
		return "answers everybody who may use it as an operator, with all tenants"
	default:
		return "answers for tenant " + scope.Tenant
	}
}

// sites are how far each has come. More than a few are counted.
func sites(h query.Health) string {
	if len(h.Sites) == 0 {
		return "no site yet: data come with the first collector"
	}
	const most = 6
	var each []string
	for _, site := range h.Sites {
		closed := "no hour closed yet"
		if !site.ClosedUpTo.IsZero() {
			closed = "closed up to " + site.ClosedUpTo.UTC().Format("2006-01-02 15:04 UTC")
		}
		sample := "no sample"
		if site.Age >= 0 && !site.LastSample.IsZero() {
			sample = "last sample " + site.Age.Truncate(time.Second).String() + " ago"
		}
		each = append(each, site.Site+" "+closed+", "+sample)
	}
	more := ""
	if len(each) > most {
		more = fmt.Sprintf(" and %d more", len(each)-most)
		each = each[:most]
	}
	return fmt.Sprintf("%d sites: ", len(h.Sites)) + strings.Join(each, " | ") + more
}
