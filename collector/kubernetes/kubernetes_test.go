package kubernetes

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"

	"github.com/wattledger/wattledger/schemas/unit"
)

func TestEveryFormOfADeviceIDFindsItsDevice(t *testing.T) {
	f := func(id, want string) {
		t.Helper()
		d, ok := parseDeviceID(id)
		got := "-"
		if ok {
			got = fmt.Sprint(d.find(devices), d.replica)
		}
		if got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
	f("GPU-a", "[GPU-a] false")
	f("GPU-a::3", "[GPU-a] true")
	f("MIG-1", "[MIG-1] false")
	f("MIG-1::0", "[MIG-1] true")
	f("MIG-GPU-m/6/0", "[MIG-2] false")
	f("GPU-m", "[MIG-1 MIG-2] false") // a divided GPU is held by its instances
	f("nvidia0", "[GPU-b] false")     // by the device file, which is not the index
	f("nvidia2/gi5", "[MIG-1] false")
	f("nvidia1/vgpu2", "[GPU-a] true")
	f("nvidia2/gi6/vgpu0", "[MIG-2] true")
	f("nvidia7", "[] false")
	for _, bad := range []string{"", "GPU-", "nvidia", "nvidiax", "nvidia0/gix", "nvidia0/", "GPU-a::", "GPU-a::x", "MIG-GPU-m/6", "MIG-GPU-/1/0", "0", "nvidia0/vgpu", "nvidia99999999"} {
		f(bad, "-")
	}
}

func FuzzDeviceID(f *testing.F) {
	for _, s := range []string{"GPU-a", "GPU-a::3", "MIG-GPU-m/6/0", "nvidia2/gi6/vgpu0", "MIG-1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, id string) {
		if d, ok := parseDeviceID(id); ok {
			d.find(devices)
			if d.base == "" || (d.uuid == "") == (d.minor < 0) {
				t.Errorf("%q became %+v", id, d)
			}
		}
	})
}

func TestWithoutTheAPIServerHoldsHaveWhatTheKubeletKnows(t *testing.T) {
	n := startNode(t)
	s := open(t, n, APIConfig{URL: "none"})
	n.allocatable = []string{"GPU-b::0", "GPU-b::1", "GPU-b::2", "GPU-b::3", "GPU-a"}
	n.set(with("whole", "nvidia.com/gpu", "GPU-a"), with("mig", "nvidia.com/mig-1g.23gb", "MIG-1"), with("slice", "nvidia.com/gpu.shared", "GPU-b::2"),
		with("gke", "nvidia.com/gpu", "nvidia2/gi6"), with("cpu", "vendor.com/x", "GPU-a"), with("gone", "nvidia.com/gpu", "GPU-z"), with("odd", "nvidia.com/gpu", "?"))
	holds := ask(t, s)
	want := []string{"ns/gke MIG-2 0", "ns/mig MIG-1 0", "ns/slice GPU-b 4", "ns/whole GPU-a 0"}
	if got := brief(holds); !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if a := holds[0].Attributes; a["namespace"] != "ns" || a["pod"] != "whole" || a["container"] != "main" {
		t.Errorf("attributes are %v", a)
	}
	ask(t, s) // what was named is not named again
	for reason, want := range map[string]float64{"device": 1, "form": 1} {
		if got := testutil.ToFloat64(s.met.unplaced.WithLabelValues(reason)); got != want {
			t.Errorf("unplaced for %s is %v, want %v", reason, got, want)
		}
	}
	if !strings.Contains(s.Status(), "no API server") {
		t.Errorf("status is %q", s.Status())
	}
}

func TestAKubeletThatRestartsIsFoundAgain(t *testing.T) {
	n := startNode(t)
	s := open(t, n, APIConfig{URL: "none"})
	n.set(with("a", "nvidia.com/gpu", "GPU-a"))
	ask(t, s)
	n.stop()
	if _, err := s.Holds(t.Context(), devices); err == nil {
		t.Fatal("a kubelet that is away gave a statement")
	}
	os.Remove(n.socket)
	n.start()
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		st, err := s.Holds(t.Context(), devices)
		if err == nil && len(st.Holds) == 1 {
			break
		}
		if time.Since(begin) > 10*time.Second {
			t.Fatalf("not found again: %v", err)
		}
	}
}

