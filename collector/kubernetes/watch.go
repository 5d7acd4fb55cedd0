package kubernetes

import (
	"context"
	"errors"
	"time"

	"github.com/wattledger/wattledger/schemas/unit"
)

// Run watches the pods of this node at the API server and tells of each that begins or ends.
func (s *Source) Run(ctx context.Context, changed func(at unit.Micros)) error {
	if !s.configured {
		<-ctx.Done()
		return ctx.Err()
	}
	s.mu.Lock()
	api := s.api
	s.since = s.clock.Now()
	s.mu.Unlock()
	wait := time.Second
	for {
		err := s.follow(ctx, api, changed)
		s.met.watching.Set(0)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		wasUp := s.lost(err, api)
		switch {
		case errors.Is(err, errNoAccess):
			wait = time.Minute
		case wasUp:
			wait = time.Second
		default:
			wait = min(2*wait, 30*time.Second)
		}
		if _, err := s.clock.Wait(ctx, s.clock.Now()+unit.Micros(wait.Microseconds()), nil); err != nil {
			return err
		}
	}
}

// lost notes that the pods are not watched now, and says whether they were. What is not permitted holds nothing up: it will
// not come.
func (s *Source) lost(err error, api *api) (wasUp bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wasUp = s.synced
	if wasUp {
		s.since = s.clock.Now()
	}
	s.synced = false
	if errors.Is(err, errExpired) {
		return wasUp // as it must be after a quiet time; the next list makes it good
	}
	s.met.apiErrors.WithLabelValues("watch").Inc()
	s.log.Warn("pods not watched", "error", err)
	s.api = api
	s.status = "the API server does not answer: labels and times of new pods are missing: " + err.Error()
	if errors.Is(err, errNoAccess) {
		s.api = nil
		s.status = "the API server refuses access: holds have namespace, pod and container, no labels and no times of the scheduler: " + err.Error()
	}
	return wasUp
}

// follow lists the pods and then watches them, until that fails. A server ends a watch every few minutes, and the next goes on
// from there.
func (s *Source) follow(ctx context.Context, api *api, changed func(at unit.Micros)) error {
	listed := map[string]bool{}
	version, err := api.pods(ctx, s.cfg.Node, func(o *podObject) {
		listed[o.Metadata.UID] = true
		s.take(ctx, "LISTED", o, changed)
	})
	if err != nil {
		return err
	}
	s.gone(listed, changed)
	for {
		begun := s.clock.Steady()
		version, err = api.watch(ctx, s.cfg.Node, version, func() { s.up(api) }, func(kind string, o *podObject) { s.take(ctx, kind, o, changed) })
		if err != nil {
			return err
		}
		if rest := begun + unit.Second - s.clock.Steady(); rest > 0 { // one that ends each watch at once is not asked in a loop
			if _, err := s.clock.Wait(ctx, s.clock.Now()+rest, nil); err != nil {
				return err
			}
		}
	}
}

// up says that the pods known are those that there are.
func (s *Source) up(api *api) {
	s.mu.Lock()
	s.synced, s.api, s.status = true, api, "pods are watched at the API server"
	s.mu.Unlock()
	s.met.watching.Set(1)
}

// gone ends the pods that a list no longer has.
func (s *Source) gone(listed map[string]bool, changed func(unit.Micros)) {
	now := s.clock.Now()
	s.mu.Lock()
	var ended bool
	for uid, p := range s.pods {
		if !listed[uid] && p.ended == 0 {
			p.ended, p.noticed, ended = now, now, true
		}
	}
	s.mu.Unlock()
	if ended {
		changed(now)
	}
}

// take learns of one pod. Of a pod that has GPUs, and of which it is not known which, the kubelet is asked at once: it may be
// gone before the next poll.
func (s *Source) take(ctx context.Context, kind string, o *podObject, changed func(unit.Micros)) {
	m := &o.Metadata
	s.mu.Lock()
	_, known := s.pods[m.UID]
	s.mu.Unlock()
	if m.UID == "" || m.Name == "" || (!known && !o.asksForGPUs(s.cfg)) {
		return
	}
	now := s.clock.Now()
	over := kind == "DELETED" || o.terminal()
	s.mu.Lock()
	p, known := s.pods[m.UID]
	if !known {
		if over && kind == "LISTED" {
			// It ended before it was known; the tracker may know it from before a restart.
			if t, _ := o.finish(now); t < now-remember {
				s.mu.Unlock()
				return
			}
		}
		p = newPod(o)
		s.pods[m.UID] = p
	}
	p.labels = o.labels()
	if t := o.start(); t != 0 {
		p.started = t
	}
	begins := !known && !over
	ends := over && p.ended == 0
	_, told := o.finish(now)
	if ends && !known && kind == "LISTED" && !told {
		p.unsure = true
	}
	ask := len(p.claims) == 0 && (p.started != 0 || over) && p.ended == 0 && !p.unsure
	s.mu.Unlock()

	if ask {
		s.askFor(ctx, p)
	}
	s.mu.Lock()
	at := unit.Micros(0)
	if ends {
		p.ended, _ = o.finish(now)
		p.noticed, at = now, p.ended
		if len(p.claims) == 0 && p.started != 0 && kind != "LISTED" {
			s.met.unseen.Inc()
			s.log.Warn("pod ended before its devices were known", "scheduler_ref", p.namespace+"/"+p.name, "uid", p.uid)
		}
	}
	s.mu.Unlock()
	if begins || ends || ask {
		changed(at)
	}
}

// askFor learns from the kubelet what it gave to one pod.
func (s *Source) askFor(ctx context.Context, p *pod) {
	l, err := s.kubelet.get(ctx, p.namespace, p.name)
	if err != nil {
		s.log.Warn("devices of a pod not known yet", "scheduler_ref", p.namespace+"/"+p.name, "error", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if l != nil && s.latest(p.namespace, p.name) == p {
		p.add(s.claimsOf(l))
	}
}

// fetch asks the API server for a pod that the kubelet has and the watch has not told of yet.
func (s *Source) fetch(ctx context.Context, namespace, name string) {
	s.mu.Lock()
	api := s.api
	s.mu.Unlock()
	if api == nil {
		return
	}
	o, err := api.pod(ctx, namespace, name)
	if err != nil {
		if !errors.Is(err, errNotFound) {
			s.met.apiErrors.WithLabelValues("pod").Inc()
		}
		return
	}
	now := s.clock.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if uid := o.Metadata.UID; s.pods[uid] == nil && uid != "" {
		p := newPod(o)
		if o.terminal() { // the kubelet still lists it
			told := false
			p.ended, told = o.finish(now)
			p.noticed, p.unsure = now, !told
		}
		s.pods[uid] = p
	}
}
