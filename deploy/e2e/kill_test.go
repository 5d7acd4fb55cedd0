package e2e

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const interrupt = syscall.SIGINT

// childPID is the process that runs as a service of a demo now; 0 if none does.
func childPID(data, name string) int {
	b, err := os.ReadFile(filepath.Join(data, "run", name+".pid"))
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return pid
}

// killing kills services of a demo at random instants until every hour is closed, each at most so often that the demo does
// not give up on it, and says how often it did.
func killing(t *testing.T, r *running, data string, random *rand.Rand, pause time.Duration, most int) map[string]int {
	t.Helper()
	kills := map[string]int{}
	r.until("the play begins", time.Minute, func() bool {
		return childPID(data, "ingest") != 0 && strings.Contains(r.err.String(), "Start broker, engine and ingest done")
	})
	for {
		wait := time.After(pause/4 + time.Duration(random.Int64N(int64(pause))))
		for waiting := true; waiting; {
			select {
			case <-r.ended:
				return kills
			case <-wait:
				waiting = false
			case <-time.After(5 * time.Millisecond):
				if strings.Contains(r.err.String(), "Close hours done") {
					return kills
				}
			}
		}
		name := []string{"ingest", "clickhouse"}[random.IntN(2)]
		if kills[name] >= most {
			continue
		}
		if pid := childPID(data, name); pid != 0 && syscall.Kill(pid, syscall.SIGKILL) == nil {
			kills[name]++
		}
	}
}

// disturbed plays a day while its services are killed; in the end nobody can tell.
func disturbed(t *testing.T, d day, want played, seed uint64, pause time.Duration, most int) {
	t.Helper()
	dir := t.TempDir()
	data, out := filepath.Join(dir, "data"), filepath.Join(dir, "out")
	r := d.once(t, data, out)
	kills := killing(t, r, data, rand.New(rand.NewPCG(seed, 0)), pause, most)
	t.Logf("seed %d: killed ingest %d times and clickhouse %d times", seed, kills["ingest"], kills["clickhouse"])
	if kills["ingest"] == 0 && kills["clickhouse"] == 0 {
		t.Error("nothing was killed: the day was over too soon")
	}
	res := proven(t, r)
	if got, want := *res.Samples.Stored, *want.result.Samples.Stored; got != want {
		t.Errorf("%d samples stored, want %d", got, want)
	}
	t.Logf("seed %d: %d samples repeated, %.0f s", seed, *res.Samples.Repeated, res.Wall["total"])
	sameFiles(t, out, want.out)
}

func TestKilledServicesLeaveNoTrace(t *testing.T) {
	t.Parallel() // its data are its own
	want := undisturbed(t)
	disturbed(t, short, want, uint64(time.Now().UnixNano()), 600*time.Millisecond, 2)
}

// Killed as a whole, broker and all: the same command again completes the day.
func TestAKilledDemoIsCompletedByTheNext(t *testing.T) {
	t.Parallel() // its data are its own
	completed(t, short, undisturbed(t), uint64(time.Now().UnixNano()), 4*time.Second, 1)
}

// completed plays a day that is killed several times, at random instants up to longest after its services have started.
func completed(t *testing.T, d day, want played, seed uint64, longest time.Duration, kills int) {
	t.Helper()
	dir := t.TempDir()
	data, out := filepath.Join(dir, "data"), filepath.Join(dir, "out")
	random := rand.New(rand.NewPCG(seed, 1))
	for range kills {
		r := d.once(t, data, out)
		r.until("ingest runs", time.Minute, func() bool { return childPID(data, "ingest") != 0 })
		pause := time.Duration(random.Int64N(int64(longest)))
		select {
		case <-time.After(pause):
		case <-r.ended:
		}
		r.signal(syscall.SIGKILL)
		r.wait()
		t.Logf("seed %d: killed %s after ingest had started", seed, pause.Round(time.Millisecond))
		for _, pid := range r.orphans(20 * time.Second) {
			t.Errorf("process %d outlived the demo", pid)
		}
		if _, err := os.Stat(filepath.Join(data, "run", "ingest.pid")); err == nil {
			if err := os.Remove(filepath.Join(data, "run", "ingest.pid")); err != nil { // the next run's is waited for
				t.Fatal(err)
			}
		}
	}
	res := proven(t, d.once(t, data, out))
	if got, want := *res.Samples.Stored, *want.result.Samples.Stored; got != want {
		t.Errorf("%d samples stored, want %d", got, want)
	}
	sameFiles(t, out, want.out)
}
