package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/wallclock"
	"github.com/wattledger/wattledger/collector/workload"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// node is a kubelet: the kubelet's own server interface over a unix socket.
type node struct {
	podresources.UnimplementedPodResourcesListerServer
	t      *testing.T
	socket string
	server *grpc.Server

	mu          sync.Mutex
	pods        []*podresources.PodResources
	allocatable []string
	withoutGet  bool
	gets, lists int
}

func startNode(t *testing.T) *node {
	n := &node{t: t, socket: filepath.Join(t.TempDir(), "kubelet.sock")}
	n.start()
	t.Cleanup(n.stop)
	return n
}

func (n *node) start() {
	l, err := net.Listen("unix", n.socket)
	if err != nil {
		n.t.Fatal(err)
	}
	n.server = grpc.NewServer()
	podresources.RegisterPodResourcesListerServer(n.server, n)
	go n.server.Serve(l)
}

func (n *node) stop() { n.server.Stop() }

func (n *node) set(pods ...*podresources.PodResources) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pods = pods
}

func (n *node) List(context.Context, *podresources.ListPodResourcesRequest) (*podresources.ListPodResourcesResponse, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lists++
	return &podresources.ListPodResourcesResponse{PodResources: n.pods}, nil
}

func (n *node) Get(_ context.Context, r *podresources.GetPodResourcesRequest) (*podresources.GetPodResourcesResponse, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.withoutGet {
		return nil, errors.New("PodResources API Get method disabled") // what a kubelet says whose gate is off
	}
	n.gets++
	for _, p := range n.pods {
		if p.Name == r.PodName && p.Namespace == r.PodNamespace {
			return &podresources.GetPodResourcesResponse{PodResources: p}, nil
		}
	}
	return nil, fmt.Errorf("pod %s in namespace %s not found", r.PodName, r.PodNamespace)
}

func (n *node) GetAllocatableResources(context.Context, *podresources.AllocatableResourcesRequest) (*podresources.AllocatableResourcesResponse, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return &podresources.AllocatableResourcesResponse{Devices: []*podresources.ContainerDevices{{ResourceName: "nvidia.com/gpu", DeviceIds: n.allocatable}}}, nil
}

func with(name, resource string, ids ...string) *podresources.PodResources {
	return &podresources.PodResources{Name: name, Namespace: "ns", Containers: []*podresources.ContainerResources{
		{Name: "main", Devices: []*podresources.ContainerDevices{
			{ResourceName: resource, DeviceIds: ids}, {ResourceName: "vendor.com/nic", DeviceIds: []string{"eth0"}},
		}},
	}}
}

var devices = []agent.Device{
	{Device: record.Device{UUID: "GPU-a", Kind: record.KindGPU, Index: 0}, File: "nvidia1"},
	{Device: record.Device{UUID: "GPU-b", Kind: record.KindGPU, Index: 1}, File: "nvidia0"},
	{Device: record.Device{UUID: "GPU-m", Kind: record.KindGPU, Index: 2}, File: "nvidia2"},
	{Device: record.Device{UUID: "MIG-1", Parent: "GPU-m", Kind: record.KindMIG, Index: 5}, Profile: "1g.23gb"},
	{Device: record.Device{UUID: "MIG-2", Parent: "GPU-m", Kind: record.KindMIG, Index: 6}, Profile: "3g.90gb"},
}

