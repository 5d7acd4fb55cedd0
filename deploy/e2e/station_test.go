package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// stationPeriod leaves a machine that is busy with other tests the time to read within it.
const stationPeriod = 200 * time.Millisecond

// station is a node under test: its folder, its simulated devices and the Kafka it publishes to.
type station struct {
	t        *testing.T
	bin      built
	kafka    *restless
	dir      string
	data     string
	scenario string
}

// newStation is a node whose Kafka is there from the start.
func newStation(t *testing.T, scenario string) *station {
	t.Helper()
	s := lonelyStation(t, scenario)
	t.Cleanup(s.kafka.start())
	return s
}

// lonelyStation is a node whose Kafka is away until s.kafka.start is called.
func lonelyStation(t *testing.T, scenario string) *station {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := &station{t: t, bin: binaries(t), dir: t.TempDir(), kafka: &restless{t: t, addr: l.Addr().String(), dir: t.TempDir()}}
	s.data = filepath.Join(s.dir, "data")
	s.scenario = s.write("scenario", "seed 5\nclock wall\nstart now\n"+scenario)
	return s
}

// write puts a file into the working folder, in the place of an older one.
func (s *station) write(name, text string) string {
	s.t.Helper()
	file := filepath.Join(s.dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return file
}

// args are what every start of the collector has.
func (s *station) args(more ...string) []string {
	return append([]string{
		"--data", s.data, "--brokers", s.kafka.addr, "--site", "s1", "--node", "n1", "--period", stationPeriod.String(),
		"--metrics-listen", "127.0.0.1:0", "--set", "agent.max_age=200ms", "--set", "watchdog.deadline=150ms",
	}, more...)
}

// collect starts the collector on the simulated libdcgm.
func (s *station) collect(more ...string) *running {
	s.t.Helper()
	return s.start(nil, append([]string{"--dcgm-library", s.bin.library}, more...)...)
}

func (s *station) start(env []string, more ...string) *running {
	s.t.Helper()
	return start(s.t, options{dir: s.dir, env: append(env, "WLSIM_SCENARIO="+s.scenario)}, s.bin.collector, s.args(more...)...)
}

// samples is every message of samples that Kafka has, in order; each is valid.
func (s *station) samples() (out []*wl.SampleBatch) {
	s.t.Helper()
	for _, m := range s.kafka.all(wire.TopicSample) {
		b := &wl.SampleBatch{}
		if err := proto.Unmarshal(m.value, b); err != nil {
			s.t.Fatal(err)
		}
		if err := wire.ValidateSamples(b); err != nil {
			s.t.Fatalf("message %d of run %x: %v", b.Sequence, b.Run, err)
		}
		out = append(out, b)
	}
	return out
}

// incidents is everything that Kafka has heard of one kind and reason.
func (s *station) incidents(kind record.IncidentKind, reason string) (out []record.Incident) {
	s.t.Helper()
	for _, b := range s.samples() {
		for _, x := range b.Incidents {
			if i := wire.IncidentOf(x); i.Kind == kind && i.Reason == reason {
				out = append(out, i)
			}
		}
	}
	return out
}

// allocations is every statement about who holds what, in order.
func (s *station) allocations() (out []*wl.Allocation) {
	s.t.Helper()
	for _, m := range s.kafka.all(wire.TopicAllocation) {
		b := &wl.AllocationBatch{}
		if err := proto.Unmarshal(m.value, b); err != nil {
			s.t.Fatal(err)
		}
		if err := wire.ValidateAllocations(b); err != nil {
			s.t.Fatal(err)
		}
		out = append(out, b.Allocations...)
	}
	return out
}

// onlyOnce holds the messages against the promise of a calm Kafka: every sequence of every run once and in order, and every run
// naming the one before it.
func (s *station) onlyOnce() (runs int) {
	s.t.Helper()
	var before *wl.SampleBatch
	for _, b := range s.samples() {
		switch {
		case before != nil && string(b.Run) == string(before.Run):
			if b.Sequence != before.Sequence+1 {
				s.t.Errorf("run %x: message %d comes after %d", b.Run, b.Sequence, before.Sequence)
			}
		default:
			if runs++; b.Sequence != 0 {
				s.t.Errorf("run %x begins with message %d", b.Run, b.Sequence)
			}
			if before != nil && (string(b.PreviousRun) != string(before.Run) || b.PreviousRunLastSequence != before.Sequence) {
				s.t.Errorf("run %x names %x up to %d before it; it was %x up to %d", b.Run, b.PreviousRun, b.PreviousRunLastSequence, before.Run, before.Sequence)
			}
		}
		before = b
	}
	return runs
}

var servedAt = regexp.MustCompile(`metrics served.* address=\S*?(127\.0\.0\.1:\d+)`)

// address is where the newest process serves its metrics.
func (r *running) address() string {
	r.t.Helper()
	var found string
	r.until("metrics are served", 20*time.Second, func() bool {
		all := servedAt.FindAllStringSubmatch(r.err.String(), -1)
		if len(all) > 0 {
			found = all[len(all)-1][1]
		}
		return found != ""
	})
	return found
}

// get fetches a page, or says 0 while nobody answers.
func get(url string) (status int, body string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, err.Error()
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(text)
}

// metric is the sum of a metric over the series that have all of these labels, and how many they are.
func metric(page, name string, labels ...string) (sum float64, series int) {
next:
	for line := range strings.Lines(page) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), name)
		if !ok || rest == "" || (rest[0] != '{' && rest[0] != ' ') {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(rest, l) {
				continue next
			}
		}
		if v, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64); err == nil {
			sum, series = sum+v, series+1
		}
	}
	return sum, series
}

// metric is metric of the running process.
func (r *running) metric(name string, labels ...string) float64 {
	r.t.Helper()
	_, page := get(fmt.Sprintf("http://%s/metrics", r.address()))
	sum, _ := metric(page, name, labels...)
	return sum
}

// stops ends a collector as systemd does; it must do so at once and well.
func (r *running) stops() {
	r.t.Helper()
	r.signal(interrupt)
	if code := r.endsWithin(20 * time.Second); code != 0 {
		r.t.Errorf("%s: ended with %d", r.line, code)
	}
}