// A pod lives 300 ms and no poll falls into its life. The watch tells of it, the kubelet is asked at once which device it has,
// and afterwards it is stated with its own start and end.
func TestAPodBetweenTwoPollsIsNotLost(t *testing.T) {
	f := func(withoutGet bool) {
		n, c := startNode(t), startCluster(t)
		n.withoutGet = withoutGet
		s := open(t, n, c.config())
		edges := run(t, s)
		until(t, "the watch", c.watching)
		ask(t, s)
		begun := time.Now()
		c.put("short", "u1", "Pending", time.Time{}, time.Time{})
		<-edges
		n.set(with("short", "nvidia.com/gpu", "GPU-a"))
		c.put("short", "u1", "Running", begun, time.Time{})
		<-edges
		n.set() // gone again
		time.Sleep(10 * time.Millisecond)
		c.put("short", "u1", "Succeeded", begun, begun.Add(300*time.Millisecond))
		<-edges
		holds := ask(t, s)
		if got := brief(holds); !slices.Equal(got, []string{"ns/short GPU-a 0 ended"}) {
			t.Fatalf("got %q", got)
		}
		h := holds[0]
		if h.End <= h.Start || h.End > unit.MicrosOf(time.Now()) || h.Start > unit.MicrosOf(begun) || h.Attributes["label.team"] != "vision" {
			t.Errorf("got %+v", h)
		}
		if (n.gets > 0) == withoutGet {
			t.Errorf("the kubelet was asked for one pod %d times", n.gets)
		}
	}
	f(false)
	f(true) // a kubelet without Get is asked for its list
}

func TestAPodThatHasEndedHoldsNothingThoughTheKubeletListsIt(t *testing.T) {
	n, c := startNode(t), startCluster(t)
	n.set(with("done", "nvidia.com/gpu", "GPU-a"), with("runs", "nvidia.com/gpu", "GPU-b"), with("evicted", "nvidia.com/mig-1g.23gb", "MIG-1"))
	begun := time.Now().Add(-time.Hour)
	c.put("done", "u1", "Failed", begun, begun.Add(time.Minute))
	c.put("runs", "u2", "Running", begun, time.Time{})
	c.put("evicted", "u4", "Failed", begun, time.Time{}) // nobody says since when: it is not made to have run until now
	s := open(t, n, c.config())
	run(t, s)
	until(t, "the watch", func() bool { return testutil.ToFloat64(s.met.watching) == 1 })
	holds := ask(t, s)
	if got := brief(holds); !slices.Equal(got, []string{"ns/done GPU-a 0 ended", "ns/runs GPU-b 0"}) {
		t.Fatalf("got %q", got)
	}
	if h := holds[0]; h.End != unit.MicrosOf(begun.Add(time.Minute).Truncate(time.Second)) {
		t.Errorf("ended at %v", h.End.Time())
	}
	// It makes room for a pod of the same name.
	c.put("done", "u3", "Running", begun.Add(2*time.Minute), time.Time{})
	until(t, "the second pod", func() bool {
		return slices.Equal(brief(ask(t, s)), []string{"ns/done GPU-a 0", "ns/done GPU-a 0 ended", "ns/runs GPU-b 0"})
	})
	if strings.Contains(s.Status(), "refuse") {
		t.Error(s.Status())
	}
}

func TestAWatchThatEndsOrExpiresIsMadeAnew(t *testing.T) {
	n, c := startNode(t), startCluster(t)
	s := open(t, n, c.config())
	run(t, s)
	until(t, "the watch", c.watching)
	lists := c.lists
	c.end() // goes on from the version it knows
	until(t, "the next watch", c.watching)
	if c.lists != lists {
		t.Error("a watch that ended as it should was followed by a list")
	}
	c.mu.Lock()
	c.gone = true
	c.mu.Unlock()
	c.end()
	until(t, "a list", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.lists > lists })
	until(t, "the watch after it", c.watching)
}

