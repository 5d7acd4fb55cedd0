package kubernetes

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/workload"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Source states which pods hold which devices. It is a workload.Source.
type Source struct {
	cfg        Config
	clock      agent.Clock
	log        *slog.Logger
	met        *metrics
	kubelet    *kubelet
	configured bool // there is a way to the API server

	mu       sync.Mutex      // guards what follows
	api      *api            // nil where there is no way, or it is not permitted
	pods     map[string]*pod // by UID
	synced   bool            // pods are those of the API server
	since    unit.Micros     // up to when they were
	status   string
	dra      map[draDevice]string
	draRead  unit.Micros
	replicas map[string]int
	counted  unit.Micros     // when replicas were
	unplaced map[string]bool // what has been complained of
}

// remember is how long a pod that has ended is stated with its end.
const remember = 15 * 60 * unit.Second

// New prepares a source; nothing is dialled before it is used. Close it when done.
func New(cfg Config, clock agent.Clock, log *slog.Logger, reg prometheus.Registerer) (*Source, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("kubernetes: %w", err)
	}
	if cfg.Node == "" {
		return nil, fmt.Errorf("kubernetes: node: empty; name the node as Kubernetes does")
	}
	k, err := newKubelet(cfg)
	if err != nil {
		return nil, err
	}
	s := &Source{
		cfg: cfg, clock: clock, log: log, met: newMetrics(reg), kubelet: k, pods: map[string]*pod{}, dra: map[draDevice]string{},
		unplaced: map[string]bool{}, status: "not asked yet",
	}
	if s.api, err = newAPI(cfg.API, os.Getenv); err != nil {
		k.conn.Close()
		return nil, fmt.Errorf("kubernetes: %w", err)
	}
	if s.configured = s.api != nil; !s.configured {
		s.status = "no API server is configured: holds have namespace, pod and container, no labels and no times of the scheduler"
	}
	return s, nil
}

// Close lets go of the kubelet.
func (s *Source) Close() error { return s.kubelet.conn.Close() }

// Name is kubernetes.
func (s *Source) Name() string { return "kubernetes" }

// Status says in a sentence what is known of pods, and why not more.
func (s *Source) Status() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// Holds asks the kubelet for all pods and adds what the API server has told of them.
func (s *Source) Holds(ctx context.Context, devices []agent.Device) (workload.Statement, error) {
	listed, err := s.kubelet.list(ctx)
	if err != nil {
		return workload.Statement{}, err
	}
	s.countReplicas(ctx)
	now := s.clock.Now()

	s.mu.Lock()
	defer s.mu.Unlock()
	var st workload.Statement
	stated := map[string]bool{}
	for _, l := range listed {
		claims := s.claimsOf(l)
		if len(claims) == 0 {
			continue
		}
		p := s.latest(l.GetNamespace(), l.GetName())
		if p == nil && s.synced {
			s.mu.Unlock()
			s.fetch(ctx, l.GetNamespace(), l.GetName())
			s.mu.Lock()
			p = s.latest(l.GetNamespace(), l.GetName())
		}
		if p == nil {
			p = &pod{namespace: l.GetNamespace(), name: l.GetName()}
		}
		p.add(claims)
		stated[p.uid] = p.uid != ""
		st.Holds = append(st.Holds, s.holds(ctx, p, devices)...)
	}
	for _, p := range s.sorted() {
		if len(p.claims) > 0 && !stated[p.uid] && p.ended != 0 {
			st.Holds = append(st.Holds, s.holds(ctx, p, devices)...)
		}
		if p.ended != 0 && p.noticed < now-remember {
			delete(s.pods, p.uid)
		}
	}
	if s.api != nil && !s.synced {
		st.UpTo = max(1, s.since) // what ended while nobody watched is still to be told
	}
	return st, nil
}

// latest is the pod of a name that runs, or the last that did. The lock is held.
func (s *Source) latest(namespace, name string) (best *pod) {
	for _, p := range s.sorted() {
		if p.namespace == namespace && p.name == name && (best == nil || p.ended == 0 || (best.ended != 0 && p.created >= best.created)) {
			best = p
		}
	}
	return best
}

func (s *Source) sorted() []*pod {
	out := make([]*pod, 0, len(s.pods))
	for _, p := range s.pods {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *pod) int {
		if a.created != b.created {
			return int(max(-1, min(1, a.created-b.created)))
		}
		if a.uid < b.uid {
			return -1
		}
		return 1
	})
	return out
}

