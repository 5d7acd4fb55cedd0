package fleet

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const (
	nodesHeader = "sn,cpu_milli,memory_mib,gpu,model\n"
	podsHeader  = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time\n"
)

// play is a trace of these rows from second 0 on, for hours.
func play(nodes, pods string, hours int) (*Fleet, OpenBReport, error) {
	return OpenB(OpenBOptions{
		Nodes: strings.NewReader(nodesHeader + nodes), Pods: strings.NewReader(podsHeader + pods), Hours: hours, Start: start, Seed: 3,
	})
}

// drawTrace is a small trace with crowding, parts of GPUs, models asked for and pods of every fate.
func drawTrace(t *rapid.T) (nodes, pods string) {
	var b strings.Builder
	for i := range rapid.IntRange(1, 5).Draw(t, "nodes") {
		fmt.Fprintf(&b, "n%d,%d,%d,%d,%s\n", i, rapid.IntRange(1, 20).Draw(t, "cpu")*1000, rapid.IntRange(1, 20).Draw(t, "mem")*1024,
			rapid.IntRange(1, 4).Draw(t, "gpus"), rapid.SampledFrom(openbModelNames()).Draw(t, "model"))
	}
	nodes = b.String()
	b.Reset()
	for i := range rapid.IntRange(1, 40).Draw(t, "pods") {
		gpus, milli := rapid.IntRange(0, 4).Draw(t, "num"), 1000
		switch gpus {
		case 0:
			milli = 0
		case 1:
			milli = rapid.IntRange(1, 1000).Draw(t, "milli")
		}
		created := rapid.IntRange(0, 7000).Draw(t, "created")
		scheduled, deleted := "", ""
		at := created
		if rapid.IntRange(0, 5).Draw(t, "fate") > 0 {
			at += rapid.IntRange(0, 60).Draw(t, "wait")
			scheduled = fmt.Sprint(at)
		}
		if rapid.IntRange(0, 5).Draw(t, "ends") > 0 {
			deleted = fmt.Sprint(at + rapid.IntRange(0, 5000).Draw(t, "runs"))
		}
		fmt.Fprintf(&b, "p%d,%d,%d,%d,%d,%s,%s,%s,%d,%s,%s\n", i, rapid.IntRange(0, 8).Draw(t, "cpu")*500, rapid.IntRange(0, 8).Draw(t, "mem")*512,
			gpus, milli, rapid.SampledFrom([]string{"", "", "T4", "V100M16|V100M32", "P100|T4|A10|G2"}).Draw(t, "spec"),
			rapid.SampledFrom(openbClassNames()).Draw(t, "qos"), rapid.SampledFrom([]string{"Running", "Failed"}).Draw(t, "phase"),
			created, deleted, scheduled)
	}
	return nodes, b.String()
}

func TestPlacementHoldsWhatNodesHave(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes, pods := drawTrace(t)
		tr, err := readOpenB(OpenBOptions{Nodes: strings.NewReader(nodesHeader + nodes), Pods: strings.NewReader(podsHeader + pods)})
		if err != nil {
			t.Fatal(err)
		}
		if len(tr.bad) > 0 {
			t.Fatalf("refused: %s", tr.bad[0])
		}
		until := rapid.Int64Range(0, 8_000_000).Draw(t, "until")
		placed, noRoom := firstFit(tr.nodes, tr.pods, until)
		within := 0
		for _, p := range tr.pods {
			if p.start < until {
				within++
			}
		}
		if len(placed)+noRoom != within {
			t.Fatalf("%d placed and %d without room, of %d", len(placed), noRoom, within)
		}
		for _, pl := range placed {
			if len(pl.gpus) != pl.pod.gpus || !slices.IsSorted(pl.gpus) || len(slices.Compact(slices.Clone(pl.gpus))) != len(pl.gpus) {
				t.Fatalf("%s asked for %d GPUs and got %v", pl.pod.name, pl.pod.gpus, pl.gpus)
			}
			if model := tr.nodes[pl.node].model.name; len(pl.pod.spec) > 0 && !slices.Contains(pl.pod.spec, model) {
				t.Fatalf("%s wants %v and got %s", pl.pod.name, pl.pod.spec, model)
			}
			// Load rises only where a pod starts: what is held then, recounted from nothing.
			for i, n := range tr.nodes {
				cpu, mem, held := int64(0), int64(0), make([]int64, n.gpus)
				for _, other := range placed {
					if other.node != i || other.pod.start > pl.pod.start || other.pod.end <= pl.pod.start {
						continue
					}
					cpu, mem = cpu+other.pod.cpuMilli, mem+other.pod.memMiB
					for _, g := range other.gpus {
						held[g] += other.pod.milli
					}
				}
				if cpu > n.cpuMilli || mem > n.memMiB || slices.Max(held) > 1000 {
					t.Fatalf("node %s holds %d of %d CPU, %d of %d MiB and %v of its GPUs when %s starts", n.name, cpu, n.cpuMilli, mem, n.memMiB, held, pl.pod.name)
				}
			}
		}
	})
}

