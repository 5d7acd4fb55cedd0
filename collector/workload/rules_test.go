package workload

import (
	"strings"
	"testing"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/schemas/record"
)

func TestRulesGiveNames(t *testing.T) {
	rules, err := CompileRules([]Rule{
		{Match: map[string]string{"label.team": "/v[io]sion/"}, Set: Names{Project: "{label.team}-{label.stage}", Purpose: "{label.purpose}"}},
		{Match: map[string]string{"namespace": "bank-*", "label.team": "*"}, Set: Names{Tenant: "bank", Project: "{label.team}"}},
		{Match: map[string]string{"namespace": "bank-?"}, Set: Names{Tenant: "small-bank"}},
		{Match: map[string]string{"account": "*"}, Set: Names{Tenant: "{account}", Purpose: "research"}},
		{Set: Names{Workload: "{pod}"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	f := func(attributes string, given, want Names, badPurpose string) {
		t.Helper()
		m := map[string]string{}
		for _, pair := range strings.Fields(attributes) {
			k, v, _ := strings.Cut(pair, "=")
			m[k] = v
		}
		if got, bad := rules.Name(m, given); got != want || bad != badPurpose {
			t.Errorf("%s: %+v, bad purpose %q, want %+v", attributes, got, bad, want)
		}
	}
	f("namespace=bank-1 label.team=vision label.stage=dev", Names{}, Names{Tenant: "bank", Project: "vision-dev"}, "")
	f("namespace=bank-1 label.team=vision", Names{}, Names{Tenant: "bank", Project: "vision"}, "") // no stage: the next rule's
	f("namespace=bank-1 pod=p", Names{}, Names{Tenant: "small-bank", Workload: "p"}, "")           // a missing label matches nothing, not even *
	f("namespace=bank-10", Names{}, Names{}, "")
	f("namespace=bank-1 label.team=visions", Names{}, Names{Tenant: "bank", Project: "visions"}, "") // the whole value must match
	f("account=rail", Names{}, Names{Tenant: "rail", Purpose: "research"}, "")
	f("label.team=vision label.purpose=fun", Names{}, Names{}, "fun")
	f("label.team=vision label.purpose=fun account=rail", Names{}, Names{Tenant: "rail", Purpose: "research"}, "")
	f("account=rail", Names{Tenant: "static"}, Names{Tenant: "static", Purpose: "research"}, "") // what the source says stays
}

func TestFaultsOfConfigurationAreNamedAtOnce(t *testing.T) {
	c := DefaultConfig()
	c.Rules = []Rule{
		{Match: map[string]string{"namespaze": "x"}, Set: Names{Tenant: "t"}},
		{Match: map[string]string{"pod": "/(/"}, Set: Names{Tenant: "{pod"}},
		{Match: map[string]string{"label.": "x"}, Set: Names{Purpose: "mining", Project: "a}b"}},
		{},
		{Set: Names{Tenant: "{who}"}},
	}
	c.Static = []Assignment{
		{From: "yesterday", Devices: []string{"0", "GPU-a", "GPU-a"}},
		{Tenant: "t", From: "2026-02-01T00:00:00Z", To: "2026-01-01T00:00:00Z"},
		{Tenant: "t", To: "2026-01-01T00:00:00Z"},
	}
	c.Poll, c.FullInterval, c.KeepEnded, c.Settle, c.SaveInterval = 0, -1, -2, -1, 0
	err := c.Validate()
	if err == nil {
		t.Fatal("no fault found")
	}
	for _, part := range []string{
		`rules[0]: match: attribute "namespaze"`, "rules[1]: match: pod", "rules[1]: set: tenant", `rules[2]: match: attribute "label."`, "rules[2]: set: project",
		"rules[2]: set: purpose", "rules[3]: set: empty", "rules[4]: set: tenant", "static[0]: tenant", "yesterday", `"0" is not a UUID`, "GPU-a is there twice",
		"static[1]: to", "static[2]: from: missing", "poll", "full_interval", "keep_ended", "settle", "save_interval",
	} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%s is not in:\n%v", part, err)
		}
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}

func FuzzRules(f *testing.F) {
	f.Add("bank-*", "{namespace}-x", "bank-1")
	f.Add("/a+/", "{label.team}", "aa")
	f.Fuzz(func(t *testing.T, pattern, text, value string) {
		rules, err := CompileRules([]Rule{{Match: map[string]string{"namespace": pattern}, Set: Names{Tenant: text}}})
		if err != nil {
			return
		}
		rules.Name(map[string]string{"namespace": value, "label.team": value}, Names{})
	})
}

func TestStaticAssignments(t *testing.T) {
	c := &clock{now: start}
	devices := []agent.Device{
		{Device: record.Device{UUID: "GPU-a", Kind: record.KindGPU}},
		{Device: record.Device{UUID: "GPU-m", Kind: record.KindGPU}},
		{Device: record.Device{UUID: "MIG-1", Kind: record.KindMIG, Parent: "GPU-m"}},
		{Device: record.Device{UUID: "CPU-0", Kind: record.KindCPU}},
	}
	s := NewStatic([]Assignment{
		{Tenant: "a", From: "2025-12-31T23:00:00Z", To: "2026-01-01T02:00:00+01:00"}, // to an hour after start
		{Tenant: "b", Devices: []string{"GPU-m"}, From: "2026-01-01T01:00:00Z"},
	}, c)
	f := func(now int, want string) {
		t.Helper()
		c.now = start + hours(now)
		st, err := s.Holds(t.Context(), devices)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, h := range st.Holds {
			got += h.Names.Tenant + " " + h.Device
			if h.End != 0 {
				got += " ended"
			}
			got += "; "
		}
		if got != want {
			t.Errorf("after %d h: %s", now, got)
		}
	}
	f(-2, "")
	f(0, "a GPU-a; a MIG-1; ") // a CPU is never held, and a divided GPU is held by its instances
	f(1, "a GPU-a ended; a MIG-1 ended; b MIG-1; ")
	f(24, "a GPU-a ended; a MIG-1 ended; b MIG-1; ")
	f(26, "b MIG-1; ")
}
