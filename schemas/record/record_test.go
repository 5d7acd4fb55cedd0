package record

import (
	"strings"
	"testing"

	"github.com/wattledger/wattledger/schemas/unit"
)

// faultsOf checks that Validate names exactly these faults, each by a word of it, all at once.
func faultsOf(t *testing.T, what string, err error, want ...string) {
	t.Helper()
	var lines []string
	if err != nil {
		lines = strings.Split(err.Error(), "\n")
	}
	if len(lines) != len(want) {
		t.Errorf("%s: faults are %q, want %d of them", what, lines, len(want))
		return
	}
	for i, word := range want {
		if !strings.Contains(lines[i], word) {
			t.Errorf("%s: fault %q does not say %q", what, lines[i], word)
		}
	}
}

func TestAllocationValidate(t *testing.T) {
	good := Allocation{ID: "a", Device: "GPU-1", Tenant: "t", Share: 1000, Start: unit.Hour}
	f := func(what string, change func(*Allocation), want ...string) {
		t.Helper()
		a := good
		change(&a)
		faultsOf(t, what, a.Validate(), want...)
	}
	f("as stated", func(*Allocation) {})
	f("it runs", func(a *Allocation) { a.End = 0 })
	f("one thousandth", func(a *Allocation) { a.Share = 1 })
	f("a share of nothing", func(a *Allocation) { a.Share = 0 }, "1 to 1000")
	f("more than the device", func(a *Allocation) { a.Share = 1001 }, "1 to 1000")
	f("it ends as it starts", func(a *Allocation) { a.End = a.Start }, "is not after start 1970-01-01T01:00:00.000000Z")
	f("a purpose of its own", func(a *Allocation) { a.Purpose = "mining" }, "training, fine-tuning, inference, research")
	f("spaces are no name", func(a *Allocation) { a.Tenant = " " }, "tenant is empty")
	f("nothing at all", func(a *Allocation) { *a = Allocation{} }, "allocation_id", "device", "tenant", "thousandths", "start")
	for _, p := range Purposes {
		f(p, func(a *Allocation) { a.Purpose = p })
	}
}

func TestSiteValidate(t *testing.T) {
	good := Site{ID: "s", Country: "FR", Zone: "FR", OperatorCountry: "SE", PUEThousandths: 1250}
	f := func(what string, change func(*Site), want ...string) {
		t.Helper()
		s := good
		change(&s)
		faultsOf(t, what, s.Validate(), want...)
	}
	f("as stated", func(*Site) {})
	f("its operator's country is not known", func(s *Site) { s.OperatorCountry = "" })
	f("a PUE of one", func(s *Site) { s.PUEThousandths = 1000 })
	f("less than one", func(s *Site) { s.PUEThousandths = 999 }, "at least 1")
	f("a PUE in millionths", func(s *Site) { s.PUEThousandths = 1_250_000 }, "at most 10")
	f("small letters", func(s *Site) { s.Country = "fr" }, "ISO 3166-1")
	f("two bytes that are one letter", func(s *Site) { s.Country = "É" }, "ISO 3166-1")
	f("nothing at all", func(s *Site) { *s = Site{} }, "id", "grid zone", "country", "PUE")
}

func TestNodeValidate(t *testing.T) {
	faultsOf(t, "a node", Node{ID: "n", Site: "s", RestMilliwatts: 1_500_000, From: 1}.Validate())
	faultsOf(t, "it left", Node{ID: "n", Site: "s", From: 1, To: 2}.Validate())
	faultsOf(t, "it left before it came", Node{ID: "n", Site: "s", From: 2, To: 2}.Validate(), "not after")
	faultsOf(t, "kilowatts taken for milliwatts", Node{ID: "n", Site: "s", RestMilliwatts: 1_500_000_000_000}.Validate(), "mW")
	faultsOf(t, "nothing at all", Node{RestMilliwatts: -1, To: -1}.Validate(), "id", "site", "rest", "1970")
}

func TestDeviceValidate(t *testing.T) {
	faultsOf(t, "a GPU", Device{UUID: "GPU-1", Node: "n", Kind: KindGPU, LimitMilliwatts: 1_000_000}.Validate())
	faultsOf(t, "an instance", Device{UUID: "MIG-1", Node: "n", Kind: KindMIG, Parent: "GPU-1", Slices: 3}.Validate())
	faultsOf(t, "an instance of no GPU", Device{UUID: "MIG-1", Node: "n", Kind: KindMIG, Slices: 8}.Validate(), "8 compute slices", "parent")
	faultsOf(t, "nothing at all", Device{Kind: 9, LimitMilliwatts: -1, IdleMilliwatts: 1 << 60}.Validate(), "uuid", "node", "kind", "limit", "idle")
}

