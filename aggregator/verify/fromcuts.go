package verify

import (
	"fmt"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Basis says what hours were recomputed from.
type Basis struct {
	// Samples and Cuts are hours of sites: recomputed in full while their samples are kept, or by the stored cuts alone.
	Samples int `json:"hours_from_samples"`
	Cuts    int `json:"hours_from_cuts"`
	// DeviceHours are those of GPUs in the hours recomputed from cuts; Unproved those of them that cuts do not tell: a counter that
	// began anew, a GPU in MIG mode, an edge without a reading on its right.
	DeviceHours int `json:"device_hours_from_cuts"`
	Unproved    int `json:"device_hours_unproved"`
}

func (b *Basis) join(o Basis) {
	b.Samples += o.Samples
	b.Cuts += o.Cuts
	b.DeviceHours += o.DeviceHours
	b.Unproved += o.Unproved
}

// CompareWithCuts holds the GPU energy of entries against the stored cuts, for hours whose samples are gone: each cut is on the line
// between the samples it names, and what an allocation has is the rise of its slots between the cuts at its edges. What was shared
// by the node and the site, and activity, cannot be told from cuts.
func CompareWithCuts(devices []record.Device, allocations map[string][]record.Allocation, entries []record.Entry, cuts []record.Cut, p Period) (Comparison, Basis) {
	out := CompareCuts(nil, cuts)
	basis := Basis{Cuts: len(p.hours())}
	at := map[Edge]map[unit.Micros]record.Cut{} // by epoch
	for _, c := range cuts {
		k := Edge{c.Device, c.T}
		if at[k] == nil {
			at[k] = map[unit.Micros]record.Cut{}
		}
		at[k][c.Epoch] = c
	}
	type lineOf struct{ device, hour, allocation string }
	have := map[lineOf]int64{}
	for _, e := range entries {
		have[lineOf{e.Device, e.Hour, e.Allocation}] += int64(e.GPU)
	}
	partitioned := map[string]bool{}
	for _, d := range devices {
		if d.Kind == record.KindMIG {
			partitioned[d.Parent] = true
		}
	}
	x := &exact{}
	for _, h := range p.hours() {
		for _, d := range devices {
			from, to := span(newWindow(h, false), d)
			if d.Kind != record.KindGPU || to <= from {
				continue
			}
			basis.DeviceHours++
			first, last, ok := spanning(at[Edge{d.UUID, h}], at[Edge{d.UUID, h + unit.Hour}])
			if !ok || partitioned[d.UUID] {
				basis.Unproved++
				continue
			}
			want := map[string]int64{"": int64(last.C - first.C)}
			told := true
			slots := place(allocations[d.UUID])
			for _, a := range allocations[d.UUID] {
				rows, ok := slots[a.ID]
				start, end := max(from, int64(a.Start)), to
				if a.End != 0 {
					end = min(to, int64(a.End))
				}
				if !ok || end <= start {
					continue
				}
				lo, okA := at[Edge{d.UUID, unit.Micros(start)}][first.Epoch]
				hi, okB := at[Edge{d.UUID, unit.Micros(end)}][first.Epoch]
				if !okA || !okB {
					told = false
					break
				}
				for _, r := range rows {
					upper := x.floor(int64(hi.C), r.hi, 1000) - x.floor(int64(lo.C), r.hi, 1000)
					lower := x.floor(int64(hi.C), r.lo, 1000) - x.floor(int64(lo.C), r.lo, 1000)
					want[a.ID] += upper - lower
					want[""] -= upper - lower
				}
			}
			if !told {
				basis.Unproved++
				continue
			}
			for id, v := range want {
				if got := have[lineOf{d.UUID, stamp(h), id}]; got != v {
					out.Entries++
					out.RuleError += abs(unit.Millijoules(got - v))
					if len(out.First) < named {
						out.First = append(out.First, fmt.Sprintf("hour %s device %s allocation %q: gpu_mj is %d, by the cuts %d", stamp(h), d.UUID, id, got, v))
					}
				}
			}
		}
	}
	return out, basis
}

// spanning are the cuts of one epoch at both ends of an hour, if there is one.
func spanning(start, end map[unit.Micros]record.Cut) (first, last record.Cut, ok bool) {
	for epoch, c := range start {
		if e, both := end[epoch]; both && claims(c) && claims(e) {
			return c, e, true
		}
	}
	return first, last, false
}
