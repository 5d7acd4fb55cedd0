package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"google.golang.org/protobuf/proto"

	"github.com/wattledger/wattledger/internal/kafkaconn"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// Each message of a fleet has this many ticks of this many devices.
const fleetTicks, fleetDevices = 3, 8

// fleet publishes as many nodes do, and knows what it has sent. Some messages it sends twice, as a producer without an answer does, and
// now and then one that nobody can store.
type fleet struct {
	t     *testing.T
	to    *kafkaconn.Producer
	nodes []*fleetNode
	stop  func() // returns when everybody has an answer for the last message
}

type fleetNode struct {
	name   string
	random *rand.Rand
	run    []byte
	start  int64
	mu     sync.Mutex
	next   uint64            // guarded by mu; the sequence number of the next message
	energy uint64            // guarded by mu; the sum of what was sent
	poison map[string]string // guarded by mu; key to reason of what cannot be stored
}

// newFleet is inert until run or send.
func newFleet(p *plant, nodes int, random *rand.Rand) *fleet {
	p.t.Helper()
	cfg := p.conn
	cfg.MaxMessageBytes = 16 << 20
	to, err := kafkaconn.NewProducer(cfg, wire.TopicSample, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	f := &fleet{t: p.t, to: to, stop: func() {}}
	p.t.Cleanup(func() { _ = to.Close() })
	for i := range nodes {
		n := &fleetNode{
			name: fmt.Sprintf("node-%02d", i), random: rand.New(rand.NewPCG(random.Uint64(), random.Uint64())), run: make([]byte, wire.RunBytes),
			start: time.Now().UnixMicro(), poison: map[string]string{},
		}
		for i := range n.run {
			n.run[i] = byte(n.random.Uint32())
		}
		f.nodes = append(f.nodes, n)
	}
	return f
}

// publish tries until the broker has it.
func (f *fleet) publish(key string, value []byte) {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		err := f.to.Publish(ctx, kafka.Message{Key: []byte(key), Value: value})
		cancel()
		switch {
		case err == nil:
			return
		case !kafkaconn.Temporary(err) || f.t.Context().Err() != nil:
			f.t.Errorf("publish %s: %v", key, err)
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// message is the node's next message.
func (n *fleetNode) message() *wl.SampleBatch {
	m := &wl.SampleBatch{
		SchemaVersion: wire.SchemaVersion, Site: "s1", Node: n.name, Run: n.run, Sequence: n.next, BootId: n.run, DriverVersion: "580.1", PeriodMs: 100, Source: "dcgm",
	}
	for d := range fleetDevices {
		m.Devices = append(m.Devices, &wl.DeviceRef{
			Uuid: fmt.Sprintf("GPU-%s-%d", n.name, d), Kind: wl.DeviceKind_DEVICE_KIND_GPU, EnergySource: wl.EnergySource_ENERGY_SOURCE_HARDWARE,
		})
	}
	for tick := range int64(fleetTicks) {
		at := n.start + (int64(n.next)*fleetTicks+tick)*100_000
		for d := range uint32(fleetDevices) {
			m.TickUs, m.Device, m.EnergyTsUs = append(m.TickUs, at), append(m.Device, d), append(m.EnergyTsUs, uint64(at))
			m.EnergyMj = append(m.EnergyMj, uint64(n.random.Uint32N(1_000_000)))
			m.PowerW = append(m.PowerW, n.random.Float32()*1000)
		}
		m.CompleteUpToUs = at
	}
	return m
}

// send sends the node's next message, changed as the caller wishes, and returns it.
func (f *fleet) send(n *fleetNode, change func(value []byte) []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	m := n.message()
	value, err := proto.Marshal(m)
	if err != nil {
		f.t.Error(err)
		return
	}
	if change != nil {
		value = change(value)
	}
	f.publish(n.name, value)
	if n.random.IntN(20) == 0 {
		f.publish(n.name, value)
	}
	for _, e := range m.EnergyMj {
		n.energy += e
	}
	n.next++
}

// spoils are ways to make a message of the node's that cannot be stored, with the reason that is given for it.
var spoils = []struct {
	reason wire.Reason
	spoil  func(n *fleetNode) []byte
}{
	{wire.ReasonUndecodable, func(n *fleetNode) []byte { // garbage
		b := make([]byte, 1+n.random.IntN(500))
		for i := range b {
			b[i] = byte(n.random.Uint32()) | 7 // wire type 7 is none
		}
		return b
	}},
	{wire.ReasonUndecodable, func(n *fleetNode) []byte { return n.spoilt(func(*wl.SampleBatch) {}, -1) }}, // truncated
	{wire.ReasonShape, func(n *fleetNode) []byte { // longer than a message may be
		return n.spoilt(func(m *wl.SampleBatch) { m.DriverVersion = strings.Repeat("long", 1<<20) }, 0)
	}},
	{wire.ReasonShape, func(n *fleetNode) []byte { return n.spoilt(func(m *wl.SampleBatch) { m.PowerW = m.PowerW[1:] }, 0) }},
	{wire.ReasonShape, func(n *fleetNode) []byte { return n.spoilt(func(m *wl.SampleBatch) { m.Device[3] = 99 }, 0) }},
	{wire.ReasonNoIdentity, func(n *fleetNode) []byte { return n.spoilt(func(m *wl.SampleBatch) { m.Run = nil }, 0) }},
	{wire.ReasonTime, func(n *fleetNode) []byte { return n.spoilt(func(m *wl.SampleBatch) { slices.Reverse(m.TickUs) }, 0) }},
}

func (n *fleetNode) spoilt(spoil func(m *wl.SampleBatch), cut int) []byte {
	m := n.message()
	spoil(m)
	b, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return b[:len(b)+cut]
}

// poison sends a message that cannot be stored.
func (f *fleet) poison(n *fleetNode, kind int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	key := fmt.Sprintf("%s-poison-%d", n.name, len(n.poison))
	n.poison[key] = string(spoils[kind].reason)
	f.publish(key, spoils[kind].spoil(n))
}

// run sends until stop, each node a message per pause.
func (f *fleet) run(pause time.Duration) {
	done := make(chan struct{})
	var all sync.WaitGroup
	for _, n := range f.nodes {
		all.Go(func() {
			for {
				select {
				case <-done:
					return
				case <-f.t.Context().Done():
					return
				case <-time.After(pause):
				}
				f.send(n, nil)
				if n.random.IntN(50) == 0 {
					f.poison(n, n.random.IntN(len(spoils)))
				}
			}
		})
	}
	f.stop = sync.OnceFunc(func() {
		close(done)
		all.Wait()
	})
	f.t.Cleanup(f.stop)
}

// sent is how many messages were sent that can be stored, each counted once.
func (f *fleet) sent() (messages int64) {
	for _, n := range f.nodes {
		n.mu.Lock()
		messages += int64(n.next)
		n.mu.Unlock()
	}
	return messages
}

// storedOnce waits until everything is committed and holds what is stored against what was sent: all of it, nothing twice, and the
// rest in quarantine with its reason.
func (p *plant) storedOnce(f *fleet) {
	p.t.Helper()
	f.stop()
	p.caughtUp()
	const rows = fleetTicks * fleetDevices
	want := f.sent() * rows
	stored, distinct := p.number("SELECT count() FROM samples"), p.number("SELECT uniqExact(run, seq, device, tick) FROM samples")
	p.t.Logf("%d rows sent, %d stored, %d of them distinct", want, stored, distinct)
	if stored != want || distinct != want {
		p.t.Errorf("%d rows stored, %d of them distinct, want %d", stored, distinct, want)
	}
	if lines := p.number("SELECT count() FROM messages WHERE rows > 0"); lines != f.sent() {
		p.t.Errorf("%d lines speak of rows, want one for each of %d messages", lines, f.sent())
	}
	p.accounted(f)
}

// accounted checks what accounts rest on, which a row that is stored twice does not change.
func (p *plant) accounted(f *fleet) {
	p.t.Helper()
	for _, n := range f.nodes {
		of := fmt.Sprintf("FROM samples WHERE run = '%x'", n.run)
		if got := p.number("SELECT uniqExact(seq) %s", of); got != int64(n.next) {
			p.t.Errorf("%s: %d messages stored, %d sent", n.name, got, n.next)
		}
		if got := p.number("SELECT sum(energy_mj) FROM (SELECT DISTINCT seq, device, tick, energy_mj %s)", of); got != int64(n.energy) {
			p.t.Errorf("%s: the energy stored sums up to %d, what was sent to %d", n.name, got, n.energy)
		}
		if got := p.number("SELECT uniqExact(seq) FROM messages WHERE run = '%x' AND rows = %d", n.run, fleetTicks*fleetDevices); got != int64(n.next) {
			p.t.Errorf("%s: %d lines of messages, %d messages sent", n.name, got, n.next)
		}
	}
	p.quarantined(f)
}

// quarantined checks that everything that cannot be stored is kept with its reason, and nothing else.
func (p *plant) quarantined(f *fleet) {
	p.t.Helper()
	want := map[string]string{}
	for _, n := range f.nodes {
		for key, reason := range n.poison {
			want[key] = reason
		}
	}
	reader := restless{t: p.t, addr: p.kafka}
	got := map[string]bool{}
	for _, kept := range reader.partition(wire.TopicRefused, 0) {
		m := &wl.Refused{}
		if err := proto.Unmarshal(kept.value, m); err != nil {
			p.t.Fatal(err)
		}
		if reason, ok := want[string(m.Key)]; !ok || reason != m.Reason || m.Detail == "" {
			p.t.Errorf("message %q is refused as %s (%s), want %q", m.Key, m.Reason, m.Detail, reason)
		}
		got[string(m.Key)] = true
	}
	for key, reason := range want {
		if !got[key] {
			p.t.Errorf("message %q, which cannot be stored (%s), is not in quarantine", key, reason)
		}
	}
	p.t.Logf("%d messages refused", len(want))
}
