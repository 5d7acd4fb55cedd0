package wire_test

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// refusal checks why a message was refused.
func refusal(t *testing.T, what string, err error, reason wire.Reason, word string) {
	t.Helper()
	var refused *wire.RefusedError
	switch {
	case reason == "" && err == nil:
	case !errors.As(err, &refused) || refused.Reason != reason || !strings.Contains(refused.Detail, word):
		t.Errorf("%s: got %v, want %q with %q", what, err, reason, word)
	case strings.Contains(refused.Detail, "\n"):
		t.Errorf("%s: the detail has several lines: %q", what, refused.Detail)
	}
}

func TestValidateSamples(t *testing.T) {
	f := func(what string, change func(*wl.SampleBatch), reason wire.Reason, word string) {
		t.Helper()
		b := golden()["sample"].(*wl.SampleBatch)
		change(b)
		refusal(t, what, wire.ValidateSamples(b), reason, word)
	}
	f("as it should be", func(*wl.SampleBatch) {}, "", "")
	f("a heartbeat", func(b *wl.SampleBatch) {
		*b = wl.SampleBatch{Site: b.Site, Node: b.Node, Run: b.Run, BootId: b.BootId, CompleteUpToUs: b.CompleteUpToUs}
	}, "", "")
	f("a column that no device supports", func(b *wl.SampleBatch) { b.PcieTxBytes = nil }, "", "")
	f("no node", func(b *wl.SampleBatch) { b.Node = "" }, wire.ReasonNoIdentity, "node")
	f("a short run", func(b *wl.SampleBatch) { b.Run = b.Run[1:] }, wire.ReasonNoIdentity, "15 bytes")
	f("no boot", func(b *wl.SampleBatch) { b.BootId = nil }, wire.ReasonNoIdentity, "boot_id")
	f("no site", func(b *wl.SampleBatch) { b.Site = "" }, wire.ReasonNoIdentity, "site")
	f("rows without a device", func(b *wl.SampleBatch) { b.Device = b.Device[1:] }, wire.ReasonShape, "device 1")
	f("rows without a time stamp", func(b *wl.SampleBatch) { b.EnergyTsUs = nil }, wire.ReasonShape, "energy_ts_us 0")
	f("half a counter", func(b *wl.SampleBatch) { b.EccDbe = b.EccDbe[1:] }, wire.ReasonShape, "ecc_dbe has 1 values for 2 rows")
	f("half a gauge", func(b *wl.SampleBatch) { b.PowerW = b.PowerW[1:] }, wire.ReasonShape, "power_w")
	f("a code too many", func(b *wl.SampleBatch) { b.Xid = append(b.Xid, 1) }, wire.ReasonShape, "xid")
	f("a device outside the table", func(b *wl.SampleBatch) { b.Device[1] = 2 }, wire.ReasonShape, "names device 2 of a table of 2")
	f("a device beyond every table", func(b *wl.SampleBatch) { b.Device[1] = math.MaxUint32 }, wire.ReasonShape, "4294967295")
	f("a device without a name", func(b *wl.SampleBatch) { b.Devices[0].Uuid = "" }, wire.ReasonShape, "device 0")
	f("a device that is not there", func(b *wl.SampleBatch) { b.Devices[1] = nil }, wire.ReasonShape, "device 1")
	f("a device of no kind", func(b *wl.SampleBatch) { b.Devices[1].Kind = 0 }, wire.ReasonShape, "kind")
	f("rows out of order", func(b *wl.SampleBatch) { b.Device[0], b.Device[1] = 1, 0 }, wire.ReasonTime, "not after the row before")
	f("a row twice", func(b *wl.SampleBatch) { b.Device[1] = 0 }, wire.ReasonTime, "not after the row before")
	f("time going back", func(b *wl.SampleBatch) { b.TickUs[1]-- }, wire.ReasonTime, "not after the row before")
	f("seconds for microseconds", func(b *wl.SampleBatch) { b.TickUs[0] /= 1_000_000 }, wire.ReasonTime, "2000 and 2100")
	f("nanoseconds for microseconds", func(b *wl.SampleBatch) { b.EnergyTsUs[0] *= 1000 }, wire.ReasonTime, "energy_ts")
	f("complete for ever", func(b *wl.SampleBatch) { b.CompleteUpToUs = math.MaxInt64 }, wire.ReasonTime, "complete_up_to")
}

func TestValidateAllocations(t *testing.T) {
	f := func(what string, change func(*wl.AllocationBatch), reason wire.Reason, word string) {
		t.Helper()
		b := golden()["allocation"].(*wl.AllocationBatch)
		change(b)
		refusal(t, what, wire.ValidateAllocations(b), reason, word)
	}
	f("as it should be", func(*wl.AllocationBatch) {}, "", "")
	f("from nobody", func(b *wl.AllocationBatch) { b.Source = "" }, wire.ReasonNoIdentity, "source")
	f("complete for ever", func(b *wl.AllocationBatch) { b.CompleteUpToUs = math.MaxInt64 }, wire.ReasonTime, "complete_up_to")
	f("every fault in one line", func(b *wl.AllocationBatch) { *b.Allocations[0] = wl.Allocation{AllocationId: "a9"} },
		wire.ReasonInvalid, "allocation 0 (a9): device is empty; tenant is empty; thousandths is 0")
	f("an allocation that is not there", func(b *wl.AllocationBatch) { b.Allocations[0] = nil }, wire.ReasonInvalid, "allocation 0")
}

func TestValidateInventory(t *testing.T) {
	f := func(what string, change func(*wl.Inventory), word string) {
		t.Helper()
		b := golden()["inventory"].(*wl.Inventory)
		change(b)
		refusal(t, what, wire.ValidateInventory(b), wire.ReasonInvalid, word)
	}
	f("a PUE below one", func(b *wl.Inventory) { b.Sites[0].PueThousandths = 999 }, `site 0 ("site-1"): PUE`)
	f("negative watts", func(b *wl.Inventory) { b.Nodes[0].RestMw = -1 }, `node 0 ("node-a"): rest`)
	f("a limit no arithmetic holds", func(b *wl.Inventory) { b.Devices[0].LimitMw = math.MaxInt64 }, `device 0 ("MIG-1"): limit`)
	f("too many slices", func(b *wl.Inventory) { b.Devices[0].Slices = math.MaxUint32 }, "compute slices")
	f("a nameless tenant", func(b *wl.Inventory) { b.Tenants[0].Id = "" }, "tenant 0")
	f("records that are not there", func(b *wl.Inventory) { b.Sites[0] = nil }, "site 0")
}

// Any bytes at all: decoding and validating them ends in a message or a refusal, never in a panic.
func FuzzMessages(f *testing.F) {
	files, err := filepath.Glob("testdata/*.binpb")
	if err != nil || len(files) == 0 {
		f.Fatal("no golden messages", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		check := func(m proto.Message, validate func() error) {
			t.Helper()
			if proto.Unmarshal(data, m) != nil {
				return
			}
			var refused *wire.RefusedError
			if err := validate(); err != nil && !errors.As(err, &refused) {
				t.Errorf("%v is no refusal", err)
			}
		}
		samples, allocations, inventory := &wl.SampleBatch{}, &wl.AllocationBatch{}, &wl.Inventory{}
		check(samples, func() error { return wire.ValidateSamples(samples) })
		check(allocations, func() error { return wire.ValidateAllocations(allocations) })
		check(inventory, func() error { return wire.ValidateInventory(inventory) })
		check(&wl.ReadingBatch{}, func() error { return nil })
		check(&wl.Refused{}, func() error { return nil })
	})
}
