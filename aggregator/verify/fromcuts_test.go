package verify_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/aggregator/verify"
	"github.com/wattledger/wattledger/schemas/record"
)

// Once samples are gone, cuts alone prove what the GPUs' counters gave to whom, and say what they cannot prove.
func TestTheLedgerIsWhatItsCutsSay(t *testing.T) {
	proved := 0
	rapid.Check(t, func(t *rapid.T) {
		f, b := metered(t)
		var devices []record.Device
		allocations := map[string][]record.Allocation{}
		for _, n := range f.Nodes {
			devices = append(devices, n.Devices...)
			for uuid, list := range n.Allocations {
				allocations[uuid] = list
			}
		}
		c, basis := verify.CompareWithCuts(devices, allocations, b.Entries, b.Cuts, f.Period())
		if c.Entries != 0 || c.Cuts != 0 {
			t.Fatalf("%+v", c)
		}
		proved += basis.DeviceHours - basis.Unproved
		if basis.DeviceHours == basis.Unproved {
			return
		}
		for i := range b.Entries {
			if e := b.Entries[i]; e.DeviceKind == "gpu" && e.GPU != 0 {
				entries := slices.Clone(b.Entries)
				entries[i].GPU++
				if c, _ := verify.CompareWithCuts(devices, allocations, entries, b.Cuts, f.Period()); c.Entries > 0 {
					return
				}
			}
		}
		t.Fatal("no entry of the device-hours that were proved can be changed so that it shows")
	})
	if proved == 0 {
		t.Error("nothing was proved")
	}
}
