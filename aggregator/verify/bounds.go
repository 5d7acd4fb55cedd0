package verify

import (
	"cmp"
	"maps"
	"math/big"
	"slices"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// truthBook sets the ledger of one site after another against the truth.
type truthBook struct {
	real    Reality
	result  Truth
	tenants map[string]*tenantSum
}

// CheckTruth sets the ledger of a site against what really happened.
func CheckTruth(real Reality, nodes []Node, p Period, entries []record.Entry, cuts []record.Cut) Truth {
	b := truthBook{real: real}
	s := siteBook{period: p, allocations: map[string][]record.Allocation{}, entries: entries, cuts: cuts}
	for _, n := range nodes {
		s.devices = append(s.devices, n.Devices...)
		maps.Copy(s.allocations, n.Allocations)
	}
	b.add(s)
	return b.done()
}

// siteBook is what was booked of a site, and what is known of its devices.
type siteBook struct {
	period      Period
	devices     []record.Device
	allocations map[string][]record.Allocation
	entries     []record.Entry
	cuts        []record.Cut
}

// add checks a site. Bounds are claims about hardware counters: a counter that the collector integrates from power, a MIG
// instance's part and an estimate have none.
func (b *truthBook) add(s siteBook) {
	s.entries = summed(s.entries)
	devices := map[string]record.Device{}
	bounded := map[string]bool{}
	for _, d := range s.devices {
		devices[d.UUID] = d
		if d.Energy == record.EnergyHardware {
			bounded[d.UUID] = true
		}
	}
	b.cuts(s.cuts, bounded)
	partitioned := map[string]bool{}
	for _, d := range s.devices {
		if d.Kind == record.KindMIG {
			partitioned[d.Parent] = true
		}
	}
	for _, d := range s.devices {
		if d.Kind != record.KindGPU || partitioned[d.UUID] {
			delete(bounded, d.UUID) // of entries
		}
	}
	b.entries(s, bounded)
	b.sums(s, devices, partitioned)
}

// cuts checks every cut of a counter. Where the counter began is not known, only that all cuts of an epoch count from one
// zero: a cut with bounds [low, high] at true energy e puts that zero into [e − high, e − low]. The cuts outside their
// bounds are those that have to go before one zero suits the rest. For intervals on a line that is as strict as testing
// every pair (Helly). Counters show whole mJ: low and high are bounds of the exact value, of which c is the floor.
func (b *truthBook) cuts(cuts []record.Cut, bounded map[string]bool) {
	type epochKey struct {
		device string
		epoch  unit.Micros
		boot   string
	}
	type edge struct {
		at    int64
		after int // 0: an interval begins, 1: one ends
	}
	epochs := map[epochKey][]edge{}
	for _, c := range cuts {
		if !bounded[c.Device] || !claims(c) {
			continue
		}
		energy, ok := b.real.Energy(c.Device, c.T)
		e := int64(energy)
		if !ok {
			b.result.Unknown++
			continue
		}
		b.result.CutsChecked++
		k := epochKey{c.Device, c.Epoch, c.Boot}
		epochs[k] = append(epochs[k], edge{e - 1000*int64(c.High), 0}, edge{e - 1000*int64(c.Low), 1})
	}
	for _, edges := range epochs {
		slices.SortFunc(edges, func(a, b edge) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.after, b.after)) })
		depth, most := 0, 0
		for _, e := range edges {
			if e.after == 0 {
				depth++
			} else {
				depth--
			}
			most = max(most, depth)
		}
		b.result.Outside += len(edges)/2 - most
	}
}

// claims says whether a cut says where the counter was at its instant. An open one says nothing about what came after its last
// sample, and one after which the epoch ended unseen is that sample's value and has no width: a counter that shows whole mJ is never
// known better than by one.
func claims(c record.Cut) bool { return !c.Open && c.Low < c.High }

// entries checks GPU energy of whole and time-sliced devices where one epoch of the counter spans the entry. An entry's
// bounds cover its CPU too, so on the nodes that have one the test is wider than it need be.
func (b *truthBook) entries(s siteBook, bounded map[string]bool) {
	type cutKey struct {
		device string
		t      unit.Micros
	}
	type deviceHour struct{ device, hour string }
	spanned := map[cutKey]map[unit.Micros]bool{} // epochs with a closed cut there
	for _, c := range s.cuts {
		if !claims(c) {
			continue
		}
		k := cutKey{c.Device, c.T}
		if spanned[k] == nil {
			spanned[k] = map[unit.Micros]bool{}
		}
		spanned[k][c.Epoch] = true
	}
	oneEpoch := func(e record.Entry) bool {
		for epoch := range spanned[cutKey{e.Device, e.From}] {
			if spanned[cutKey{e.Device, e.To}][epoch] {
				return true
			}
		}
		return false
	}
	type holding struct{ device, id string }
	shares := map[holding]int64{}
	for _, list := range s.allocations {
		for _, a := range list {
			shares[holding{a.Device, a.ID}] = int64(a.Share)
		}
	}
	held := map[deviceHour]int64{} // µJ × thousandths
	missing := map[deviceHour]bool{}
	check := func(e record.Entry, thousandths int64) {
		if e.Estimated != 0 || !oneEpoch(e) {
			b.of(e.Tenant).unbounded = true
			return
		}
		t := b.of(e.Tenant)
		t.low, t.high = t.low+int64(e.BoundLow), t.high+int64(e.BoundHigh)
		b.result.EntriesChecked++
		low := 1_000_000 * int64(e.GPU-e.BoundLow)
		high := 1_000_000 * int64(e.GPU+e.BoundHigh)
		if thousandths < low || thousandths > high {
			b.result.Outside++
		}
	}
	for _, e := range s.entries {
		if !bounded[e.Device] && e.Account.Held() {
			b.of(e.Tenant).unbounded = true
		}
		if !bounded[e.Device] || !e.Account.Held() {
			continue
		}
		k := deviceHour{e.Device, e.Hour}
		energy, ok := between(b.real, e.Device, e.From, e.To)
		share, known := shares[holding{e.Device, e.Allocation}]
		if !ok || !known {
			b.result.Unknown++
			missing[k] = true
			continue
		}
		held[k] += energy * share
		check(e, energy*share)
	}
	for _, e := range s.entries {
		k := deviceHour{e.Device, e.Hour}
		if !bounded[e.Device] || e.Account.Held() || missing[k] {
			continue
		}
		energy, ok := between(b.real, e.Device, e.From, e.To)
		if !ok {
			b.result.Unknown++
			continue
		}
		check(e, 1000*energy-held[k])
	}
}