func TestRefusedAccessIsSaidAndHoldsNothingBack(t *testing.T) {
	n, c := startNode(t), startCluster(t)
	c.forbid = true
	n.set(with("a", "nvidia.com/gpu", "GPU-a"))
	s := open(t, n, c.config())
	run(t, s)
	until(t, "the refusal", func() bool { return strings.Contains(s.Status(), "refuses access") })
	st, err := s.Holds(t.Context(), devices)
	if err != nil || len(st.Holds) != 1 || st.UpTo != 0 {
		t.Errorf("got %+v, %v", st, err)
	}
	if testutil.ToFloat64(s.met.apiErrors.WithLabelValues("watch")) == 0 {
		t.Error("not counted")
	}
}

func TestAnAPIServerThatIsAwayHoldsBackWhatIsComplete(t *testing.T) {
	n, c := startNode(t), startCluster(t)
	n.set(with("a", "nvidia.com/gpu", "GPU-a"))
	s := open(t, n, c.config())
	run(t, s)
	until(t, "the watch", func() bool { return testutil.ToFloat64(s.met.watching) == 1 })
	if st, _ := s.Holds(t.Context(), devices); st.UpTo != 0 {
		t.Errorf("with a watch the statement is held at %v", st.UpTo.Time())
	}
	before := unit.MicrosOf(time.Now())
	c.server.CloseClientConnections()
	c.server.Close()
	until(t, "the loss", func() bool {
		return testutil.ToFloat64(s.met.watching) == 0 && strings.Contains(s.Status(), "does not answer")
	})
	st, err := s.Holds(t.Context(), devices)
	if err != nil || len(st.Holds) != 1 || st.UpTo < before {
		t.Errorf("got %+v, %v", st, err)
	}
	again, _ := s.Holds(t.Context(), devices)
	if again.UpTo != st.UpTo {
		t.Error("completeness went on without a watch")
	}
}

func TestClaimsOfDRADrivers(t *testing.T) {
	const v1 = `{"items":[{"spec":{"driver":"gpu.nvidia.com","nodeName":"node-1","pool":{"name":"node-1"},"devices":[
		{"name":"gpu-0","attributes":{"type":{"string":"gpu"},"uuid":{"string":"GPU-a"}}},
		{"name":"gpu-2-mig-1","attributes":{"type":{"string":"mig"},"uuid":{"string":"MIG-1"},"parentUUID":{"string":"GPU-m"}}}]}},
		{"spec":{"driver":"other.example","pool":{"name":"node-1"},"devices":[{"name":"x","attributes":{"uuid":{"string":"GPU-b"}}}]}}]}`
	const beta = `{"items":[{"spec":{"driver":"gpu.nvidia.com","pool":{"name":"node-1"},"devices":[
		{"name":"gpu-0","basic":{"attributes":{"uuid":{"string":"GPU-a"}}}},{"name":"gpu-2-mig-1","basic":{"attributes":{"uuid":{"string":"MIG-1"}}}}]}}]}`
	f := func(path, body string) {
		t.Helper()
		n, c := startNode(t), startCluster(t)
		c.slices[path] = body
		claim := func(pod, driver, device string) *podresources.PodResources {
			return &podresources.PodResources{Name: pod, Namespace: "ns", Containers: []*podresources.ContainerResources{{Name: "main", DynamicResources: []*podresources.DynamicResource{{
				ClaimName: "c-" + pod, ClaimNamespace: "ns", ClaimResources: []*podresources.ClaimResource{{DriverName: driver, PoolName: "node-1", DeviceName: device}},
			}}}}}
		}
		n.set(claim("p", "gpu.nvidia.com", "gpu-0"), claim("q", "gpu.nvidia.com", "gpu-2-mig-1"), claim("r", "other.example", "x"), claim("s", "gpu.nvidia.com", "gpu-9"))
		s := open(t, n, c.config())
		holds := ask(t, s)
		if got := brief(holds); !slices.Equal(got, []string{"ns/p GPU-a -1", "ns/q MIG-1 -1"}) {
			t.Fatalf("got %q", got)
		}
		if holds[0].Attributes["claim"] != "c-p" {
			t.Errorf("attributes are %v", holds[0].Attributes)
		}
		if testutil.ToFloat64(s.met.unplaced.WithLabelValues("claim")) != 1 {
			t.Error("a claim of no known device is not counted")
		}
	}
	f("/apis/resource.k8s.io/v1/resourceslices", v1)
	f("/apis/resource.k8s.io/v1beta1/resourceslices", beta)
}
