package fleet

import (
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/wattledger/wattledger/collector/dcgm"
	"github.com/wattledger/wattledger/collector/dcgm/simctl/simtest"
	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Every model of the trace is found by the real binding with its product name, its limit, its place in the model table and the
// source of its energy: P100 has no counter, and power is integrated.
func TestTheCollectorFindsTheModels(t *testing.T) {
	var nodes, pods strings.Builder
	for i, m := range openbModelNames() {
		nodes.WriteString(m + "-node,8000,8192,2," + m + "\n")
		pods.WriteString("p" + string(rune('0'+i)) + ",0,0,1,500," + m + ",LS,Running,1,,1\n")
	}
	f, _, err := play(nodes.String(), pods.String(), 1)
	if err != nil {
		t.Fatal(err)
	}
	library, sim := simtest.Play(t, f.Scenario())
	lib, err := dcgm.Load(library)
	if err != nil {
		t.Fatal(err)
	}
	models, err := factor.Models()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range f.Nodes {
		if err := sim.Advance(n.ID, f.Start+10*unit.Second); err != nil {
			t.Fatal(err)
		}
		cfg := dcgm.DefaultConfig()
		cfg.Address, cfg.Node, cfg.Period = n.ID, n.ID, 10*time.Second
		source, err := dcgm.Open(t.Context(), lib, cfg, slog.New(slog.NewTextHandler(io.Discard, nil)), nil)
		if err != nil {
			t.Errorf("%s: %v", n.ID, err)
			continue
		}
		devices := source.Devices()
		if len(devices) != 2 {
			t.Errorf("%s: %d devices, want 2", n.ID, len(devices))
		}
		for g, d := range devices {
			want := findOpenBModel(n.Hardware)
			power, ok := factor.FindModel(models, d.Model)
			if d.Model != want.product || !ok || d.LimitMilliwatts != power.Limit {
				t.Errorf("%s: device %q with limit %d mW, want %q with %d", n.ID, d.Model, d.LimitMilliwatts, want.product, power.Limit)
			}
			energy := record.EnergyHardware
			if n.Hardware == "P100" {
				energy = record.EnergyIntegrated
			}
			if d.Energy != energy {
				t.Errorf("%s: energy is %s, want %s", n.ID, d.Energy, energy)
			}
			if d.UUID != GPUUUID(f.Seed, n.ID, g) {
				t.Errorf("%s: GPU %d is %s", n.ID, g, d.UUID)
			}
		}
		if err := source.Close(); err != nil {
			t.Errorf("%s: %v", n.ID, err)
		}
	}
}

func TestTheLibraryTakesTheRealTrace(t *testing.T) {
	f, _ := realTrace(t, OpenBOptions{From: 12_844_800, Hours: 1, Seed: 7})
	_, sim := simtest.Play(t, f.Scenario())
	for _, n := range f.Nodes {
		if err := sim.Advance(n.ID, f.Start+30*unit.Second); err != nil {
			t.Fatal(err)
		}
	}
	simtest.Play(t, Live(f, f.End).Scenario())
}
