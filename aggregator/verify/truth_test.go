package verify

import (
	"strings"
	"testing"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

func TestReadTruth(t *testing.T) {
	f := func(text, fault string) {
		t.Helper()
		_, err := ReadTruth(strings.NewReader(text))
		if (err == nil) != (fault == "") || (err != nil && !strings.Contains(err.Error(), fault)) {
			t.Errorf("ReadTruth(%q): %v, want %q", text, err, fault)
		}
	}
	f(truthHeader+"\nGPU-1,10,5\nGPU-1,20,5\nGPU-2,10,7\n", "")
	f(truthHeader+"\nGPU-1,10,5\nGPU-1,10,5\n", "") // a row written twice
	f("", "")
	f("device,time\n", "write the header")
	f(truthHeader+"\nGPU-1,10\n", "line 2")
	f(truthHeader+"\nGPU-1,10,5\nGPU-1,x,5\n", "line 3")
	f(truthHeader+"\nGPU-1,10,5\nGPU-1,20,4\n", "does not rise")
}

func FuzzReadTruth(f *testing.F) {
	f.Add(truthHeader + "\nGPU-1,10,5\nGPU-1,20,5\n")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		e, err := ReadTruth(strings.NewReader(text))
		if err != nil {
			return
		}
		for entity, points := range e {
			for _, p := range points {
				if v, ok := e.Energy(entity, p.At); !ok || v != p.Energy {
					t.Fatalf("%s at %d is %d, %v; read %d", entity, p.At, v, ok, p.Energy)
				}
			}
		}
	})
}

const day = 1_790_000_000_000_000 / unit.Hour * unit.Hour

// steady is a GPU that draws 100 W in the hour, held by half from minute 10 to 20, with its cuts and entries.
func steady() (TrueEnergy, siteBook) {
	at := func(minute int64) unit.Micros { return day + unit.Micros(minute)*60*unit.Second }
	real := TrueEnergy{}
	var cuts []record.Cut
	for _, m := range []int64{0, 10, 20, 60} {
		real["GPU-1"] = append(real["GPU-1"], TruePoint{At: at(m), Energy: unit.Microjoules(77 + m*60*100_000_000)})
		c := unit.Millijoules(5_000 + m*60*100_000)
		cuts = append(cuts, record.Cut{Device: "GPU-1", Epoch: day - 1, T: at(m), C: c, Low: c - 10, High: c + 11})
	}
	entry := func(account record.Account, tenant string, from, to int64, e unit.Millijoules) record.Entry {
		return record.Entry{
			Hour: "h", Device: "GPU-1", Account: account, Tenant: tenant, Allocation: "a", From: at(from), To: at(to),
			GPU: e, Measured: e, BoundLow: 12, BoundHigh: 12,
		}
	}
	return real, siteBook{
		period:  Period{From: day, To: day + unit.Hour},
		devices: []record.Device{{UUID: "GPU-1", Kind: record.KindGPU, Energy: record.EnergyHardware}},
		allocations: map[string][]record.Allocation{
			"GPU-1": {{ID: "a", Device: "GPU-1", Tenant: "t", Share: 500, Start: at(10), End: at(20)}},
		},
		entries: []record.Entry{
			entry(record.AccountTenant, "t", 10, 20, 30_000_000),
			entry(record.AccountUnallocated, "", 0, 60, 330_000_000),
		},
		cuts: cuts,
	}
}

func TestTruth(t *testing.T) {
	f := func(want Truth, edit func(TrueEnergy, *siteBook)) {
		t.Helper()
		real, s := steady()
		edit(real, &s)
		b := truthBook{real: real}
		b.add(s)
		if got := b.done(); got != want {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
	right := Truth{CutsChecked: 4, EntriesChecked: 2, TenantsChecked: 1}
	f(right, func(TrueEnergy, *siteBook) {})

	outside := right
	outside.Outside = 1
	f(outside, func(_ TrueEnergy, s *siteBook) { s.cuts[1].Low += 22; s.cuts[1].High += 22 })
	f(right, func(_ TrueEnergy, s *siteBook) { s.cuts[1].Low += 20; s.cuts[1].High += 20 }) // one zero still suits all
	f(outside, func(_ TrueEnergy, s *siteBook) { s.entries[1].GPU += 13 })

	wrong := outside
	wrong.MaxTenantPPM, wrong.WorstTenant, wrong.Outside = 1, "t", 2 // the entry, and the sum of its tenant
	f(wrong, func(_ TrueEnergy, s *siteBook) { s.entries[0].GPU += 30 })

	open := right
	open.CutsChecked, open.EntriesChecked = 3, 1
	f(open, func(_ TrueEnergy, s *siteBook) { s.cuts[3].Open = true })

	// The truth does not name an edge: nothing is claimed about what hangs on it.
	unknown := Truth{CutsChecked: 3, Unknown: 3}
	f(unknown, func(e TrueEnergy, _ *siteBook) { e["GPU-1"] = append(e["GPU-1"][:1:1], e["GPU-1"][2:]...) })
}
