package pipeline

import (
	"fmt"
	"math"

	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// The store keeps kinds and energy sources as enumerations and takes any byte for them on this way, so that an unknown
// one would show only when it is read. A newer producer may know more of them than we do.

func knownKind(k wl.DeviceKind) bool { _, ok := wl.DeviceKind_name[int32(k)]; return ok }

func knownSource(s wl.EnergySource) bool { _, ok := wl.EnergySource_name[int32(s)]; return ok }

// checkTable looks at what ValidateSamples leaves open: values we have no word for, and a device that stands twice in the
// table, which would have two rows for one tick.
func checkTable(devices []*wl.DeviceRef) error {
	at := make(map[string]int, len(devices))
	for i, d := range devices {
		if !knownKind(d.Kind) || !knownSource(d.EnergySource) {
			return &wire.RefusedError{Reason: wire.ReasonShape, Detail: fmt.Sprintf(
				"device %d (%s) has kind %d and energy source %d, one of which this version does not know; upgrade ingest before the collectors", i, d.Uuid, d.Kind, d.EnergySource)}
		}
		if first, twice := at[d.Uuid]; twice {
			return &wire.RefusedError{Reason: wire.ReasonShape, Detail: fmt.Sprintf("device %s stands at %d and at %d of the table; once is enough", d.Uuid, first, i)}
		}
		at[d.Uuid] = i
	}
	return nil
}

func checkInventory(m *wl.Inventory) error {
	for i, d := range m.Devices {
		if !knownKind(d.Kind) || !knownSource(d.EnergySource) {
			return &wire.RefusedError{Reason: wire.ReasonInvalid, Detail: fmt.Sprintf(
				"device %d (%s) has kind %d and energy source %d, one of which this version does not know; upgrade ingest before the collectors", i, d.Uuid, d.Kind, d.EnergySource)}
		}
	}
	for i, s := range m.Sites {
		if s.PueThousandths > math.MaxInt32 {
			return &wire.RefusedError{Reason: wire.ReasonInvalid, Detail: fmt.Sprintf("site %d (%s) has a PUE × 1000 of %d", i, s.Id, s.PueThousandths)}
		}
	}
	return nil
}
