package host

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/backend/grpcplugin"
	"github.com/grafana/grafana-plugin-sdk-go/data"
	"github.com/prometheus/client_golang/prometheus"
)

// The test binary is the plugin, too: with the cookie in its environment it serves the SDK's services over what echoes its requests.
func TestMain(m *testing.M) {
	if os.Getenv(grpcplugin.MagicCookieKey) == grpcplugin.MagicCookieValue {
		prometheus.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "echo_up"}, func() float64 { return 1 })) //nolint:promlinter // the SDK gathers the default registry
		err := backend.Manage(PluginID, backend.ServeOpts{QueryDataHandler: echo{}, CheckHealthHandler: echo{}, CallResourceHandler: echo{}, StreamHandler: echo{}})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// echo answers with what it was handed.
type echo struct{}

func (echo) QueryData(_ context.Context, req *backend.QueryDataRequest) (*backend.QueryDataResponse, error) {
	answer := backend.NewQueryDataResponse()
	for _, q := range req.Queries {
		if strings.Contains(string(q.JSON), "refuse") {
			answer.Responses[q.RefID] = backend.ErrDataResponse(backend.StatusForbidden, "refused: nobody asks")
			continue
		}
		watts := data.NewField("power", data.Labels{"site": "north"}, []*float64{ptr(1.5), nil})
		watts.Config = &data.FieldConfig{Unit: "watt"}
		frame := data.NewFrame(string(q.JSON), data.NewField("time", nil, []time.Time{q.TimeRange.From.UTC(), q.TimeRange.To.UTC()}), watts)
		frame.Meta = &data.FrameMeta{Custom: map[string]any{
			"uid": req.PluginContext.DataSourceInstanceSettings.UID, "json": string(req.PluginContext.DataSourceInstanceSettings.JSONData),
			"secret": req.PluginContext.DataSourceInstanceSettings.DecryptedSecureJSONData["password"],
			"user":   login(req.PluginContext.User), "id": req.GetHTTPHeader("X-Grafana-Id"), "token": req.GetHTTPHeader("Authorization"),
			"points": q.MaxDataPoints, "interval": q.Interval.String(), "toggles": req.PluginContext.GrafanaConfig.Get("toggles"),
		}}
		answer.Responses[q.RefID] = backend.DataResponse{Frames: data.Frames{frame}}
	}
	return answer, nil
}

func (echo) CheckHealth(_ context.Context, req *backend.CheckHealthRequest) (*backend.CheckHealthResult, error) {
	return &backend.CheckHealthResult{Status: backend.HealthStatusOk, Message: login(req.PluginContext.User)}, nil
}

func (echo) CallResource(_ context.Context, req *backend.CallResourceRequest, sender backend.CallResourceResponseSender) error {
	head := fmt.Sprintf("%s %s %s %s ", req.Method, req.Path, req.URL, req.GetHTTPHeader("X-Grafana-Id"))
	return errors.Join(sender.Send(&backend.CallResourceResponse{Status: http.StatusTeapot, Body: []byte(head)}), sender.Send(&backend.CallResourceResponse{Body: req.Body}))
}

func (echo) SubscribeStream(_ context.Context, req *backend.SubscribeStreamRequest) (*backend.SubscribeStreamResponse, error) {
	if req.PluginContext.User == nil {
		return &backend.SubscribeStreamResponse{Status: backend.SubscribeStreamStatusPermissionDenied}, nil
	}
	return &backend.SubscribeStreamResponse{Status: backend.SubscribeStreamStatusOK}, nil
}

func (echo) PublishStream(context.Context, *backend.PublishStreamRequest) (*backend.PublishStreamResponse, error) {
	return &backend.PublishStreamResponse{Status: backend.PublishStreamStatusPermissionDenied}, nil
}

