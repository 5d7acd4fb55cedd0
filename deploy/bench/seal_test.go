//go:build bench

package bench

import (
	"fmt"
	"testing"
	"time"

	"github.com/wattledger/wattledger/aggregator/ledger"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// seals seals a batch of the fleet's size and verifies it from its bytes, as many times as fit into a second or so.
func (f *ledgerFigures) seals(t *testing.T, _ *stack) {
	t.Helper()
	hour := unit.Micros(ledgerFrom) * unit.Second
	b := ledger.Batch{Site: "s", Number: 7, Hour: hour, Closing: "complete"}
	for d := range f.Devices {
		e := record.Entry{
			Site: "s", Hour: hour.Time().Format(time.RFC3339), Kind: record.Closing, Account: record.AccountTenant,
			Node: fmt.Sprintf("node-%05d", d/8), Device: fmt.Sprintf("GPU-%06d", d), DeviceKind: "gpu", Model: "NVIDIA B200",
			Tenant: fmt.Sprintf("tenant-%d", d/8%plantTenant), Project: "p", Allocation: fmt.Sprintf("a-%d", d), Workload: "w", ModelID: "m", Purpose: "training",
			From: hour, To: hour + unit.Hour, DeviceTime: unit.DeviceTimePerHour, GPU: 1_900_000_000 + unit.Millijoules(d), NodeRest: 225_000_000, Facility: 425_000_000,
			Measured: 1_900_000_000 + unit.Millijoules(d), Modelled: 650_000_000, BoundLow: 500, BoundHigh: 500, SMActive: 3000 * unit.Second, TicksExpected: 3600, TicksRead: 3600,
			Carbon: 1000, Rules: ledger.Rules, Split: "slots", Factor: "a factor, its edition and its boundary", Flags: []string{"it_shared_unmetered", "pue_modelled", "rest_modelled"},
		}
		b.Entries = append(b.Entries, e)
		b.Cuts = append(b.Cuts, record.Cut{Site: "s", Device: e.Device, T: hour, T0: hour - 500_000, T1: hour + 500_000, C0: e.GPU, C1: e.GPU + 500, C: e.GPU + 250, Boot: "boot", Driver: "580.65.06", Run: "run"})
		b.DeviceHours = append(b.DeviceHours, record.DeviceHour{Site: "s", Hour: e.Hour, Node: e.Node, Device: e.Device, Kind: "gpu", Model: e.Model, Counter: e.GPU, Present: unit.Hour, Covered: unit.Hour, Sensor: "gpu_counter"})
	}
	key := ledger.SecretFrom("bench").Site("s")
	perSecond := func(do func() error) float64 {
		n, begun := 0, time.Now()
		for time.Since(begun) < time.Second {
			if err := do(); err != nil {
				t.Fatal(err)
			}
			n += f.Devices
		}
		return float64(n) / time.Since(begun).Seconds()
	}
	var sealed ledger.Sealed
	f.Sealed = perSecond(func() (err error) { sealed, err = ledger.Make(b, key); return err })
	f.Verified = perSecond(func() error {
		lines := make([]ledger.Line, len(sealed.Lines))
		for i, l := range sealed.Lines {
			e, err := ledger.ParseEntry(l.Canonical)
			if err != nil || ledger.ID(l.Canonical) != l.ID {
				return fmt.Errorf("entry %s: %w", l.ID, err)
			}
			lines[i] = ledger.Line{Entry: e, ID: l.ID, Canonical: l.Canonical}
		}
		again, err := ledger.Recompute(sealed.Seal, lines, sealed.Cuts, sealed.DeviceHours, key)
		if err == nil && again.Seal.Root != sealed.Seal.Root {
			err = fmt.Errorf("root %s is now %s", sealed.Seal.Root, again.Seal.Root)
		}
		return err
	})
	fmt.Printf("sealing %.0f entries/s, each with a cut and a device-hour; verifying %.0f entries/s\n", f.Sealed, f.Verified)
}
