package dcgm_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/dcgm"
	"github.com/wattledger/wattledger/collector/dcgm/simctl"
	"github.com/wattledger/wattledger/collector/dcgm/simctl/simtest"
	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/unit"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

type virtual struct {
	sim  *simctl.Control
	node string
	now  unit.Micros
}

func (c *virtual) Now() unit.Micros { return c.now }

func (c *virtual) Steady() unit.Micros { return c.now }

func (c *virtual) Wait(ctx context.Context, until unit.Micros, _ <-chan struct{}) (woken bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	c.now = until
	return false, c.sim.Advance(c.node, until)
}

// encoder does what a publisher does to a batch, but the network.
type encoder struct {
	zstd  *zstd.Encoder
	bytes *atomic.Int64
}

func (e *encoder) Publish(_ context.Context, b *wl.SampleBatch) error {
	raw, err := proto.Marshal(b)
	if err != nil {
		return err
	}
	e.bytes.Add(int64(len(e.zstd.EncodeAll(raw, nil))))
	return nil
}

// BenchmarkADay plays a day of 20 nodes of 8 GPUs at one reading every 10 s: advance, read, meter, encode, compress.
func BenchmarkADay(b *testing.B) {
	const nodes, day = 20, 24 * unit.Hour
	var text strings.Builder
	text.WriteString(head)
	for n := range nodes {
		fmt.Fprintf(&text, "node b%d hgx-b200\n", n)
		for g := range 8 {
			fmt.Fprintf(&text, "load b%d %d %d %d training\n", n, g, start, start+day)
		}
	}
	for b.Loop() {
		path, sim := simtest.Play(b, text.String())
		lib, err := dcgm.Load(path)
		if err != nil {
			b.Fatal(err)
		}
		var wg sync.WaitGroup
		var bytes atomic.Int64
		var samples atomic.Uint64
		for n := range nodes {
			wg.Go(func() {
				node := fmt.Sprintf("b%d", n)
				cfg := dcgm.DefaultConfig()
				cfg.Node, cfg.Address, cfg.Period = node, node, 10*time.Second
				s, err := dcgm.Open(context.Background(), lib, cfg, slog.New(slog.DiscardHandler), nil)
				if err != nil {
					b.Error(err)
					return
				}
				defer s.Close()
				z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
				if err != nil {
					b.Error(err)
					return
				}
				ac := agent.DefaultConfig()
				ac.Node, ac.Site, ac.Period, ac.BlockWhenFull, ac.Until = node, "s", cfg.Period, true, start+day
				ac.MaxAge, ac.MaxTicks, ac.MaxBytes = time.Hour, 240, 512<<10
				ac.Run[0], ac.BootID[0] = 1, 1
				a, err := agent.New(ac, s, &encoder{z, &bytes}, &virtual{sim, node, start}, slog.New(slog.DiscardHandler), nil)
				if err != nil {
					b.Error(err)
					return
				}
				if err := a.Run(context.Background()); err != nil {
					b.Error(err)
				}
				samples.Add(a.Stats().Samples)
			})
		}
		wg.Wait()
		b.ReportMetric(float64(samples.Load()), "samples/op")
		b.ReportMetric(float64(bytes.Load())/float64(samples.Load()), "B/sample")
	}
}

// BenchmarkReading is one tick: values and events of a node whose clock stands still.
func BenchmarkReading(b *testing.B) {
	f := func(name, scenario string) {
		b.Run(name, func(b *testing.B) {
			path, sim := simtest.Play(b, head+scenario)
			lib, err := dcgm.Load(path)
			if err != nil {
				b.Fatal(err)
			}
			cfg := dcgm.DefaultConfig()
			cfg.Node, cfg.Address = "n1", "n1"
			s, err := dcgm.Open(context.Background(), lib, cfg, slog.New(slog.DiscardHandler), nil)
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			if err := sim.Advance("n1", start+10*second); err != nil {
				b.Fatal(err)
			}
			r := meter.NewReadings(len(s.Devices()))
			var events []agent.Event
			b.ReportAllocs()
			for b.Loop() {
				r.Reset()
				if err := s.Read(context.Background(), start+10*second, r); err != nil {
					b.Fatal(err)
				}
				if events, err = s.Events(context.Background(), events[:0]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	f("8 GPUs", "node n1 hgx-b200\n")
	var mig strings.Builder
	for i := range 8 {
		fmt.Fprintf(&mig, "mig n1 %d 1 1 1 1 1 1 1\n", i)
	}
	f("8 GPUs with 56 instances", "node n1 hgx-b200\n"+mig.String())
}
