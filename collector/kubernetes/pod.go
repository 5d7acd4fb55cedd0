package kubernetes

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/wattledger/wattledger/schemas/unit"
)

// podObject is the part of a pod (core/v1) that is read.
type podObject struct {
	Metadata struct {
		Name              string            `json:"name"`
		Namespace         string            `json:"namespace"`
		UID               string            `json:"uid"`
		ResourceVersion   string            `json:"resourceVersion"`
		Labels            map[string]string `json:"labels"`
		CreationTimestamp string            `json:"creationTimestamp"`
	} `json:"metadata"`
	Spec struct {
		Containers     []containerSpec   `json:"containers"`
		InitContainers []containerSpec   `json:"initContainers"`
		ResourceClaims []json.RawMessage `json:"resourceClaims"`
	} `json:"spec"`
	Status struct {
		Phase                 string            `json:"phase"`
		StartTime             string            `json:"startTime"`
		ContainerStatuses     []containerStatus `json:"containerStatuses"`
		InitContainerStatuses []containerStatus `json:"initContainerStatuses"`
	} `json:"status"`
}

type containerSpec struct {
	Resources struct {
		Limits map[string]json.RawMessage `json:"limits"`
	} `json:"resources"`
}

type containerStatus struct {
	State struct {
		Running *struct {
			StartedAt string `json:"startedAt"`
		} `json:"running"`
		Terminated *struct {
			StartedAt  string `json:"startedAt"`
			FinishedAt string `json:"finishedAt"`
		} `json:"terminated"`
	} `json:"state"`
}

// pod is one that the API server told of, with the devices that the kubelet gave it.
type pod struct {
	namespace, name, uid string
	created              unit.Micros
	labels               map[string]string
	started              unit.Micros
	ended                unit.Micros // 0 while it runs
	noticed              unit.Micros // when its end was
	// unsure says that it was over when it was first seen and nobody tells since when: it is not stated, for a pod that was
	// evicted days ago would be made to have run until now.
	unsure bool
	claims []claim
}

// claim is a device of a pod, as the kubelet names it.
type claim struct {
	// id is the plugin's device id, or driver/pool/device of DRA. It tells the claims of a pod apart.
	id         string
	containers []string
	dra        *draDevice
	claimName  string
}

type draDevice struct{ pool, device string }

func instant(text string) unit.Micros {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || t.Year() < 2000 || t.Year() > 2100 {
		return 0
	}
	return unit.MicrosOf(t)
}

func (o *podObject) asksForGPUs(cfg Config) bool {
	if len(o.Spec.ResourceClaims) > 0 {
		return true
	}
	for _, c := range slices.Concat(o.Spec.Containers, o.Spec.InitContainers) {
		for name := range c.Resources.Limits {
			if cfg.gpuResource(name) {
				return true
			}
		}
	}
	return false
}

// terminal says that the pod is over: its devices are free, also where the kubelet still lists them.
func (o *podObject) terminal() bool {
	return o.Status.Phase == "Succeeded" || o.Status.Phase == "Failed"
}

// start is when the kubelet took the pod in, which is when it gave it its devices; failing that its first container's start.
func (o *podObject) start() unit.Micros {
	if t := instant(o.Status.StartTime); t != 0 {
		return t
	}
	var first unit.Micros
	take := func(text string) {
		if t := instant(text); t != 0 && (first == 0 || t < first) {
			first = t
		}
	}
	for _, s := range slices.Concat(o.Status.ContainerStatuses, o.Status.InitContainerStatuses) {
		if s.State.Running != nil {
			take(s.State.Running.StartedAt)
		}
		if s.State.Terminated != nil {
			take(s.State.Terminated.StartedAt)
		}
	}
	return first
}

// finish is when its last container finished, or when that was noticed if one did not say; then it is not told.
func (o *podObject) finish(noticed unit.Micros) (at unit.Micros, told bool) {
	var last unit.Micros
	for _, s := range o.Status.ContainerStatuses {
		if s.State.Terminated == nil || instant(s.State.Terminated.FinishedAt) == 0 {
			return noticed, false
		}
		last = max(last, instant(s.State.Terminated.FinishedAt))
	}
	start := o.start()
	switch {
	case last == 0:
		return noticed, false
	case last <= start:
		// Kubernetes cuts its times to seconds: it began and ended within one. It has ended by the next, and by now.
		return max(start+1, min(last+unit.Second, noticed)), true
	default:
		return min(last, noticed), true
	}
}

// maxLabels bounds what is kept of a pod's labels; of more, those that come first in order.
const maxLabels = 64

func (o *podObject) labels() map[string]string {
	if len(o.Metadata.Labels) <= maxLabels {
		return o.Metadata.Labels
	}
	out := make(map[string]string, maxLabels)
	for _, key := range slices.Sorted(maps.Keys(o.Metadata.Labels))[:maxLabels] {
		out[key] = o.Metadata.Labels[key]
	}
	return out
}

func newPod(o *podObject) *pod {
	m := &o.Metadata
	return &pod{namespace: m.Namespace, name: m.Name, uid: m.UID, created: instant(m.CreationTimestamp), labels: o.labels(), started: o.start()}
}

func (p *pod) attributes(c claim) map[string]string {
	out := map[string]string{"namespace": p.namespace, "pod": p.name, "container": strings.Join(c.containers, ",")}
	if c.claimName != "" {
		out["claim"] = c.claimName
	}
	for k, v := range p.labels {
		out["label."+k] = v
	}
	return out
}

func containsAll(s string, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}
