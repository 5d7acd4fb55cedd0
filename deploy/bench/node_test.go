//go:build bench

package bench

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/dcgm"
	"github.com/wattledger/wattledger/collector/dcgm/simctl"
	"github.com/wattledger/wattledger/collector/dcgm/simctl/simtest"
	"github.com/wattledger/wattledger/collector/message"
	"github.com/wattledger/wattledger/schemas/unit"
)

const (
	start  = unit.Micros(1_767_225_600_000_000) // 2026-01-01
	second = unit.Second
)

// virtual is a node's clock in a play.
type virtual struct {
	sim *simctl.Control
	now unit.Micros
	// before is called when a wait begins, tick when it ends.
	before func()
	tick   func(at unit.Micros)
}

func (c *virtual) Now() unit.Micros    { return c.now }
func (c *virtual) Steady() unit.Micros { return c.now }

func (c *virtual) Wait(ctx context.Context, until unit.Micros, _ <-chan struct{}) (woken bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if c.before != nil {
		c.before()
	}
	c.now = until
	if err := c.sim.Advance("b", until); err != nil {
		return false, err
	}
	if c.tick != nil {
		c.tick(until)
	}
	return false, nil
}

// busyNode is eight GPUs under training for a day.
func busyNode(t testing.TB) (*dcgm.Library, *simctl.Control) {
	t.Helper()
	var text strings.Builder
	fmt.Fprintf(&text, "seed 7\nstart %d\nnode b hgx-b200\n", start)
	for g := range 8 {
		fmt.Fprintf(&text, "load b %d %d %d training\n", g, start, start+24*unit.Hour)
	}
	path, sim := simtest.Play(t, text.String())
	lib, err := dcgm.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return lib, sim
}

// newAgent is the collector's loop over the node, in process.
func newAgent(t testing.TB, lib *dcgm.Library, clock agent.Clock, to agent.Publisher, ticks, perMessage int) (*agent.Agent, *dcgm.Source) {
	t.Helper()
	cfg := dcgm.DefaultConfig()
	cfg.Node, cfg.Address, cfg.Extra = "b", "b", extra(t)
	cfg.Rediscover = 24 * time.Hour
	source, err := dcgm.Open(t.Context(), lib, cfg, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	ac := agent.DefaultConfig()
	ac.Node, ac.Site, ac.BlockWhenFull, ac.Until, ac.Extra = "b", "bench", true, start+unit.Micros(ticks)*second, len(cfg.Extra)
	ac.MaxTicks, ac.MaxAge, ac.MaxBytes, ac.Queue = perMessage, time.Hour, 512<<10, 2
	ac.Run[0], ac.BootID[0] = 1, 1
	a, err := agent.New(ac, source, to, clock, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	return a, source
}

// weigh compresses as the Kafka client does and counts bytes and rows.
type weigh struct {
	zstd  *zstd.Encoder
	buf   []byte
	bytes int
	rows  int
}

func (w *weigh) Put(_ context.Context, m *message.Message) error {
	w.buf = w.zstd.EncodeAll(m.Value, w.buf[:0])
	w.bytes += len(w.buf)
	w.rows += int(m.Mark.Rows)
	return nil
}

// bytesPerSample plays an hour with messages of so many ticks.
func bytesPerSample(t testing.TB, perMessage int) float64 {
	t.Helper()
	lib, sim := busyNode(t)
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	w := &weigh{zstd: z}
	a, source := newAgent(t, lib, &virtual{sim: sim, now: start}, message.NewWriter(w), 3600, perMessage)
	defer source.Close()
	if err := a.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return float64(w.bytes) / float64(w.rows)
}

// discard takes messages and does nothing.
type discard struct{}

func (discard) Put(context.Context, *message.Message) error { return nil }

// allocsPerTick counts what one tick allocates in steady state: read, meter, batch, encode. The simulator's clock is moved between
// ticks, and what that allocates is not counted; looking for new devices, once a minute, is not on this path.
func allocsPerTick(t testing.TB) float64 {
	t.Helper()
	lib, sim := busyNode(t)
	const warm, ticks = 600, 3000
	var m runtime.MemStats
	mallocs := func() uint64 {
		runtime.ReadMemStats(&m)
		return m.Mallocs
	}
	// A collection empties the pools that purego keeps its arguments in; that is the runtime's, not the tick's.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	var sum, from uint64
	clock := &virtual{sim: sim, now: start}
	clock.before = func() {
		if clock.now > start+warm*second {
			sum += mallocs() - from
		}
	}
	clock.tick = func(unit.Micros) { from = mallocs() }
	a, source := newAgent(t, lib, clock, message.NewWriter(discard{}), warm+ticks, 1)
	defer source.Close()
	if err := a.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return float64(sum) / ticks
}