// of is the sum of a tenant; that of nobody is of the operator.
func (b *truthBook) of(tenant string) *tenantSum {
	if b.tenants == nil {
		b.tenants = map[string]*tenantSum{}
	}
	if b.tenants[tenant] == nil {
		b.tenants[tenant] = &tenantSum{}
	}
	return b.tenants[tenant]
}

// summed are the lines of the ledger: entries with what corrects them.
func summed(entries []record.Entry) []record.Entry {
	at := map[lineKey]int{}
	var out []record.Entry
	for _, e := range entries {
		k := keyOf(e)
		i, ok := at[k]
		if !ok {
			at[k] = len(out)
			out = append(out, e)
			continue
		}
		o := &out[i]
		o.GPU, o.CPU, o.NodeRest, o.ITShared, o.Facility = o.GPU+e.GPU, o.CPU+e.CPU, o.NodeRest+e.NodeRest, o.ITShared+e.ITShared, o.Facility+e.Facility
		o.Measured, o.Estimated, o.Modelled = o.Measured+e.Measured, o.Estimated+e.Estimated, o.Modelled+e.Modelled
		o.BoundLow, o.BoundHigh, o.DeviceTime = o.BoundLow+e.BoundLow, o.BoundHigh+e.BoundHigh, o.DeviceTime+e.DeviceTime
	}
	// A line that was taken back altogether is none: an allocation that was given to somebody else, say.
	return slices.DeleteFunc(out, func(e record.Entry) bool {
		return e.DeviceTime == 0 && e.Total() == 0 && e.BoundLow == 0 && e.BoundHigh == 0
	})
}

// sums adds up what each tenant was booked and what it really drew over its allocations.
func (b *truthBook) sums(s siteBook, devices map[string]record.Device, partitioned map[string]bool) {
	for _, e := range s.entries {
		if e.Tenant != "" {
			t := b.of(e.Tenant)
			t.booked.Add(&t.booked, big.NewInt(int64(e.GPU)))
		}
	}
	stays := map[string][]record.Device{}
	for _, d := range s.devices {
		stays[d.UUID] = append(stays[d.UUID], d)
	}
	for uuid, list := range s.allocations {
		d, ok := devices[uuid]
		if !ok || partitioned[uuid] || d.Kind == record.KindCPU {
			continue // nobody can hold it
		}
		placed := place(list)
		for _, a := range list {
			for _, stay := range stays[uuid] {
				from, to := s.period.clip(max(a.Start, stay.From), earlier(a.End, stay.To))
				if _, ok := placed[a.ID]; !ok || to <= from || (d.Kind == record.KindMIG && a.Share != unit.WholeDevice) {
					continue
				}
				t := b.of(a.Tenant)
				// Nothing is claimed of an instance, and one that its GPU has no room for may be in no entry.
				t.unbounded = t.unbounded || d.Kind == record.KindMIG
				energy, ok := between(b.real, uuid, from, to)
				if !ok {
					b.result.Unknown++
					t.unknown = true
					continue
				}
				t.real.Add(&t.real, new(big.Int).Mul(big.NewInt(energy), big.NewInt(int64(a.Share))))
			}
		}
	}
}

// earlier of two ends, of which 0 is open.
func earlier(a, b unit.Micros) unit.Micros {
	if a == 0 || (b != 0 && b < a) {
		return b
	}
	return a
}

// done is the result after the last site.
func (b *truthBook) done() Truth {
	for name, t := range b.tenants {
		if name == "" {
			continue // the operator's own
		}
		if t.outside() {
			b.result.Outside++
		}
		ppm, ok := t.ppm()
		if !ok {
			continue
		}
		b.result.TenantsChecked++
		if ppm > b.result.MaxTenantPPM || (ppm == b.result.MaxTenantPPM && name < b.result.WorstTenant) {
			b.result.MaxTenantPPM, b.result.WorstTenant = ppm, name
		}
	}
	return b.result
}