// RunStream sends one frame with its schema and then rows alone, as channels do.
func (echo) RunStream(ctx context.Context, req *backend.RunStreamRequest, sender *backend.StreamSender) error {
	for i := int64(0); ctx.Err() == nil; i++ {
		include := data.IncludeDataOnly
		if i == 0 {
			include = data.IncludeAll
		}
		if err := sender.SendFrame(data.NewFrame(req.Path, data.NewField("n", nil, []int64{i})), include); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func login(u *backend.User) string {
	if u == nil {
		return "nobody"
	}
	return u.Login
}

func ptr(f float64) *float64 { return &f }

// start runs this very binary as the plugin.
func start(t *testing.T, log *bytes.Buffer) *Plugin {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(binary, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

func source(t *testing.T, p *Plugin) Source {
	t.Helper()
	s, err := p.Source(Settings{UID: "wl", JSON: map[string]any{"tenant": "banque"}, Secure: map[string]string{"password": "swordfish"}, Grafana: map[string]string{"toggles": "idForwarding"}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAQueryArrivesAsAskedAndItsFramesComeBack(t *testing.T) {
	s := source(t, start(t, &bytes.Buffer{})).As(&backend.User{Login: "ada"}, map[string]string{"x-grafana-id": "signed", "authorization": "Bearer token"})
	from := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	answers, err := s.Query(t.Context(),
		backend.DataQuery{RefID: "A", JSON: []byte(`{"kind":"fleet"}`), MaxDataPoints: 700, Interval: 10 * time.Second, TimeRange: backend.TimeRange{From: from, To: from.Add(time.Hour)}},
		backend.DataQuery{RefID: "B", JSON: []byte(`{"kind":"refuse"}`)})
	if err != nil {
		t.Fatal(err)
	}
	if b := answers["B"]; b.Error == nil || b.Status != backend.StatusForbidden || !strings.Contains(b.Error.Error(), "nobody asks") {
		t.Errorf("B is %d %v, want a refusal with its reason", b.Status, b.Error)
	}
	frames := answers["A"].Frames
	if len(frames) != 1 || frames[0].Name != `{"kind":"fleet"}` || len(frames[0].Fields) != 2 {
		t.Fatalf("A has frames %v", frames)
	}
	times, watts := frames[0].Fields[0], frames[0].Fields[1]
	if got := times.At(1).(time.Time); !got.Equal(from.Add(time.Hour)) {
		t.Errorf("time is %s", got)
	}
	first, err := watts.NullableFloatAt(0)
	if err != nil || first == nil || math.Abs(*first-1.5) > 0 || watts.Config.Unit != "watt" || watts.Labels["site"] != "north" {
		t.Errorf("power is %v %v %v, %v", first, watts.Config, watts.Labels, err)
	}
	if gap, err := watts.NullableFloatAt(1); err != nil || gap != nil {
		t.Errorf("a gap is %v, %v", gap, err)
	}
	got, err := json.Marshal(frames[0].Meta.Custom)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"id":"signed","interval":"10s","json":"{\"tenant\":\"banque\"}","points":700,"secret":"swordfish","toggles":"idForwarding","token":"Bearer token","uid":"wl","user":"ada"}`
	if string(got) != want {
		t.Errorf("the plugin was handed\n%s, want\n%s", got, want)
	}
}

func TestHealthResourcesAndMetrics(t *testing.T) {
	p := start(t, &bytes.Buffer{})
	s := source(t, p)
	if h, err := s.Health(t.Context()); err != nil || h.Status != backend.HealthStatusOk || h.Message != "nobody" {
		t.Errorf("health is %v, %v", h, err)
	}
	r, err := s.As(&backend.User{Login: "ada"}, map[string]string{"X-Grafana-Id": "signed"}).Resource(t.Context(), http.MethodPost, "values", "values?dimension=site", []byte("body"))
	if err != nil || r.Status != http.StatusTeapot || string(r.Body) != "POST values values?dimension=site signed body" {
		t.Errorf("resource is %v, %v", r, err)
	}
	if m, err := p.Metrics(t.Context()); err != nil || !strings.Contains(m, "echo_up 1") {
		t.Errorf("metrics are %q, %v", m, err)
	}
}

func TestAChannelIsAskedForAndRead(t *testing.T) {
	s := source(t, start(t, &bytes.Buffer{}))
	if a, err := s.Subscribe(t.Context(), "live/a", nil); err != nil || a.Status != backend.SubscribeStreamStatusPermissionDenied {
		t.Errorf("nobody may subscribe, but got %v, %v", a, err)
	}
	s = s.As(&backend.User{Login: "ada"}, nil)
	if a, err := s.Subscribe(t.Context(), "live/a", nil); err != nil || a.Status != backend.SubscribeStreamStatusOK {
		t.Errorf("ada may subscribe, but got %v, %v", a, err)
	}
	var read []int64
	for frame, err := range s.Run(t.Context(), "live/a", nil) {
		if err != nil {
			t.Fatal(err)
		}
		read = append(read, frame.Fields[0].At(0).(int64))
		if len(read) == 3 {
			break
		}
	}
	if !slices.Equal(read, []int64{0, 1, 2}) {
		t.Errorf("read %v", read)
	}
}

func TestAPluginStopsAndIsSeenToHave(t *testing.T) {
	p := start(t, &bytes.Buffer{})
	if p.PID() == 0 || p.Ping() != nil || p.Exited() {
		t.Errorf("pid %d, ping %v, exited %v", p.PID(), p.Ping(), p.Exited())
	}
	p.Stop()
	if !p.Exited() {
		t.Error("it still runs")
	}
}

func TestWhatIsNoPluginIsRefused(t *testing.T) {
	if _, err := Start("/bin/true", nil); err == nil || !strings.Contains(err.Error(), "/bin/true") {
		t.Errorf("got %v, want an error that names the program", err)
	}
}
