package kafka_test

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	kafkago "github.com/segmentio/kafka-go"
	"google.golang.org/protobuf/proto"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/dcgm"
	"github.com/wattledger/wattledger/collector/dcgm/simctl"
	"github.com/wattledger/wattledger/collector/dcgm/simctl/simtest"
	"github.com/wattledger/wattledger/collector/kafka"
	"github.com/wattledger/wattledger/collector/message"
	embedded "github.com/wattledger/wattledger/internal/embedded/kafka"
	"github.com/wattledger/wattledger/internal/embedded/kafka/kafkatest"
	"github.com/wattledger/wattledger/internal/kafkaconn"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

const start = unit.Micros(1_767_225_600_000_000)

// virtual is a node's clock: waiting plays the node.
type virtual struct {
	sim  *simctl.Control
	node string
}

func (c virtual) Now() unit.Micros {
	now, err := c.sim.Now(c.node)
	if err != nil {
		panic(err) // the node is in the scenario
	}
	return now
}

func (c virtual) Steady() unit.Micros { return c.Now() }

func (c virtual) Wait(ctx context.Context, until unit.Micros, _ <-chan struct{}) (woken bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	return false, c.sim.Advance(c.node, until)
}

func read(t *testing.T, conn kafkaconn.Config, topic string, want int) []kafkago.Message {
	t.Helper()
	r := kafkago.NewReader(kafkago.ReaderConfig{Brokers: conn.Brokers, Topic: topic, MaxWait: 50 * time.Millisecond})
	defer r.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var out []kafkago.Message
	for len(out) < want {
		m, err := r.ReadMessage(ctx)
		if err != nil {
			t.Fatalf("after %d of %d messages of %s: %v", len(out), want, topic, err)
		}
		out = append(out, m)
	}
	return out
}

// Three nodes play five minutes on their virtual clocks, and all their samples are in Kafka, in order and valid.
func TestThreeNodesReachKafka(t *testing.T) {
	conn := kafkatest.Start(t, embedded.Topic{Name: wire.TopicSample, Partitions: 1}, embedded.Topic{Name: wire.TopicInventory, Partitions: 1})
	lib, sim := simtest.Play(t, "seed 7\nstart 1767225600000000\nnode a hgx-b200\nnode b gb200\nnode c hgx-b200\nload a 0 1767225600000000 1767312000000000 training\n")
	library, err := dcgm.Load(lib)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := kafka.NewSink(conn, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer pub.Close()

	var wg sync.WaitGroup
	var mu sync.Mutex
	var sent, messages uint64
	for i, node := range []string{"a", "b", "c"} {
		wg.Go(func() {
			period := 10 * time.Second
			dcfg := dcgm.DefaultConfig()
			dcfg.Node, dcfg.Address, dcfg.Period = node, node, period
			source, err := dcgm.Open(t.Context(), library, dcfg, slog.New(slog.DiscardHandler), nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer source.Close()
			if err := message.NewWriter(pub).Inventory(context.Background(), "site-1", 1, start, source.Devices()); err != nil {
				t.Error(err)
			}
			cfg := agent.DefaultConfig()
			cfg.Node, cfg.Site, cfg.Period, cfg.BlockWhenFull, cfg.Until = node, "site-1", period, true, start+300*unit.Second
			cfg.MaxAge, cfg.MaxTicks = time.Hour, 10
			cfg.Run[0], cfg.BootID[0] = byte(i+1), 1
			a, err := agent.New(cfg, source, message.NewWriter(pub), virtual{sim, node}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
			if err != nil {
				t.Error(err)
				return
			}
			if err := a.Run(context.Background()); err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			sent += a.Stats().Samples
			messages += a.Stats().Messages
		})
	}
	wg.Wait()
	if want := uint64(31 * (8 + 6 + 8)); sent != want {
		t.Fatalf("%d samples sent, want %d", sent, want)
	}

	next, complete, rows := map[string]uint64{}, map[string]int64{}, 0
	for _, m := range read(t, conn, wire.TopicSample, int(messages)) {
		b := &wl.SampleBatch{}
		if err := proto.Unmarshal(m.Value, b); err != nil {
			t.Fatal(err)
		}
		if err := wire.ValidateSamples(b); err != nil {
			t.Fatal(err)
		}
		if string(m.Key) != b.Node || b.Sequence != next[b.Node] || b.CompleteUpToUs < complete[b.Node] {
			t.Errorf("message %d of %s has key %s and is complete up to %d after %d", b.Sequence, b.Node, m.Key, b.CompleteUpToUs, complete[b.Node])
		}
		next[b.Node]++
		complete[b.Node] = b.CompleteUpToUs
		rows += len(b.TickUs)
	}
	if uint64(rows) != sent {
		t.Errorf("%d rows in Kafka, %d sent", rows, sent)
	}
	for node, c := range complete {
		if c != int64(start+300*unit.Second) {
			t.Errorf("node %s ends complete up to %d", node, c)
		}
	}
	devices := 0
	for _, m := range read(t, conn, wire.TopicInventory, 3) {
		inv := &wl.Inventory{}
		if err := proto.Unmarshal(m.Value, inv); err != nil {
			t.Fatal(err)
		}
		devices += len(inv.Devices)
	}
	if devices != 22 {
		t.Errorf("inventory names %d devices, want 22", devices)
	}
}

func TestWhatIsTooLargeIsRefusedForGood(t *testing.T) {
	conn := kafkatest.Start(t, embedded.Topic{Name: wire.TopicSample, Partitions: 1})
	conn.MaxMessageBytes = 2048
	pub, err := kafka.NewSink(conn, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer pub.Close()
	big := samples(1000)
	if err := message.NewWriter(pub).Publish(context.Background(), big); !errors.Is(err, agent.ErrRefused) {
		t.Errorf("a message above the limit gave %v, want it refused", err)
	}
}

// samples are rows that ingest would take.
func samples(rows int) *wl.SampleBatch {
	b := &wl.SampleBatch{
		Node: "a", Site: "s", Run: make([]byte, wire.RunBytes), BootId: make([]byte, wire.RunBytes),
		Devices: []*wl.DeviceRef{{Uuid: "GPU-a", Kind: wl.DeviceKind_DEVICE_KIND_GPU, EnergySource: wl.EnergySource_ENERGY_SOURCE_HARDWARE}},
	}
	for i := range rows {
		b.Device, b.TickUs = append(b.Device, 0), append(b.TickUs, 1_767_225_600_000_000+int64(i))
		b.EnergyTsUs, b.EnergyMj = append(b.EnergyTsUs, uint64(b.TickUs[i])), append(b.EnergyMj, math.MaxUint64-1-uint64(i))
	}
	return b
}

func TestAnAbsentBrokerIsNotARefusal(t *testing.T) {
	conn := kafkaconn.DefaultConfig()
	conn.Brokers = []string{"127.0.0.1:1"}
	pub, err := kafka.NewSink(conn, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer pub.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := message.NewWriter(pub).Publish(ctx, samples(1)); err == nil || errors.Is(err, agent.ErrRefused) {
		t.Errorf("nobody listens, and the publisher says %v", err)
	}
}