func TestAnyTraceMakesASoundFleet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes, pods := drawTrace(t)
		opts := func() OpenBOptions {
			return OpenBOptions{
				Nodes: strings.NewReader(nodesHeader + nodes), Pods: strings.NewReader(podsHeader + pods), Hours: 1, Start: start, Seed: 5, From: 1000,
			}
		}
		f, rep, err := OpenB(opts())
		if got := rep.NeverScheduled + rep.WithoutGPU + rep.NoTime + rep.NoRoom + rep.Earlier + rep.InWindow + rep.Later; got != rep.Pods {
			t.Fatalf("the fates add up to %d of %d pods: %+v", got, rep.Pods, rep)
		}
		if err != nil {
			if rep.InWindow != 0 {
				t.Fatal(err)
			}
			return // nothing runs in the window
		}
		sound(t, f)
		if rep.Allocations != len(f.Loads) || rep.PeakThousandths > int64(rep.GPUsPlayed)*1000 || rep.PeakPods > rep.InWindow || rep.PeakPods == 0 {
			t.Fatalf("report %+v for %d loads", rep, len(f.Loads))
		}
		g, again, err := OpenB(opts())
		if err != nil || g.Scenario() != f.Scenario() || !slices.Equal(allocations(g), allocations(f)) || g.Name != f.Name {
			t.Fatalf("the same trace gives another fleet (%v)", err)
		}
		if fmt.Sprint(again) != fmt.Sprint(rep) {
			t.Fatalf("the same trace gives another report: %+v and %+v", again, rep)
		}
	})
}

func TestFirstFitByHand(t *testing.T) {
	f := func(nodes, pods string, want ...string) {
		t.Helper()
		fleet, rep, err := play(nodes, pods, 1)
		if err != nil {
			t.Fatal(err)
		}
		if len(rep.Bad) > 0 {
			t.Fatalf("refused: %s", rep.Bad[0])
		}
		var got []string
		for _, l := range fleet.Loads {
			got = append(got, fmt.Sprintf("%s=%s/%d:%d", l.Workload, l.Node, l.GPU, l.Share))
		}
		if !slices.Equal(got, want) {
			t.Errorf("placed %v, want %v", got, want)
		}
	}
	two := "a,8000,8192,2,T4\nb,8000,8192,2,V100M32\n"
	// Parts pack onto the first GPU until it is full.
	f(two, "p,0,0,1,600,,LS,Running,1,,1\nq,0,0,1,500,,LS,Running,2,,2\nr,0,0,1,400,,LS,Running,3,,3\n", "p=a/0:600", "q=a/1:500", "r=a/0:400")
	// Whole GPUs want empty ones, on one node.
	f(two, "p,0,0,1,10,,LS,Running,1,,1\nq,0,0,2,1000,,LS,Running,2,,2\n", "p=a/0:10", "q=b/0:1000", "q=b/1:1000")
	// A model that is asked for.
	f(two, "p,0,0,1,1000,V100M16|V100M32,LS,Running,1,,1\n", "p=b/0:1000")
	// CPU and memory count too.
	f(two, "p,8000,1,1,1,,LS,Running,1,,1\nq,1000,1,1,1,,LS,Running,2,,2\n", "p=a/0:1", "q=b/0:1")
	f(two, "p,1,8192,1,1,,LS,Running,1,,1\nq,1,1,1,1,,LS,Running,2,,2\n", "p=a/0:1", "q=b/0:1")
	// What has ended makes room, whatever the order of the rows.
	f(two, "q,0,0,2,1000,T4,LS,Running,30,,30\np,0,0,2,1000,T4,LS,Failed,1,20,1\n", "p=a/0:1000", "p=a/1:1000", "q=a/0:1000", "q=a/1:1000")
}

