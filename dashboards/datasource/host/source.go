package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/config"
	"github.com/grafana/grafana-plugin-sdk-go/data"
	"github.com/grafana/grafana-plugin-sdk-go/genproto/pluginv2"
)

// Settings are those of one data source, as an administrator of Grafana saves them.
type Settings struct {
	UID  string
	Name string
	URL  string
	// JSON is jsonData: what anybody who may see the data source may read.
	JSON any
	// Secure is secureJsonData, decrypted as Grafana hands it to the backend and to nobody else.
	Secure map[string]string
	// Updated tells one version of the settings from the next: the backend keeps an instance until it changes.
	Updated time.Time
	// Grafana is its own configuration as the plugin may see it: feature toggles, the address of the application.
	Grafana map[string]string
}

// Source is a data source of the plugin, and who asks it.
type Source struct {
	plugin  *Plugin
	context backend.PluginContext
	headers map[string]string // by their canonical names
}

// Source configures a data source. Nobody asks yet: that is how alerting and public dashboards ask.
func (p *Plugin) Source(s Settings) (Source, error) {
	body, err := json.Marshal(s.JSON)
	if err != nil {
		return Source{}, fmt.Errorf("settings of data source %s: %w", s.UID, err)
	}
	updated := s.Updated
	if updated.IsZero() {
		updated = time.Unix(1_700_000_000, 0)
	}
	return Source{plugin: p, context: backend.PluginContext{
		OrgID:    1, //nolint:staticcheck // Grafana still sends it, and the audience of its token names it
		PluginID: PluginID, PluginVersion: "test", Namespace: "default",
		DataSourceInstanceSettings: &backend.DataSourceInstanceSettings{
			ID: 1, UID: s.UID, Type: PluginID, Name: s.Name, URL: s.URL, JSONData: body, DecryptedSecureJSONData: s.Secure, Updated: updated,
		},
		GrafanaConfig: config.NewGrafanaCfg(s.Grafana),
	}}, nil
}

// As returns the data source as this user asks it, with these headers of the request: X-Grafana-Id, Authorization, X-ID-Token.
func (s Source) As(user *backend.User, headers map[string]string) Source {
	s.context.User = user
	s.headers = map[string]string{}
	for name, value := range headers {
		s.headers[http.CanonicalHeaderKey(name)] = value
	}
	return s
}

// forwarded are the headers as all calls but resources carry them: three under their own names, all others with a prefix.
func (s Source) forwarded() map[string]string {
	headers := map[string]string{}
	for name, value := range s.headers {
		switch name {
		case backend.OAuthIdentityTokenHeaderName, backend.OAuthIdentityIDTokenHeaderName, backend.CookiesHeaderName:
			headers[name] = value
		default:
			headers["http_"+name] = value
		}
	}
	return headers
}

// Query asks all queries of a panel in one request. An answer may hold an error of its own.
func (s Source) Query(ctx context.Context, queries ...backend.DataQuery) (backend.Responses, error) {
	answer, err := s.plugin.data.QueryData(ctx, backend.ToProto().QueryDataRequest(&backend.QueryDataRequest{
		PluginContext: s.context, Headers: s.forwarded(), Queries: queries,
	}))
	if err != nil {
		return nil, err
	}
	decoded, err := backend.FromProto().QueryDataResponse(answer)
	if err != nil {
		return nil, err
	}
	return decoded.Responses, nil
}

// Health is what "Save & test" asks.
func (s Source) Health(ctx context.Context) (*backend.CheckHealthResult, error) {
	answer, err := s.plugin.diagnostics.CheckHealth(ctx, &pluginv2.CheckHealthRequest{
		PluginContext: backend.ToProto().PluginContext(s.context), Headers: s.forwarded(),
	})
	if err != nil {
		return nil, err
	}
	return backend.FromProto().CheckHealthResponse(answer), nil
}

