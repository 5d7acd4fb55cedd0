package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"google.golang.org/protobuf/proto"

	"github.com/wattledger/wattledger/collector/dcgm/simctl/simtest"
	"github.com/wattledger/wattledger/collector/spool"
	embedded "github.com/wattledger/wattledger/internal/embedded/kafka"
	"github.com/wattledger/wattledger/internal/embedded/kafka/kafkatest"
	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

func execute(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var c cli
	var out, errs bytes.Buffer
	code = program().Execute(ctx, args, nil, &out, &errs, &c, &c.Flags)
	return code, out.String(), errs.String()
}

const tray = "seed 3\nclock wall\nnode localhost gb200\n"

func TestOnce(t *testing.T) {
	lib, _ := simtest.Play(t, tray)
	code, out, errs := execute(t.Context(), "--once", "--json", "--node", "n9", "--period", "100ms", "--dcgm-library", lib)
	if code != process.ExitDone {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	var r reading
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if r.Node != "n9" || len(r.Devices) != 6 {
		t.Fatalf("node %s has %d devices, want n9 with 4 GPUs and 2 CPUs", r.Node, len(r.Devices))
	}
	for _, d := range r.Devices {
		if power := d.Fields["155"]; power.At == 0 || power.Value == "" || power.Value == "0" {
			t.Errorf("%s %s draws %+v", d.Kind, d.UUID, power)
		}
	}
	code, out, errs = execute(t.Context(), "--once", "--period", "100ms", "--dcgm-library", lib)
	if code != process.ExitDone || !strings.Contains(out, r.Devices[0].UUID) || !strings.Contains(out, "power [W]") {
		t.Errorf("exit code %d, table %s, errors %s", code, out, errs)
	}
}

func TestCheckStopsAfterTheWiring(t *testing.T) {
	lib, _ := simtest.Play(t, tray)
	data := t.TempDir()
	args := []string{"--check", "--site", "s1", "--data", data, "--dcgm-library", lib}
	if code, _, errs := execute(t.Context(), args...); code != process.ExitDone {
		t.Errorf("exit code %d: %s", code, errs)
	}
	if left, err := os.ReadDir(data); err != nil || len(left) != 0 {
		t.Errorf("checking leaves %v, %v", left, err)
	}
	// As on a node before a reload: the collector that runs there has the spool.
	cfg := spool.DefaultConfig()
	cfg.Dir = filepath.Join(data, "spool")
	s, err := spool.Open(cfg, now, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if code, _, errs := execute(t.Context(), args...); code != process.ExitDone {
		t.Errorf("beside a running collector the exit code is %d: %s", code, errs)
	}
}

func TestWrongUsageIsExplained(t *testing.T) {
	lib, _ := simtest.Play(t, tray)
	f := func(want string, code int, args ...string) {
		t.Helper()
		got, _, errs := execute(t.Context(), args...)
		if got != code || !strings.Contains(errs, want) {
			t.Errorf("%v: exit code %d, want %d with %q: %s", args, got, code, want, errs)
		}
	}
	f("site", process.ExitUsage, "--dcgm-library", lib)
	f("period", process.ExitUsage, "--site", "s1", "--period", "never", "--dcgm-library", lib)
	f("datacenter-gpu-manager-4-core", process.ExitFailed, "--once", "--dcgm-library", "/nowhere/libdcgm.so.4")
	f("nv-hostengine", process.ExitFailed, "--once", "--dcgm-library", lib, "--dcgm-address", "nobody")
	f("--metrics-listen", process.ExitUsage, "--site", "s1", "--source", "dcgm-exporter") // it would read its own page
}

func TestItPublishesUntilStopped(t *testing.T) {
	lib, _ := simtest.Play(t, tray)
	conn := kafkatest.Start(t, embedded.Topic{Name: wire.TopicSample, Partitions: 1}, embedded.Topic{Name: wire.TopicInventory, Partitions: 1})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	data := t.TempDir()
	type end struct {
		code int
		errs string
	}
	done := make(chan end, 1)
	go func() {
		code, _, errs := execute(ctx, "--site", "s1", "--node", "n1", "--period", "100ms", "--dcgm-library", lib,
			"--data", data, "--brokers", strings.Join(conn.Brokers, ","), "--metrics-listen", "127.0.0.1:0")
		done <- end{code, errs}
	}()

	reader := func(topic string) *kafka.Reader {
		r := kafka.NewReader(kafka.ReaderConfig{Brokers: conn.Brokers, Topic: topic, MaxWait: 50 * time.Millisecond})
		t.Cleanup(func() { r.Close() })
		return r
	}
	wait, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	m, err := reader(wire.TopicInventory).ReadMessage(wait)
	if err != nil {
		t.Fatal(err)
	}
	inv := &wl.Inventory{}
	if err := proto.Unmarshal(m.Value, inv); err != nil || len(inv.Devices) != 6 || inv.Devices[0].Node != "n1" {
		t.Errorf("inventory is %v, %v", inv, err)
	}
	for _, d := range inv.Devices {
		if d.FromUs != 0 {
			t.Errorf("%s is said to be there from %d on: the next start of the collector would take back what it held before", d.Uuid, d.FromUs)
		}
	}
	samples := reader(wire.TopicSample)
	var complete int64
	for stopped := false; ; {
		m, err := samples.ReadMessage(wait)
		if err != nil {
			t.Fatal(err)
		}
		b := &wl.SampleBatch{}
		if err := proto.Unmarshal(m.Value, b); err != nil {
			t.Fatal(err)
		}
		if err := wire.ValidateSamples(b); err != nil {
			t.Fatal(err)
		}
		if b.CompleteUpToUs < complete {
			t.Errorf("complete up to %d after %d", b.CompleteUpToUs, complete)
		}
		complete = b.CompleteUpToUs
		if !stopped {
			stopped = true
			stop()
			e := <-done
			if e.code != process.ExitDone {
				t.Errorf("exit code %d: %s", e.code, e.errs)
			}
		}
		// The last message of a clean stop declares the run complete beyond its own last tick.
		if n := len(b.TickUs); n == 0 || complete > b.TickUs[n-1] {
			return
		}
	}
}
