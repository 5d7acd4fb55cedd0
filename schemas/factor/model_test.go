package factor

import "testing"

func TestModelTable(t *testing.T) {
	models, err := Models()
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range models {
		if m.Limit <= m.Idle || m.Idle <= 0 {
			t.Errorf("%s: limit %d mW and idle %d mW; the limit must be above an idle power above 0", name, m.Limit, m.Idle)
		}
		if m.Basis != "datasheet" && m.Basis != "assumed" {
			t.Errorf("%s: basis is %q", name, m.Basis)
		}
		if m.Source == "" {
			t.Errorf("%s: no source", name)
		}
	}
	f := func(product, want string) {
		t.Helper()
		m, ok := FindModel(models, product)
		if m.Name != want || ok != (want != "") {
			t.Errorf("FindModel(%q) = %q, %v, want %q", product, m.Name, ok, want)
		}
	}
	f("NVIDIA B200", "NVIDIA B200")
	f("NVIDIA B200 MIG 1g.23gb", "NVIDIA B200")
	f("NVIDIA GB200", "NVIDIA GB200")
	f("NVIDIA A100-SXM4-40GB", "NVIDIA A100")
	f("NVIDIA H100 80GB HBM3", "NVIDIA H100")
	f("NVIDIA A10", "NVIDIA A10")
	f("NVIDIA A10G", "") // another card, with another limit
	f("Tesla T4", "Tesla T4")
	f("Tesla V100-SXM2-32GB", "Tesla V100-SXM2")
	f("Tesla V100S-PCIE-32GB", "Tesla V100S-PCIE")
	f("Tesla P100-PCIE-16GB", "Tesla P100-PCIE")
	f("Tesla", "")
	f("", "")
	for product, counter := range map[string]bool{"Tesla P100-PCIE-16GB": false, "Tesla T4": true, "OpenB G3": true} {
		if m, _ := FindModel(models, product); m.Counter != counter {
			t.Errorf("%s has an energy counter: %v, want %v", product, m.Counter, counter)
		}
	}
}
