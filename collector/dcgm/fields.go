package dcgm

import (
	"slices"

	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/record"
)

const (
	fieldPowerInstant = 157
	fieldXID          = 230
	fieldCPUPower     = 1130
)

// slow are the fields that hardly change and cost a driver call each.
var slow = []uint16{164, 190, 202, 312, 313}

// ofInstance are the fields that a MIG instance has of its own. Everything else read on one is its GPU's.
var ofInstance = []uint16{1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008, 251, 252}

// wanted lists the fields to try on a kind of device, XID events aside.
func wanted(kind record.DeviceKind) []uint16 {
	switch kind {
	case record.KindGPU:
		return slices.DeleteFunc(slices.Clone(meter.Fields), func(f uint16) bool { return f == fieldXID })
	case record.KindMIG:
		return ofInstance
	case record.KindCPU:
		return []uint16{fieldCPUPower}
	}
	return nil
}

// slotOf is where a field's values go. The power of a CPU is power like any other.
func slotOf(field uint16) (meter.Slot, bool) {
	if field == fieldCPUPower {
		return meter.SlotPower, true
	}
	return meter.SlotOf(field)
}

// noSlot marks a field that we did not ask for.
const noSlot = 0xff

// slotIndex finds the slot of a field by number: the engine does not promise the order of its answers.
type slotIndex [2048]uint8

func newSlotIndex() *slotIndex {
	x := new(slotIndex)
	for i := range x {
		x[i] = noSlot
	}
	for s, f := range meter.Fields {
		x[f] = uint8(s)
	}
	x[fieldCPUPower] = uint8(meter.SlotPower)
	return x
}
