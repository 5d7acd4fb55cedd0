package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/message"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// staysStated are the stays of each inventory that is put, with its revision.
type staysStated struct{ lines []string }

func (s *staysStated) Put(_ context.Context, m *message.Message) error {
	inv := &wl.Inventory{}
	if err := proto.Unmarshal(m.Value, inv); err != nil {
		return err
	}
	for _, x := range inv.Stays {
		s.lines = append(s.lines, fmt.Sprintf("%s %d-%d at %d", x.DeviceUuid, x.FromUs, x.ToUs, inv.Revision))
	}
	return nil
}

// gpuWith is a GPU with some MIG instances.
func gpuWith(gpu string, instances ...string) []agent.Device {
	list := []agent.Device{{Device: record.Device{UUID: gpu, Kind: record.KindGPU, Node: "n1", Model: "B200", Energy: record.EnergyHardware}}}
	for _, in := range instances {
		list = append(list, agent.Device{Device: record.Device{
			UUID: in, Parent: gpu, Kind: record.KindMIG, Node: "n1", Model: "B200", Slices: 1, Energy: record.EnergyNone,
		}})
	}
	return list
}

// A GPU is divided anew while the collector runs, and while none does. What ended and what began is stated once and for all.
func TestTheStaysOfInstancesAreStated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mig.json")
	var v *inventory
	s := &staysStated{}
	restart := func() {
		t.Helper()
		mig, err := readInstances(path)
		if err != nil {
			t.Fatal(err)
		}
		cfg := agent.DefaultConfig()
		cfg.Site, cfg.Node = "site-1", "n1"
		v = newInventory(message.NewWriter(s), cfg, mig, slog.New(slog.DiscardHandler))
	}
	f := func(what string, at unit.Micros, devices []agent.Device, want ...string) {
		t.Helper()
		s.lines = nil
		if err := v.state(t.Context(), devices, at); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if got := strings.Join(s.lines, ", "); got != strings.Join(want, ", ") {
			t.Errorf("%s: stated %q, want %q", what, got, want)
		}
	}
	restart()
	f("those found first were always there", 100, gpuWith("GPU-1", "MIG-a", "MIG-b"))
	f("one ends, one begins", 200, gpuWith("GPU-1", "MIG-b", "MIG-c"), "MIG-a 0-200 at 200", "MIG-c 200-0 at 200")
	f("to state it again changes nothing", 250, gpuWith("GPU-1", "MIG-b", "MIG-c"), "MIG-a 0-200 at 200", "MIG-c 200-0 at 200")
	f("of a GPU that is lost nothing is known", 260, gpuWith("GPU-2"), "MIG-a 0-200 at 200", "MIG-c 200-0 at 200")
	restart()
	f("a change between two runs", 300, gpuWith("GPU-1", "MIG-b", "MIG-d"), "MIG-a 0-200 at 200", "MIG-c 200-300 at 300", "MIG-d 300-0 at 300")
	f("one comes back under its name", 400, gpuWith("GPU-1", "MIG-a"),
		"MIG-a 0-200 at 200", "MIG-c 200-300 at 300", "MIG-b 0-400 at 400", "MIG-d 300-400 at 400", "MIG-a 400-0 at 400")
	f("a week later that is known", 400+remembered+1, gpuWith("GPU-1", "MIG-a"))
	restart()
	f("and its end is that of its own stay", 401+remembered+1, gpuWith("GPU-1"), fmt.Sprintf("MIG-a 400-%d at %d", 402+remembered, 402+remembered))
}

func TestWhatWasKnownOfInstancesCannotBeRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mig.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := readInstances(path)
	if err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v does not name the file", err)
	}
	if err := s.see(gpuWith("GPU-1", "MIG-a"), 100); err != nil || len(s.changes(100)) != 0 {
		t.Errorf("%v, changes %v: they count as always there", err, s.changes(100))
	}
}
