package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"google.golang.org/protobuf/proto"

	"github.com/wattledger/wattledger/collector/spool"
	embedded "github.com/wattledger/wattledger/internal/embedded/kafka"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// A collector that is killed again and again while Kafka comes and goes: what its spool had is in Kafka in the end, in order,
// and every stretch in which nobody read is stated.
func TestAKilledCollectorLosesNothing(t *testing.T) {
	t.Parallel() // it mostly waits
	killedCollector(t, 8, uint64(time.Now().UnixNano()))
}

// restless is a broker on one address and one folder that comes and goes until calm.
type restless struct {
	t         *testing.T
	addr, dir string
	halt      chan struct{}
	done      chan struct{}
	starts    int // written before done closes
}

func newRestless(t *testing.T, random *rand.Rand) *restless {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b := &restless{t: t, addr: l.Addr().String(), dir: t.TempDir(), halt: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(b.done)
		for {
			select {
			case <-b.halt:
				return
			case <-time.After(time.Duration(random.Int64N(int64(2 * time.Second)))):
			}
			stop := b.start()
			b.starts++
			select {
			case <-b.halt:
			case <-time.After(time.Duration(random.Int64N(int64(3 * time.Second)))):
			}
			stop()
		}
	}()
	return b
}

// start serves until stop. It is called by one goroutine at a time.
func (b *restless) start() (stop func()) {
	cfg := embedded.DefaultConfig()
	cfg.DataDir, cfg.Listen = b.dir, b.addr
	for _, topic := range []string{wire.TopicSample, wire.TopicAllocation, wire.TopicReading, wire.TopicInventory} {
		cfg.Topics = append(cfg.Topics, embedded.Topic{Name: topic, Partitions: 2})
	}
	e := embedded.New(cfg, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	select {
	case <-e.Ready():
	case err := <-done:
		b.t.Errorf("embedded kafka: %v", err)
		done <- nil
	}
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("embedded kafka: %v", err)
		}
	})
}

// calm ends the coming and going; from then on the broker stays, until the end of the test.
func (b *restless) calm() {
	b.t.Helper()
	close(b.halt)
	<-b.done
	b.t.Cleanup(b.start())
}

// delivered is a message as it lies in Kafka.
type delivered struct {
	key, value []byte
}

// all is every message of a topic, in order within a partition.
func (b *restless) all(topic string) (out []delivered) {
	b.t.Helper()
	for p := range 2 {
		out = append(out, b.partition(topic, p)...)
	}
	return out
}

// partition is every message of a partition, in order.
func (b *restless) partition(topic string, p int) (out []delivered) {
	b.t.Helper()
	c, err := kafka.DialLeader(context.Background(), "tcp", b.addr, topic, p)
	if err != nil {
		b.t.Fatal(err)
	}
	next, end, err := c.ReadOffsets()
	if err = errors.Join(err, c.Close()); err != nil {
		b.t.Fatal(err)
	}
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{b.addr}, Topic: topic, Partition: p, MaxWait: 50 * time.Millisecond})
	for next < end {
		m, err := r.ReadMessage(context.Background())
		if err != nil {
			b.t.Fatal(err)
		}
		next = m.Offset + 1
		out = append(out, delivered{m.Key, m.Value})
	}
	if err := r.Close(); err != nil {
		b.t.Fatal(err)
	}
	return out
}