func TestEveryPodHasAFate(t *testing.T) {
	fleet, rep, err := play("cpuonly,1000,1000,0,\na,8000,8192,2,T4\n", strings.Join([]string{
		"never,0,0,1,1000,,LS,Pending,5,9,",
		"plain,0,0,0,0,,LS,Running,5,9,5",
		"flash,0,0,1,1000,,LS,Failed,5,5,5",
		"early,0,0,1,1000,,LS,Failed,5,50,5",
		"runs,0,0,1,1000,,LS,Running,6,400,6",
		"open,0,0,1,500,,BE,Running,60,,60",
		"big,0,0,8,1000,,BE,Running,61,90,61",
		"late,0,0,1,1000,,BE,Running,4000,4500,4000",
	}, "\n")+"\n", 1)
	if err != nil {
		t.Fatal(err)
	}
	if rep.Pods != 8 || rep.NeverScheduled != 1 || rep.WithoutGPU != 1 || rep.NoTime != 1 || rep.NoRoom != 1 || rep.InWindow != 3 || rep.Later != 1 ||
		rep.NodesWithoutGPU != 1 || rep.Shared != 1 || rep.Open != 1 || rep.Clipped != 0 || rep.PeakPods != 2 || rep.PeakThousandths != 2000 {
		t.Errorf("report %+v", rep)
	}
	sound(t, fleet)
	opts := OpenBOptions{
		Nodes: strings.NewReader(nodesHeader + "a,8000,8192,4,T4\n"), From: 100, Hours: 1, Start: start,
		Pods: strings.NewReader(podsHeader + "gone,0,0,1,1000,,LS,Failed,5,50,5\nclip,0,0,1,1000,,LS,Failed,6,400,6\nlater,0,0,1,1000,,LS,Failed,6,9000,6\n"),
	}
	fleet, rep, err = OpenB(opts)
	if err != nil {
		t.Fatal(err)
	}
	if rep.Clipped != 2 || rep.Earlier != 1 || rep.Open != 1 || fleet.Loads[0].Start != start || fleet.Loads[1].End != 0 {
		t.Errorf("report %+v, first load %+v", rep, fleet.Loads[0].Allocation)
	}
	if length := fleet.Loads[0].End - start; length/1_000_000 != 300 {
		t.Errorf("clip ends %d µs after second 100, want 300 s and some ms", length)
	}
}

func TestBadRowsAreNamedAndKept(t *testing.T) {
	good := "ok,0,0,1,1000,,LS,Running,1,,1\n"
	f := func(row string, column int, words string) {
		t.Helper()
		_, rep, err := play("a,8000,8192,2,T4\n", row+"\n"+good, 1)
		if err != nil {
			t.Fatalf("%q: %v", row, err)
		}
		if len(rep.Bad) != 1 || rep.Pods != 1 {
			t.Fatalf("%q: %d bad and %d good rows, want one of each", row, len(rep.Bad), rep.Pods)
		}
		b := rep.Bad[0]
		if b.File != "pods.csv" || b.Line != 2 || b.Column != column || !strings.Contains(b.Problem, words) || b.Text != row {
			t.Errorf("%q: %s, kept %q; want line 2, column %d: …%s…", row, b, b.Text, column, words)
		}
	}
	f("p,x,0,1,1000,,LS,Running,1,,1", 3, `cpu_milli is "x"`)
	f("p,0,-1,1,1000,,LS,Running,1,,1", 5, "memory_mib")
	f("p,0,0,99,1000,,LS,Running,1,,1", 7, "num_gpu")
	f("p,0,0,1,1001,,LS,Running,1,,1", 9, "gpu_milli")
	f("p,0,0,1,0,,LS,Running,1,,1", 9, "gpu_milli is 0")
	f("p,0,0,2,500,,LS,Running,1,,1", 9, "only a single GPU")
	f("p,0,0,0,500,,LS,Running,1,,1", 9, "without a GPU")
	f("p,0,0,1,1000,,XX,Running,1,,1", 15, "known are LS, BE, Burstable, Guaranteed")
	f("p,0,0,1,1000,,LS,Running,9,5,9", 28, "lies before")
	f("p,0,0,1,1000,,LS,Running,9,,5", 29, "lies before creation_time")
	f("p,0,0,1,1000,,LS,Running,1,,1e3", 29, "scheduled_time")
	f("p p,0,0,1,1000,,LS,Running,1,,1", 1, "letters, digits")
	f("p,0,0,1,1000", 13, "5 values and the header 11")
	f(`p,"0,0,1,1000,,LS,Running,1,,1`, 31, `extraneous or missing "`)
	f("p\x00,0,0,1,1000,,LS,Running,1,,1", 1, "UTF-8")

	_, rep, err := play("a,8000,8192,2,T4\nb,1,1,2,H9\na,1,1,1,T4\n", good+good, 1)
	if err != nil || len(rep.Bad) != 3 || rep.Nodes != 1 || rep.Pods != 1 {
		t.Fatalf("%v, report %+v", err, rep)
	}
	if b := rep.Bad[0]; b.File != "nodes.csv" || b.Line != 3 || b.Column != 9 || !strings.Contains(b.Problem, "known are P100") {
		t.Errorf("unknown model: %s", b)
	}
	if b := rep.Bad[1]; b.Line != 4 || b.Problem != "node a stands there twice" {
		t.Errorf("node twice: %s", b)
	}
	if b := rep.Bad[2]; b.Line != 3 || b.Problem != "pod ok stands there twice" {
		t.Errorf("pod twice: %s", b)
	}
}

