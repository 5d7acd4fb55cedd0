package message

import (
	"context"
	"errors"
	"testing"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// kept is a sink that counts.
type kept struct {
	mark Mark
	n    int
}

func (k *kept) Put(_ context.Context, m *Message) error {
	k.mark = m.Mark
	k.n++
	return nil
}

func batch() *wl.SampleBatch {
	const at = 1_767_225_600_000_000
	return &wl.SampleBatch{
		SchemaVersion: wire.SchemaVersion, Site: "s", Node: "n", Run: make([]byte, wire.RunBytes), BootId: make([]byte, wire.RunBytes), Sequence: 7,
		Devices: []*wl.DeviceRef{{Uuid: "GPU-a", Kind: wl.DeviceKind_DEVICE_KIND_GPU, EnergySource: wl.EnergySource_ENERGY_SOURCE_HARDWARE}},
		Device:  []uint32{0, 0}, TickUs: []int64{at, at + 1}, EnergyTsUs: []uint64{at, at + 1},
	}
}

func TestWhatIngestWouldRefuseIsRefusedHere(t *testing.T) {
	k := &kept{}
	w := NewWriter(k)
	if err := w.Publish(t.Context(), batch()); err != nil || k.n != 1 {
		t.Fatalf("%d messages, %v", k.n, err)
	}
	if k.mark.Sequence != 7 || k.mark.Rows != 2 || k.mark.To-k.mark.From != 1 {
		t.Errorf("its mark is %+v", k.mark)
	}
	b := batch()
	b.TickUs[0] = int64(unit.Hour) // a machine that takes it for 1970
	if err := w.Publish(t.Context(), b); !errors.Is(err, agent.ErrRefused) || k.n != 1 {
		t.Errorf("%d messages, %v", k.n, err)
	}
}

func TestPublishingDoesNotAllocate(t *testing.T) {
	w, b := NewWriter(&kept{}), batch()
	if n := testing.AllocsPerRun(100, func() {
		if err := w.Publish(context.Background(), b); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations a message", n)
	}
}