// claimsOf are the devices that the kubelet gave a pod. A sidecar that uses its pod's device again does not hold it twice.
func (s *Source) claimsOf(l *podresources.PodResources) (out []claim) {
	add := func(c claim, container string) {
		for i := range out {
			if out[i].id == c.id {
				if !contains(out[i].containers, container) {
					out[i].containers = append(out[i].containers, container)
				}
				return
			}
		}
		c.containers = []string{container}
		out = append(out, c)
	}
	for _, c := range l.GetContainers() {
		for _, d := range c.GetDevices() {
			if !s.cfg.gpuResource(d.GetResourceName()) {
				continue
			}
			for _, id := range d.GetDeviceIds() {
				add(claim{id: id}, c.GetName())
			}
		}
		for _, r := range c.GetDynamicResources() {
			for _, x := range r.GetClaimResources() {
				if contains(s.cfg.Drivers, x.GetDriverName()) {
					d := draDevice{x.GetPoolName(), x.GetDeviceName()}
					add(claim{id: x.GetDriverName() + "/" + d.pool + "/" + d.device, dra: &d, claimName: r.GetClaimName()}, c.GetName())
				}
			}
		}
	}
	return out
}

// add keeps what is new; what a pod was given it keeps to its end, also when the kubelet has stopped to list it.
func (p *pod) add(claims []claim) {
	for _, c := range claims {
		if i := slices.IndexFunc(p.claims, func(x claim) bool { return x.id == c.id }); i >= 0 {
			p.claims[i] = c
		} else {
			p.claims = append(p.claims, c)
		}
	}
}

// holds are those of one pod. The lock is held, and let go while the API server is asked.
func (s *Source) holds(ctx context.Context, p *pod, devices []agent.Device) (out []workload.Hold) {
	if p.unsure {
		return nil
	}
	for _, c := range p.claims {
		h := workload.Hold{
			Ref: p.namespace + "/" + p.name, Key: p.namespace + "/" + p.name + "/" + c.id, Start: p.started, End: p.ended, Attributes: p.attributes(c),
		}
		var found []string
		reason := ""
		if c.dra != nil {
			s.mu.Unlock()
			uuid := s.uuidOf(ctx, *c.dra)
			s.mu.Lock()
			h.Replicas = workload.ByHolders // a claim may be shared by pods, and nobody says by how many
			if found = workload.LeavesOf(uuid, devices); uuid == "" {
				reason = "claim"
			}
		} else if id, ok := parseDeviceID(c.id); ok {
			found = id.find(devices)
			if id.replica {
				h.Replicas = workload.ByHolders
				if n := s.replicas[id.base]; n > 0 {
					h.Replicas = n
				}
			}
		} else {
			reason = "form"
		}
		if reason == "" && len(found) == 0 {
			reason = "device"
		}
		if reason != "" {
			s.complain(reason, h.Ref, c.id)
			continue
		}
		delete(s.unplaced, h.Ref+" "+c.id)
		for _, uuid := range found {
			h.Device = uuid
			out = append(out, h)
		}
	}
	return out
}

// maxUnplaced bounds what has been complained of; a node has some hundred pods.
const maxUnplaced = 1000

// complain counts and names what cannot be placed, once.
func (s *Source) complain(reason, ref, id string) {
	key := ref + " " + id
	if s.unplaced[key] {
		return
	}
	if len(s.unplaced) >= maxUnplaced {
		clear(s.unplaced)
	}
	s.unplaced[key] = true
	s.met.unplaced.WithLabelValues(reason).Inc()
	s.log.Warn("device of a pod not placed", "reason", reason, "scheduler_ref", ref, "device_id", id)
}

// countReplicas asks once a minute into how many parts plugins divide devices.
func (s *Source) countReplicas(ctx context.Context) {
	now := s.clock.Now()
	s.mu.Lock()
	due := s.counted == 0 || now >= s.counted+60*unit.Second
	s.mu.Unlock()
	if !due {
		return
	}
	count, err := s.kubelet.replicas(ctx)
	if err != nil {
		s.log.Warn("replicas of devices not known", "error", err)
		return
	}
	s.mu.Lock()
	s.counted = now
	if count != nil {
		s.replicas = count
	}
	s.mu.Unlock()
}
