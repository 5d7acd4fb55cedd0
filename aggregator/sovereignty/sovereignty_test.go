package sovereignty_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/aggregator/sovereignty"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

func TestVerdicts(t *testing.T) {
	f := func(site record.Site, allowed []string, sv03, sv01 sovereignty.Verdict) {
		t.Helper()
		site.ID = "s"
		j := sovereignty.New([]record.Site{site}, []record.Tenant{{ID: "t", AllowedCountries: allowed}})
		j.Add("e1", record.Entry{Account: record.AccountTenant, Tenant: "t", Site: "s", Allocation: "a", DeviceTime: 7, Hour: "h"})
		got := j.Findings()
		if got.Rows[0].Allocated.Verdict != sv03 || got.Rows[0].InEU.Verdict != sv01 {
			t.Errorf("%s against %v: %+v", site.Country, allowed, got.Rows[0])
		}
		if violated := len(got.Violations) == 1; violated != (sv03 == sovereignty.Fail) {
			t.Errorf("%s against %v: %+v", site.Country, allowed, got.Violations)
		}
	}
	f(record.Site{Country: "FR"}, []string{"FR"}, sovereignty.Pass, sovereignty.Pass)
	f(record.Site{Country: "SE"}, []string{"FR"}, sovereignty.Fail, sovereignty.Pass)
	f(record.Site{Country: "CH"}, []string{"CH"}, sovereignty.Pass, sovereignty.Fail)
	f(record.Site{Country: "US"}, nil, sovereignty.Pass, sovereignty.Fail)
	f(record.Site{Country: ""}, []string{"FR"}, sovereignty.Unknown, sovereignty.Unknown)
	f(record.Site{Country: "T "}, []string{"T "}, sovereignty.Unknown, sovereignty.Unknown)
}

func TestUnknownTenantIsNotPass(t *testing.T) {
	j := sovereignty.New([]record.Site{{ID: "s", Country: "FR"}}, nil)
	j.Add("e", record.Entry{Account: record.AccountTenant, Tenant: "nobody-knows", Site: "s"})
	j.Add("u", record.Entry{Account: record.AccountUnallocated, Site: "s"})
	got := j.Findings()
	if len(got.Rows) != 1 || got.Rows[0].Allocated.Verdict != sovereignty.Unknown {
		t.Errorf("%+v", got.Rows)
	}
}

func TestMemberStates(t *testing.T) {
	n := 0
	for a := 'A'; a <= 'Z'; a++ {
		for b := 'A'; b <= 'Z'; b++ {
			if sovereignty.InEU(string([]rune{a, b})) {
				n++
			}
		}
	}
	if n != 27 || sovereignty.InEU("T B") || sovereignty.InEU("") || sovereignty.InEU(" B") {
		t.Errorf("%d member states", n)
	}
}

// Every hour a tenant held has a verdict; violations name exactly the entries that failed; order does not matter to sums.
func TestCoverage(t *testing.T) {
	sites := []record.Site{{ID: "fr", Country: "FR"}, {ID: "ch", Country: "CH"}, {ID: "xx"}}
	tenants := []record.Tenant{{ID: "a", AllowedCountries: []string{"FR"}}, {ID: "b"}}
	rapid.Check(t, func(t *rapid.T) {
		j := sovereignty.New(sites, tenants)
		var held unit.DeviceTime
		failed := map[string]bool{}
		for i := range rapid.IntRange(0, 40).Draw(t, "entries") {
			e := record.Entry{
				Account: record.AccountTenant, Tenant: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "tenant"),
				Site: rapid.SampledFrom([]string{"fr", "ch", "xx"}).Draw(t, "site"), Allocation: rapid.SampledFrom([]string{"1", "2"}).Draw(t, "allocation"),
				DeviceTime: unit.DeviceTime(rapid.Int64Range(0, 1000).Draw(t, "time")), Hour: fmt.Sprint(i % 5),
			}
			id := fmt.Sprint("e", i)
			j.Add(id, e)
			held += e.DeviceTime
			if e.Tenant == "a" && e.Site == "ch" {
				failed[id] = true
			}
		}
		f := j.Findings()
		if c := f.Coverage; c.Pass+c.Fail+c.Unknown != held {
			t.Fatalf("%+v does not cover %d", c, held)
		}
		for _, v := range f.Violations {
			for _, id := range v.Entries {
				if !failed[id] || !strings.HasPrefix(id, "e") {
					t.Fatalf("%s did not fail, or is named twice", id)
				}
				delete(failed, id)
			}
		}
		if len(failed) > 0 {
			t.Fatalf("not named: %v", failed)
		}
		parts := f.Of("a").Coverage.Fail + f.Of("b").Coverage.Fail + f.Of("c").Coverage.Fail
		if parts != f.Coverage.Fail {
			t.Fatalf("the tenants' parts are %d of %d", parts, f.Coverage.Fail)
		}
	})
}
