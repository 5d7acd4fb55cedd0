//go:build bench

package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/pprof"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/aggregator/clickhouse"
	"github.com/wattledger/wattledger/aggregator/closer"
	"github.com/wattledger/wattledger/aggregator/closing"
	"github.com/wattledger/wattledger/aggregator/ledger"
	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// closed is what a process that closes hours says when it is done. Times are seconds.
type closed struct {
	Hours   int     `json:"hours"`
	Total   float64 `json:"total"`
	Load    float64 `json:"load"`
	Append  float64 `json:"append"`
	Entries int     `json:"entries"`
	Rows    int64   `json:"rows"` // samples in the hours, repeats aside
	Root    string  `json:"root"`
	CPU     float64 `json:"cpu"`
	Peak    int64   `json:"peak"` // bytes resident
}

// timed is the store, with a clock on its two heavy calls.
type timed struct {
	*clickhouse.Store
	load, append time.Duration
	rows         int64
}

func (s *timed) Load(ctx context.Context, site record.Site, hour unit.Micros) (closing.Hour, error) {
	begun := time.Now()
	h, err := s.Store.Load(ctx, site, hour)
	s.load += time.Since(begun)
	s.rows += h.SampleRows
	return h, err
}

func (s *timed) Append(ctx context.Context, b ledger.Sealed) error {
	begun := time.Now()
	err := s.Store.Append(ctx, b)
	s.append += time.Since(begun)
	return err
}

// closerRole closes hours of the ledger on a folder, as the aggregator does, and says what that took.
func closerRole(dir, hours, profile string, out io.Writer) error {
	ctx := context.Background()
	want, err := strconv.Atoi(hours)
	if err != nil {
		return err
	}
	cfg, err := chconn.EmbeddedConfig(dir)
	if err != nil {
		return err
	}
	conn, err := chconn.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer conn.Close()
	inner, err := clickhouse.New(conn)
	if err != nil {
		return err
	}
	store := &timed{Store: inner}
	c, err := closer.New(closer.DefaultConfig(), ledger.SecretFrom("bench"), store, slog.New(slog.NewTextHandler(os.Stderr, nil)), prometheus.NewRegistry())
	if err != nil {
		return err
	}
	var said closed
	c.OnClose = func(seal record.Seal) { said.Entries, said.Root = said.Entries+seal.Entries, seal.Root }
	if profile != "" {
		f, err := os.Create(profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	begun := time.Now()
	for said.Hours < want {
		n, err := c.Once(ctx)
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("%d of %d hours could be closed", said.Hours, want)
		}
		said.Hours += n
	}
	said.Total, said.Load, said.Append, said.Rows = time.Since(begun).Seconds(), store.load.Seconds(), store.append.Seconds(), store.rows
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return err
	}
	said.CPU = time.Duration(used.Utime.Nano() + used.Stime.Nano()).Seconds()
	if said.Peak, err = peakOf(os.Getpid()); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(said)
}

// close closes hours in a process of its own.
func (s *stack) close(t testing.TB, hours int) closed {
	t.Helper()
	p := newProgram(t, os.Args[0])
	p.cmd.Env = append(os.Environ(), roleVariable+"=closer", "BENCH_DIR="+s.data, fmt.Sprintf("BENCH_HOURS=%d", hours))
	text, err := p.cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, tail(p.log.String()), tail(s.engine.log.String()))
	}
	var said closed
	if err := json.Unmarshal(text, &said); err != nil {
		t.Fatal(err)
	}
	return said
}