func TestTenantValidate(t *testing.T) {
	faultsOf(t, "a tenant", Tenant{ID: "t", AllowedCountries: []string{"FR", "SE"}}.Validate())
	faultsOf(t, "faults", Tenant{Country: "France", AllowedCountries: []string{""}}.Validate(), "id", "country", "allowed country")
}

func TestEntryValidate(t *testing.T) {
	good := Entry{
		Site: "s", Hour: "2026-01-31T23:00:00Z", Kind: Closing, Account: AccountTenant, Node: "n", Device: "GPU-1", Tenant: "t",
		From: 1, To: 2, DeviceTime: 1000, GPU: 5, Facility: 1, Measured: 5, Modelled: 1,
	}
	f := func(what string, change func(*Entry), want ...string) {
		t.Helper()
		e := good
		change(&e)
		faultsOf(t, what, e.Validate(), want...)
	}
	f("as booked", func(*Entry) {})
	f("a millijoule from nowhere", func(e *Entry) { e.GPU++ }, "sum to 6 mJ, the components to 7 mJ")
	f("nobody's energy with a tenant", func(e *Entry) { e.Account = AccountUnallocated }, "names the tenant")
	f("a tenant's without one", func(e *Entry) { e.Tenant = "" }, "tenant is empty")
	f("a bound is a distance", func(e *Entry) { e.BoundLow = -1 }, "bounds")
	f("more absent than there is", func(e *Entry) { e.Unavailable = 1001 }, "unavailable")
	f("backwards", func(e *Entry) { e.To = 0 }, "before it begins")
	f("an adjustment of nothing", func(e *Entry) { e.Kind = Adjustment }, "names the entry it corrects")
	f("an adjustment takes back", func(e *Entry) {
		e.Kind, e.Corrects, e.DeviceTime, e.GPU, e.Measured = Adjustment, "id", -1000, -5, -5
	})
	f("nothing at all", func(e *Entry) { *e = Entry{} }, "site", "hour", "node", "kind", "account")
}

// Code names some counters by their place.
func TestNamedCounters(t *testing.T) {
	for i, name := range map[int]string{
		CEnergy: "energy_mj", CPowerIntegral: "power_integral_mj", CGrEngineActive: "gr_engine_active_us", CSMActive: "sm_active_us",
		CTicksExpected: "ticks_expected", CTicksRead: "ticks_read",
	} {
		if Counters[i].Name != name {
			t.Errorf("counter %d is %s, want %s", i, Counters[i].Name, name)
		}
	}
	if Codes[CodeXID].Name != "xid" || Codes[CodeEnergyEpoch].Name != "energy_epoch" {
		t.Errorf("codes are %v", Codes)
	}
	if len(Counters)+len(Gauges)+len(Codes) != len(Metrics) {
		t.Error("a metric is of no kind")
	}
	seen := map[string]bool{}
	for _, m := range Metrics {
		if seen[m.Name] || m.Help == "" {
			t.Errorf("metric %s stands twice, or without help", m.Name)
		}
		seen[m.Name] = true
	}
}

func TestIncidentValidate(t *testing.T) {
	good := Incident{Kind: IncidentGap, Reason: "stopped", From: unit.Hour, To: 2 * unit.Hour}
	f := func(what string, change func(*Incident), want ...string) {
		t.Helper()
		i := good
		change(&i)
		faultsOf(t, what, i.Validate(), want...)
	}
	f("as stated", func(*Incident) {})
	f("of an instant", func(i *Incident) { i.To = i.From })
	f("a kind of its own", func(i *Incident) { i.Kind = "mishap" }, "gap, loss, clock_step, epoch, restart")
	f("it ends first", func(i *Incident) { i.To = 1 }, "before it begins")
	f("messages backwards", func(i *Incident) { i.First = 2; i.Last = 1 }, "before its first")
	f("nothing at all", func(i *Incident) { *i = Incident{} }, "kind", "reason", "from")
}

func TestReadingValidate(t *testing.T) {
	good := Reading{Meter: "m", Quantity: "node_energy", Unit: "mJ", From: unit.Hour, To: unit.Hour, Value: 7, Counter: true}
	f := func(what string, change func(*Reading), want ...string) {
		t.Helper()
		r := good
		change(&r)
		faultsOf(t, what, r.Validate(), want...)
	}
	f("as stated", func(*Reading) {})
	f("an interval", func(r *Reading) { r.Counter = false; r.To = 2 * unit.Hour; r.Value = -1 })
	f("a quantity of its own", func(r *Reading) { r.Quantity = "noise" }, "cpu_energy, dram_energy, grid_intensity")
	f("in another unit", func(r *Reading) { r.Unit = "kWh" }, "node_energy is stated in mJ")
	f("a counter over time", func(r *Reading) { r.To = 2 * unit.Hour }, "at one instant")
	f("a counter below nothing", func(r *Reading) { r.Value = -1 }, "not negative")
	f("nothing at all", func(r *Reading) { *r = Reading{} }, "meter", "quantity", "from")
}
