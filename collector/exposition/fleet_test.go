package exposition_test

import (
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/dcgmfields"
	"github.com/wattledger/wattledger/collector/exposition"
	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

const (
	second = unit.Micros(1_000_000)
	start  = unit.Micros(1_767_225_600_000_000) // 2026-01-01
)

// node is a host with devices whose values follow from their position and field.
type node struct {
	devices []agent.Device
	extra   []uint16
	r       *meter.Readings
}

func all() (s meter.Set) {
	for i := range meter.Fields {
		s = s.With(meter.Slot(i))
	}
	return s
}

func gpu(i int) agent.Device {
	return agent.Device{
		Device: record.Device{
			UUID: fmt.Sprintf("GPU-00000000-0000-0000-0000-%012d", i), Kind: record.KindGPU, Model: "NVIDIA B200", Index: uint32(i),
			Energy: record.EnergyHardware,
		},
		Slots: all(), PCI: fmt.Sprintf("00000000:%02X:00.0", 0x1b+i), File: fmt.Sprintf("nvidia%d", 7-i%8),
	}
}

func newNode(c *exposition.Counters, gpus, perGPU, cpus int) *node {
	n := &node{extra: c.Extra()}
	for i := range gpus {
		n.devices = append(n.devices, gpu(i))
	}
	for i := range gpus {
		for g := range perGPU {
			n.devices = append(n.devices, agent.Device{
				Device: record.Device{
					UUID: fmt.Sprintf("MIG-00000000-0000-0000-%04d-%012d", i, g), Parent: n.devices[i].UUID, Kind: record.KindMIG,
					Model: "NVIDIA B200 MIG 1g.23gb", Index: uint32(g + 7), Slices: 1, Energy: record.EnergyNone,
				},
				Slots: all(), Profile: "1g.23gb",
			})
		}
	}
	for i := range cpus {
		n.devices = append(n.devices, agent.Device{
			Device: record.Device{UUID: fmt.Sprintf("CPU-x-%d", i), Kind: record.KindCPU, Model: "Grace", Index: uint32(i), Energy: record.EnergyIntegrated},
			Slots:  meter.Set(0).With(meter.SlotPower),
		})
	}
	n.r = meter.NewWideReadings(len(n.devices), len(n.extra))
	return n
}

// read fills every value as of an instant; no device has had an XID.
func (n *node) read(at unit.Micros) *meter.Readings {
	n.r.Reset()
	value := func(device int, field uint16) meter.Value {
		f, _ := dcgmfields.ByID(field)
		v := int64(field)*100 + int64(device)
		out := meter.Value{At: at, Int: v, Float: float64(v)}
		if f.Type == dcgmfields.Double {
			out.Float = float64(v) / 1e5
			out.Int = int64(out.Float)
		}
		return out
	}
	for i, d := range n.devices {
		for s, field := range meter.Fields {
			if field != 230 && d.Slots.Has(meter.Slot(s)) {
				n.r.Row(i)[s] = value(i, field)
			}
		}
		for x, field := range n.extra {
			n.r.Extra(i)[x] = value(i, field)
		}
	}
	return n.r
}

func counters(t testing.TB, csv string) *exposition.Counters {
	t.Helper()
	var c *exposition.Counters
	var err error
	if csv == "" {
		c, err = exposition.LoadCounters("")
	} else {
		c, err = exposition.ParseCounters("test.csv", []byte(csv))
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func config() exposition.Config {
	c := exposition.DefaultConfig()
	c.Host = "node-1"
	return c
}

func open(t testing.TB, cfg exposition.Config, c *exposition.Counters, p exposition.Ports, now *unit.Micros) *exposition.Exposition {
	t.Helper()
	e, err := exposition.New(cfg, c, p, func() unit.Micros { return *now }, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func driver(string, int) string { return "580.95.05" }