func TestFilesThatAreNoTrace(t *testing.T) {
	f := func(nodes, pods, words string) {
		t.Helper()
		_, _, err := OpenB(OpenBOptions{Nodes: strings.NewReader(nodes), Pods: strings.NewReader(pods), Hours: 1, Start: start})
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v, want …%s…", err, words)
		}
	}
	f("", "", "nodes.csv: empty; it needs a header with sn,cpu_milli,memory_mib,gpu,model")
	f("a,b,c\n", "", "nodes.csv, line 1: the header \"a,b,c\" has no column sn")
	f("sn,sn,cpu_milli,memory_mib,gpu,model\n", "", "names column sn twice")
	f(nodesHeader, "", "no node with a GPU")
	f(nodesHeader+"a,1,1,1,H9\n", "", "the first row refused: nodes.csv, line 2, column 9")
	f(nodesHeader+"a,1,1,1,T4\n", podsHeader, "pods.csv: no pod")
	f(nodesHeader+"a,1,1,1,T4\n", podsHeader+"p,0,0,1,1000,,LS,Running,8000,,8000\n", "pods are scheduled from 8000 to 8000")
	f("\x1f\x8bnot really", "", "nodes.csv: unpack")
	f(nodesHeader+strings.Repeat("x", maxLine+10), "", "nodes.csv, line 2: longer than")

	_, _, err := OpenB(OpenBOptions{From: -1, MaxNodes: -1, MaxSeries: -1, Start: 7})
	for _, words := range []string{"no node file", "no pod file", "from -1", "0 hours", "start 7", "-1 nodes", "-1 series"} {
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v does not name %q", err, words)
		}
	}
}

// Order and further columns, a byte-order mark, carriage returns, quotes and gzip change nothing but the name, which holds a
// digest of the bytes.
func TestTheSameTraceInOtherClothes(t *testing.T) {
	plain, _, err := play("a,8000,8192,2,T4\n", "p,0,0,1,500,T4,LS,Running,1,9,1\n", 1)
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	fmt.Fprint(z, "\uFEFFmodel,extra,gpu,sn,memory_mib,cpu_milli\r\nT4,\"1,2\",2,\"a\",8192,8000\r\n")
	z.Close()
	dressed, rep, err := OpenB(OpenBOptions{Nodes: &packed, Pods: strings.NewReader(podsHeader + "p,0,0,1,500,T4,LS,Running,1,9,1"), Hours: 1, Start: start, Seed: 3})
	if err != nil || len(rep.Bad) > 0 {
		t.Fatal(err, rep.Bad)
	}
	if !slices.Equal(allocations(plain), allocations(dressed)) {
		t.Errorf("%v and %v", allocations(plain), allocations(dressed))
	}
	if plain.Name == dressed.Name {
		t.Errorf("two files are both called %q", plain.Name)
	}
}

func TestTenantsAreThoseOfTheClass(t *testing.T) {
	for i := range openbClasses {
		c, seen := &openbClasses[i], map[string]bool{}
		for range 2000 {
			id := c.tenant(fmt.Sprint("pod-", rand.Uint64()))
			if !strings.HasPrefix(id, "openb-"+c.code+"-") {
				t.Fatalf("a pod of %s goes to %s", c.qos, id)
			}
			seen[id] = true
		}
		if len(seen) != len(c.weights) {
			t.Errorf("%s: %d tenants among 2000 pods, want %d", c.qos, len(seen), len(c.weights))
		}
	}
	if n := len(openbTenants()); n != 12 {
		t.Errorf("%d tenants, want 12", n)
	}
}

func FuzzOpenB(f *testing.F) {
	f.Add([]byte(nodesHeader+"a,8000,8192,2,T4\n"), []byte(podsHeader+"p,0,0,1,500,T4,LS,Running,1,9,1\n"), []byte(nil))
	f.Add([]byte(nodesHeader+"\"a\",1,1,1,G2"), []byte(podsHeader+"\np,,\n"), []byte("value,timestamp_anon,container_ip\n1,2,3\n"))
	f.Fuzz(func(t *testing.T, nodes, pods, duty []byte) {
		opts := OpenBOptions{Nodes: bytes.NewReader(nodes), Pods: bytes.NewReader(pods), Hours: 3, Start: start, Seed: 1}
		if len(duty) > 0 {
			opts.Duty = bytes.NewReader(duty)
		}
		fleet, rep, err := OpenB(opts)
		for _, b := range rep.Bad {
			if b.Line < 2 || b.Column < 1 || b.Problem == "" {
				t.Errorf("bad row without a place: %+v", b)
			}
		}
		if err == nil {
			sound(t, fleet)
		}
	})
}