func open(t *testing.T, n *node, api APIConfig) *Source {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Enabled, cfg.Socket, cfg.Node, cfg.API, cfg.Timeout = true, n.socket, "node-1", api, 5*time.Second
	cfg.Resources = []string{"nvidia.com/gpu.shared"}
	s, err := New(cfg, wallclock.Clock{}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func ask(t *testing.T, s *Source) []workload.Hold {
	t.Helper()
	st, err := s.Holds(t.Context(), devices)
	if err != nil {
		t.Fatal(err)
	}
	return st.Holds
}

// brief is what a hold says, in a line.
func brief(holds []workload.Hold) (out []string) {
	for _, h := range holds {
		state := ""
		if h.End != 0 {
			state = " ended"
		}
		out = append(out, fmt.Sprintf("%s %s %d%s", h.Ref, h.Device, h.Replicas, state))
	}
	slices.Sort(out)
	return out
}

// cluster is an API server: lists and watches of one node's pods, and resource slices.
type cluster struct {
	t       *testing.T
	server  *httptest.Server
	mu      sync.Mutex
	pods    map[string]map[string]any
	watches []chan string
	version int
	forbid  bool
	gone    bool
	slices  map[string]string // by path
	lists   int
}

func startCluster(t *testing.T) *cluster {
	c := &cluster{t: t, pods: map[string]map[string]any{}, version: 1, slices: map[string]string{}}
	c.server = httptest.NewTLSServer(c)
	t.Cleanup(func() {
		c.end()
		c.server.Close()
	})
	return c
}

func (c *cluster) config() APIConfig {
	dir := c.t.TempDir()
	ca, token := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "token")
	os.WriteFile(ca, pemOf(c.server), 0o600)
	os.WriteFile(token, []byte("secret\n"), 0o600)
	return APIConfig{URL: c.server.URL, CAFile: ca, TokenFile: token}
}

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	q := r.URL.Query()
	switch {
	case r.Header.Get("Authorization") != "Bearer secret" || c.forbid:
		c.mu.Unlock()
		http.Error(w, `{"kind":"Status","code":403,"message":"pods is forbidden"}`, http.StatusForbidden)
	case strings.HasSuffix(r.URL.Path, "/resourceslices"):
		body, ok := c.slices[r.URL.Path]
		c.mu.Unlock()
		if !ok {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, body)
	case strings.HasPrefix(r.URL.Path, "/api/v1/namespaces/ns/pods/"):
		p, ok := c.pods[strings.TrimPrefix(r.URL.Path, "/api/v1/namespaces/ns/pods/")]
		c.mu.Unlock()
		if !ok {
			http.NotFound(w, r)
			return
		}
		json.NewEncoder(w).Encode(p)
	case r.URL.Path != "/api/v1/pods" || q.Get("fieldSelector") != "spec.nodeName=node-1":
		c.mu.Unlock()
		http.Error(w, "not served", http.StatusBadRequest)
	case q.Get("watch") == "":
		items := []any{}
		for _, p := range c.pods {
			items = append(items, p)
		}
		c.lists++
		body := map[string]any{"metadata": map[string]any{"resourceVersion": fmt.Sprint(c.version)}, "items": items}
		c.mu.Unlock()
		json.NewEncoder(w).Encode(body)
	default:
		if c.gone {
			c.gone = false
			c.mu.Unlock()
			fmt.Fprintln(w, `{"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old resource version"}}`)
			return
		}
		events := make(chan string, 100)
		c.watches = append(c.watches, events)
		c.mu.Unlock()
		w.(http.Flusher).Flush()
		for {
			select {
			case e, open := <-events:
				if !open {
					return
				}
				fmt.Fprintln(w, e)
				w.(http.Flusher).Flush()
			case <-r.Context().Done():
				return
			}
		}
	}
}

// end ends the watches, as the server does every few minutes.
func (c *cluster) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.watches {
		close(w)
	}
	c.watches = nil
}

func (c *cluster) watching() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.watches) > 0
}

// put makes or changes a pod and tells those who watch.
func (c *cluster) put(name, uid, phase string, begun, finished time.Time) {
	status := map[string]any{"phase": phase}
	if !begun.IsZero() {
		status["startTime"] = begun.UTC().Format(time.RFC3339)
	}
	if !finished.IsZero() {
		status["containerStatuses"] = []any{map[string]any{"name": "main", "state": map[string]any{
			"terminated": map[string]any{"startedAt": begun.UTC().Format(time.RFC3339), "finishedAt": finished.UTC().Format(time.RFC3339)},
		}}}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.version++
	kind := "MODIFIED"
	if c.pods[name] == nil {
		kind = "ADDED"
	}
	c.pods[name] = map[string]any{
		"metadata": map[string]any{
			"name": name, "namespace": "ns", "uid": uid, "resourceVersion": fmt.Sprint(c.version), "creationTimestamp": begun.UTC().Format(time.RFC3339),
			"labels": map[string]string{"team": "vision"},
		},
		"spec": map[string]any{"containers": []any{map[string]any{
			"name": "main", "resources": map[string]any{"limits": map[string]string{"nvidia.com/gpu": "1"}},
		}}},
		"status": status,
	}
	c.tell(kind, c.pods[name])
}

func (c *cluster) tell(kind string, p any) {
	line, _ := json.Marshal(map[string]any{"type": kind, "object": p})
	for _, w := range c.watches {
		w <- string(line)
	}
}

func run(t *testing.T, s *Source) (edges chan unit.Micros) {
	ctx, cancel := context.WithCancel(context.Background())
	edges = make(chan unit.Micros, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx, func(at unit.Micros) { edges <- at })
	}()
	t.Cleanup(func() { cancel(); <-done })
	return edges
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for begin := time.Now(); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > 10*time.Second {
			t.Fatal("still waiting: " + what)
		}
	}
}