// Resource is a call of the front end: editors and variables ask so. The address may carry a query.
func (s Source) Resource(ctx context.Context, method, path, address string, body []byte) (*backend.CallResourceResponse, error) {
	headers := map[string][]string{"Content-Type": {"application/json"}}
	for name, value := range s.headers {
		headers[name] = []string{value}
	}
	stream, err := s.plugin.resource.CallResource(ctx, backend.ToProto().CallResourceRequest(&backend.CallResourceRequest{
		PluginContext: s.context, Method: method, Path: path, URL: address, Body: body, Headers: headers,
	}))
	if err != nil {
		return nil, err
	}
	var whole *backend.CallResourceResponse
	for {
		part, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF) && whole != nil:
			return whole, nil
		case err != nil:
			return nil, fmt.Errorf("resource %s: %w", path, err)
		case whole == nil:
			whole = backend.FromProto().CallResourceResponse(part)
		default:
			whole.Body = append(whole.Body, part.Body...)
		}
	}
}

// Subscribe asks for a channel. Whether it may be had stands in the answer.
func (s Source) Subscribe(ctx context.Context, path string, body json.RawMessage) (*backend.SubscribeStreamResponse, error) {
	answer, err := s.plugin.stream.SubscribeStream(ctx, backend.ToProto().SubscribeStreamRequest(&backend.SubscribeStreamRequest{
		PluginContext: s.context, Path: path, Data: body, Headers: s.forwarded(),
	}))
	if err != nil {
		return nil, err
	}
	return backend.FromProto().SubscribeStreamResponse(answer), nil
}

// Run plays a channel until the context ends or the reader has enough. As in Grafana, frames after the first may come without their schema.
func (s Source) Run(ctx context.Context, path string, body json.RawMessage) iter.Seq2[*data.Frame, error] {
	return func(yield func(*data.Frame, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := s.plugin.stream.RunStream(ctx, backend.ToProto().RunStreamRequest(&backend.RunStreamRequest{
			PluginContext: s.context, Path: path, Data: body, Headers: s.forwarded(),
		}))
		if err != nil {
			yield(nil, err)
			return
		}
		var last *data.Frame
		for {
			packet, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(nil, err)
				return
			}
			frame, err := live(packet.Data, last)
			if !yield(frame, err) || err != nil {
				return
			}
			last = frame
		}
	}
}

// live decodes a packet of a channel. One that has rows only has the fields of the one before.
func live(packet []byte, before *data.Frame) (*data.Frame, error) {
	var parts struct {
		Schema json.RawMessage `json:"schema,omitempty"`
		Data   json.RawMessage `json:"data,omitempty"`
	}
	if err := json.Unmarshal(packet, &parts); err != nil {
		return nil, fmt.Errorf("packet of a channel: %w", err)
	}
	if parts.Schema == nil {
		if before == nil {
			return nil, errors.New("packet of a channel: rows came before any schema")
		}
		schema, err := data.FrameToJSON(before, data.IncludeSchemaOnly)
		if err != nil {
			return nil, err
		}
		var known struct {
			Schema json.RawMessage `json:"schema"`
		}
		if err := json.Unmarshal(schema, &known); err != nil {
			return nil, err
		}
		parts.Schema = known.Schema
	}
	whole, err := json.Marshal(parts)
	if err != nil {
		return nil, err
	}
	frame := &data.Frame{}
	if err := json.Unmarshal(whole, frame); err != nil {
		return nil, fmt.Errorf("packet of a channel: %w", err)
	}
	return frame, nil
}

// Metrics are the backend's own, as Grafana hands them to Prometheus.
func (p *Plugin) Metrics(ctx context.Context) (string, error) {
	answer, err := p.diagnostics.CollectMetrics(ctx, &pluginv2.CollectMetricsRequest{PluginContext: &pluginv2.PluginContext{PluginId: PluginID}})
	if err != nil {
		return "", err
	}
	return string(answer.GetMetrics().GetPrometheus()), nil
}
