package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/grafana/grafana-plugin-sdk-go/backend/grpcplugin"
	"github.com/grafana/grafana-plugin-sdk-go/genproto/pluginv2"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
)

// PluginID is that of the data source, as its plugin.json has it.
const PluginID = "wattledger-wattledger-datasource"

// Plugin is a backend that runs. Many may ask it at once.
type Plugin struct {
	client      *plugin.Client
	protocol    plugin.ClientProtocol
	data        pluginv2.DataClient
	diagnostics pluginv2.DiagnosticsClient
	resource    pluginv2.ResourceClient
	stream      pluginv2.StreamClient
}

// Build compiles the backend into a folder, under the name that Grafana looks for, and returns its path.
func Build(ctx context.Context, dir string) (string, error) {
	binary := filepath.Join(dir, fmt.Sprintf("gpx_wattledger_%s_%s", runtime.GOOS, runtime.GOARCH))
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", binary, "github.com/wattledger/wattledger/dashboards/datasource/pkg")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the plugin: %w: %s", err, out)
	}
	return binary, nil
}

// Start runs the binary and shakes hands. What the plugin logs goes to log, as lines of JSON; nil discards it. Stop ends it.
//
// The configuration is that of Grafana's pkg/plugins/backendplugin/grpcplugin/client.go: the SDK's cookie and protocol version, gRPC only,
// and an environment of Grafana's own making, of which the plugin has no need.
func Start(binary string, log io.Writer) (*Plugin, error) {
	if log == nil {
		log = io.Discard
	}
	services := plugin.PluginSet{
		"data": &grpcplugin.DataGRPCPlugin{}, "diagnostics": &grpcplugin.DiagnosticsGRPCPlugin{},
		"resource": &grpcplugin.ResourceGRPCPlugin{}, "stream": &grpcplugin.StreamGRPCPlugin{},
	}
	client := plugin.NewClient(&plugin.ClientConfig{
		Cmd: exec.Command(binary),
		HandshakeConfig: plugin.HandshakeConfig{
			ProtocolVersion: grpcplugin.ProtocolVersion, MagicCookieKey: grpcplugin.MagicCookieKey, MagicCookieValue: grpcplugin.MagicCookieValue,
		},
		VersionedPlugins: map[int]plugin.PluginSet{grpcplugin.ProtocolVersion: services},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		SkipHostEnv:      true,
		Logger:           hclog.New(&hclog.LoggerOptions{Name: "host", Output: log, Level: hclog.Debug, JSONFormat: true}),
	})
	p, err := dispense(client)
	if err != nil {
		client.Kill()
		return nil, fmt.Errorf("start plugin %s: %w", binary, err)
	}
	return p, nil
}

func dispense(client *plugin.Client) (*Plugin, error) {
	protocol, err := client.Client()
	if err != nil {
		return nil, err
	}
	p := &Plugin{client: client, protocol: protocol}
	return p, errors.Join(service(protocol, "data", &p.data), service(protocol, "diagnostics", &p.diagnostics),
		service(protocol, "resource", &p.resource), service(protocol, "stream", &p.stream))
}

// service finds one of the services that the plugin serves.
func service[T any](from plugin.ClientProtocol, name string, into *T) error {
	raw, err := from.Dispense(name)
	if err != nil {
		return fmt.Errorf("service %s: %w", name, err)
	}
	client, ok := raw.(T)
	if !ok {
		return fmt.Errorf("service %s is a %T", name, raw)
	}
	*into = client
	return nil
}

// PID is the process, for those who measure it.
func (p *Plugin) PID() int {
	if config := p.client.ReattachConfig(); config != nil {
		return config.Pid
	}
	return 0
}

// Ping asks whether the process still answers, as Grafana does to decide on a restart.
func (p *Plugin) Ping() error { return p.protocol.Ping() }

// Exited says that the process has ended.
func (p *Plugin) Exited() bool { return p.client.Exited() }

// Stop ends the process: it is asked to, and killed when it does not within two seconds.
func (p *Plugin) Stop() { p.client.Kill() }
