package kubernetes

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"
)

// Config says where the kubelet and the API server are.
type Config struct {
	// Enabled asks the kubelet of this node.
	Enabled bool `yaml:"enabled"`
	// Socket is the kubelet's PodResources socket.
	Socket string `yaml:"socket"`
	// Node is the node's name in Kubernetes; the collector's node name by default.
	Node string `yaml:"node"`
	// Resources are names of extended resources that are GPUs, besides nvidia.com/gpu and nvidia.com/mig-*: what a plugin that
	// renames shared devices calls them, such as nvidia.com/gpu.shared.
	Resources []string `yaml:"resources"`
	// Drivers are DRA drivers whose devices are GPUs.
	Drivers []string `yaml:"drivers"`
	// Timeout bounds one call of the kubelet.
	Timeout time.Duration `yaml:"timeout"`
	// API is the way to the API server.
	API APIConfig `yaml:"api"`
}

// APIConfig is the way to the API server. Left empty within a cluster, the pod's own service account is used; elsewhere, and
// with url none, there is no access, and holds have neither labels nor the scheduler's times.
type APIConfig struct {
	// URL is the API server's (https://kubernetes.default.svc), or none.
	URL string `yaml:"url"`
	// TokenFile holds a bearer token. It is read again for each request, as tokens are renewed.
	TokenFile string `yaml:"token_file"`
	// CAFile holds the certificates that the API server's is signed by; the system's when empty.
	CAFile string `yaml:"ca_file"`
}

// DefaultConfig is for a kubelet and a cluster as they are installed.
func DefaultConfig() Config {
	return Config{
		Socket: "/var/lib/kubelet/pod-resources/kubelet.sock", Drivers: []string{"gpu.nvidia.com"}, Timeout: 10 * time.Second,
	}
}

// Validate reports every fault at once.
func (c Config) Validate() error {
	if !c.Enabled {
		return nil
	}
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if !filepath.IsAbs(c.Socket) {
		bad("socket: %q; write the whole path of the kubelet's socket", c.Socket)
	}
	for _, r := range c.Resources {
		if !strings.Contains(r, "/") {
			bad("resources: %q has no domain; write it as in nvidia.com/gpu.shared", r)
		}
	}
	for _, d := range c.Drivers {
		if d == "" {
			bad("drivers: one is empty")
		}
	}
	if c.Timeout < 100*time.Millisecond || c.Timeout > time.Minute {
		bad("timeout: %v; must lie between 100ms and 1m", c.Timeout)
	}
	if c.API.URL != "" && c.API.URL != "none" {
		if u, err := url.Parse(c.API.URL); err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" {
			bad("api.url: %q; write it as https://HOST:PORT, or none", c.API.URL)
		} else if u.Scheme == "http" && c.API.TokenFile != "" {
			bad("api.url: %q would send a token unencrypted; use https", c.API.URL)
		}
	}
	return errors.Join(faults...)
}

func (c Config) gpuResource(name string) bool {
	if name == "nvidia.com/gpu" || strings.HasPrefix(name, "nvidia.com/mig-") {
		return true
	}
	for _, r := range c.Resources {
		if r == name {
			return true
		}
	}
	return false
}