// inSpool is what a dead collector had acknowledged to its writers and not seen in Kafka, read from a copy of its spool.
func inSpool(t *testing.T, dir string) (out map[string][][]byte) {
	t.Helper()
	out = map[string][][]byte{}
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return out // killed before it came that far
	}
	cfg := spool.DefaultConfig()
	cfg.Dir = filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(cfg.Dir, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	s, err := spool.Open(cfg, func() unit.Micros { return unit.MicrosOf(time.Now()) }, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for {
		m, err := s.Next(ctx)
		if errors.Is(err, context.Canceled) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		out[m.Topic] = append(out[m.Topic], bytes.Clone(m.Value))
		if err := s.Ack(); err != nil {
			t.Fatal(err)
		}
	}
	if losses := s.Losses(); len(losses) > 0 {
		t.Errorf("the spool has given up %+v", losses)
	}
	if err := errors.Join(s.Close(), os.RemoveAll(cfg.Dir)); err != nil {
		t.Fatal(err)
	}
	return out
}

const killPeriod = 100 * time.Millisecond

func killedCollector(t *testing.T, kills int, seed uint64) {
	t.Helper()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	bin := binaries(t)
	broker := newRestless(t, rand.New(rand.NewPCG(seed, 1)))
	dir := t.TempDir()
	data, scenario := filepath.Join(dir, "data"), filepath.Join(dir, "scenario")
	now := time.Now().UnixMilli() * 1000
	text := fmt.Sprintf("seed %d\nclock wall\nnode n1 hgx-b200\nload n1 3 %d %d training\n", seed, now, now+int64(time.Hour/time.Microsecond))
	if err := os.WriteFile(scenario, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	collect := func() *running {
		return start(t, options{dir: dir, env: []string{"WLSIM_SCENARIO=" + scenario}}, bin.collector, "--data", data, "--brokers", broker.addr,
			"--dcgm-library", bin.library, "--site", "s1", "--node", "n1", "--period", killPeriod.String(), "--metrics-listen", "off",
			"--set", "agent.max_age=200ms")
	}

	witnessed := map[string][][]byte{}
	for range kills {
		r := collect()
		select {
		case <-time.After(50*time.Millisecond + time.Duration(random.Int64N(int64(1900*time.Millisecond)))):
		case <-r.ended:
			t.Fatalf("the collector ended by itself with %d", r.code)
		}
		r.signal(syscall.SIGKILL)
		r.wait()
		for topic, values := range inSpool(t, filepath.Join(data, "spool")) {
			witnessed[topic] = append(witnessed[topic], values...)
		}
	}
	broker.calm()
	r := collect()
	r.until("it has started", time.Minute, func() bool { return strings.Contains(r.err.String(), "collector starts") }) // or what follows is true of the dead one
	r.until("the spool is empty", time.Minute, func() bool {
		return len(inSpool(t, filepath.Join(data, "spool"))[wire.TopicSample]) == 0 && lastRun(broker) > 1
	})
	r.signal(syscall.SIGTERM)
	if code := r.endsWithin(20 * time.Second); code != 0 {
		t.Errorf("the last collector ended with %d", code)
	}
	t.Logf("killed %d times; Kafka came %d times; %d messages were witnessed in the spool of a dead collector", kills, broker.starts, len(witnessed[wire.TopicSample]))

	for _, topic := range []string{wire.TopicSample, wire.TopicInventory} {
		values := map[string]bool{}
		for _, m := range broker.all(topic) {
			values[string(m.value)] = true
		}
		for _, v := range witnessed[topic] {
			if !values[string(v)] {
				t.Errorf("a message of %s that a dead collector had in its spool is not in Kafka", topic)
			}
		}
	}
	if len(witnessed[wire.TopicSample]) == 0 {
		t.Error("no spool of a dead collector held anything: nothing was tried")
	}
	checkRuns(t, broker.all(wire.TopicSample))
}

// lastRun is how many messages of the newest run Kafka has.
func lastRun(b *restless) (n int) {
	var run []byte
	for _, m := range b.all(wire.TopicSample) {
		s := &wl.SampleBatch{}
		if err := proto.Unmarshal(m.value, s); err != nil {
			b.t.Fatal(err)
		}
		if !bytes.Equal(s.Run, run) {
			run, n = s.Run, 0
		}
		n++
	}
	return n
}

// checkRuns holds what Kafka has of one node against what a node promises.
func checkRuns(t *testing.T, all []delivered) {
	t.Helper()
	seen := map[string][]byte{} // run and sequence to the bytes
	var firsts []*wl.SampleBatch
	repeats := 0
	for _, m := range all {
		b := &wl.SampleBatch{}
		if err := proto.Unmarshal(m.value, b); err != nil {
			t.Fatal(err)
		}
		if err := wire.ValidateSamples(b); err != nil {
			t.Fatalf("message %d of run %x: %v", b.Sequence, b.Run, err)
		}
		id := fmt.Sprintf("%x/%d", b.Run, b.Sequence)
		if old, ok := seen[id]; ok {
			repeats++
			if !bytes.Equal(old, m.value) {
				t.Errorf("message %s was delivered with other bytes than before", id)
			}
			continue
		}
		seen[id] = m.value
		firsts = append(firsts, b)
	}
	runs, gaps := 0, 0
	var before *wl.SampleBatch  // the first delivery before
	ticks := map[string]int64{} // of each device
	period := killPeriod.Microseconds()
	for _, b := range firsts {
		switch {
		case before != nil && bytes.Equal(b.Run, before.Run):
			if b.Sequence != before.Sequence+1 {
				t.Errorf("run %x: message %d comes first after %d", b.Run, b.Sequence, before.Sequence)
			}
		default:
			runs++
			if b.Sequence != 0 {
				t.Errorf("run %x begins with message %d", b.Run, b.Sequence)
			}
			if before == nil {
				if len(b.PreviousRun) > 0 {
					t.Errorf("the first run names %x before it", b.PreviousRun)
				}
				break
			}
			if !bytes.Equal(b.PreviousRun, before.Run) || b.PreviousRunLastSequence != before.Sequence {
				t.Errorf("run %x names %x up to %d before it; it was %x up to %d", b.Run, b.PreviousRun, b.PreviousRunLastSequence, before.Run, before.Sequence)
			}
			if len(b.TickUs) == 0 {
				break
			}
			last := latest(ticks)
			if b.TickUs[0] <= last {
				t.Errorf("run %x reads from %d on; the run before it read until %d", b.Run, b.TickUs[0], last)
			}
			if b.TickUs[0]-last > period {
				gaps++
				if !states(b, last, b.TickUs[0]) {
					t.Errorf("run %x does not say that nobody read from %d to %d: %v", b.Run, last, b.TickUs[0], b.Incidents)
				}
			}
		}
		for i, tick := range b.TickUs {
			device := b.Devices[b.Device[i]].Uuid
			if tick <= ticks[device] {
				t.Errorf("%s: tick %d of run %x message %d comes after %d", device, tick, b.Run, b.Sequence, ticks[device])
			}
			ticks[device] = tick
		}
		before = b
	}
	t.Logf("%d messages of %d runs, %d of them more than once; %d gaps between runs", len(firsts), runs, repeats, gaps)
	if gaps == 0 {
		t.Error("no time without a collector: nothing was tried")
	}
	if len(ticks) != 8 {
		t.Errorf("%d devices, want 8", len(ticks))
	}
}

func latest(ticks map[string]int64) (last int64) {
	for _, t := range ticks {
		last = max(last, t)
	}
	return last
}

// states says whether a message tells that the whole node was not read from one tick to another.
func states(b *wl.SampleBatch, from, to int64) bool {
	for _, x := range b.Incidents {
		i := wire.IncidentOf(x)
		if i.Kind == record.IncidentGap && i.Reason == "stopped" && i.Device == "" && int64(i.From) == from && int64(i.To) == to {
			return true
		}
	}
	return false
}
