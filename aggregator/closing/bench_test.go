package closing

import (
	"fmt"
	"testing"

	"github.com/wattledger/wattledger/aggregator/carbon"
	"github.com/wattledger/wattledger/aggregator/window"
	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// fleet is an hour of nodes of eight GPUs as the store hands it over: of whole GPUs the readings around edges, of every
// twentieth GPU, in MIG mode with three instances, all of 1 Hz.
func fleet(gpus int) Hour {
	h := Hour{
		Site: record.Site{ID: "s", PUEThousandths: 1200}, Start: start, Limits: DefaultLimits(),
		Factors: carbon.Factors{
			Grid:     edition(factor.GridIntensity, "FR", 44_180_000),
			Embodied: map[string]factor.Chosen{"NVIDIA B200": edition(factor.Embodied, "NVIDIA B200", 284_250_000_000)},
		},
	}
	second := func(uuid string, t unit.Micros) (window.Point, Work) {
		return window.Point{T: t, C: unit.Millijoules(t-start)/2000 + 1<<40, Boot: "b", Run: "r", Integral: unit.Millijoules(t-start)/2000 + 1<<30},
			Work{T: t, Run: "r", SMActive: (t-start)/2 + 1<<40, Expected: int64((t - start) / unit.Second), Read: int64((t - start) / unit.Second)}
	}
	for i := range gpus {
		if i%8 == 0 {
			id := fmt.Sprintf("node-%05d", i/8)
			h.Nodes = append(h.Nodes, Node{
				Node: record.Node{ID: id, RestMilliwatts: 900_000},
				Readings: []record.Reading{
					{Meter: "bmc " + id, Quantity: "node_energy", From: start - unit.Second, To: start - unit.Second, Counter: true, Value: 1},
					{Meter: "bmc " + id, Quantity: "node_energy", From: start + unit.Hour, To: start + unit.Hour, Counter: true, Value: 18_000_000_000},
				},
			})
		}
		n := &h.Nodes[len(h.Nodes)-1]
		d := Device{Device: record.Device{
			UUID: fmt.Sprintf("GPU-%05d", i), Kind: record.KindGPU, Model: "NVIDIA B200", Index: uint32(i % 8), Energy: record.EnergyHardware,
			LimitMilliwatts: 1_000_000, IdleMilliwatts: 140_000,
		}, Period: unit.Second}
		seconds := []unit.Micros{-1, 0, 1799, 1800, 3599, 3600}
		if i%20 == 0 {
			seconds = nil
			for t := unit.Micros(-1); t <= 3601; t++ {
				seconds = append(seconds, t)
			}
		}
		for _, s := range seconds {
			p, w := second(d.UUID, start+s*unit.Second-30_000)
			d.Points, d.Work = append(d.Points, p), append(d.Work, w)
		}
		hold := record.Allocation{ID: "a-" + d.UUID, Device: d.UUID, Tenant: "t", Share: 1000, Start: start + 1800*unit.Second - 123}
		if i%20 != 0 {
			d.Allocations = []record.Allocation{hold}
		} else {
			for k := range 3 {
				in := Device{Device: record.Device{UUID: fmt.Sprintf("MIG-%05d-%d", i, k), Parent: d.UUID, Kind: record.KindMIG, Slices: 2, Model: "NVIDIA B200"}, Work: d.Work, Period: unit.Second}
				hold.ID, hold.Device = "a-"+in.UUID, in.UUID
				in.Allocations = []record.Allocation{hold}
				n.Devices = append(n.Devices, in)
			}
		}
		n.Devices = append(n.Devices, d)
	}
	return h
}

func BenchmarkClose(b *testing.B) {
	for _, gpus := range []int{500, 2000, 18_000} {
		b.Run(fmt.Sprint(gpus), func(b *testing.B) {
			h := fleet(gpus)
			b.ReportAllocs()
			for b.Loop() {
				res, err := Close(h)
				if err != nil || len(res.Findings) > 0 {
					b.Fatal(err, res.Findings)
				}
			}
		})
	}
}
