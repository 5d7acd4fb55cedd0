package closer

import (
	"fmt"
	"strings"

	"github.com/wattledger/wattledger/aggregator/adjusting"
	"github.com/wattledger/wattledger/aggregator/closing"
	"github.com/wattledger/wattledger/aggregator/ledger"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// KeepIdle gives an hour the limit of held idle time that it was closed with: a limit that was changed since holds for hours that
// close from then on. It gives each MIG GPU the idle power its hour was first closed with, as the entries name it. It is the lowest mean of thirty
// days of the ledger: were it looked for again, one late sample would move it, with it every MIG hour of the month after, and
// each of those might be the lowest of another month. The hour it was measured in is named, and what that hour says since is booked
// there; the split of a closed hour stands on what was known of other hours when it closed (docs/decisions).
func KeepIdle(h *closing.Hour, booked adjusting.Hour) {
	type idle struct {
		power unit.Milliwatts
		basis string
	}
	by := map[string]idle{}
	for _, b := range booked.Lines {
		if b.Rules == ledger.Rules {
			h.Limits.Idle = b.IdleLimit
		}
		if power, basis, ok := idleOf(b.Split); ok {
			by[b.Device] = idle{power, basis}
		}
	}
	if len(by) == 0 {
		return
	}
	for n := range h.Nodes {
		devices := h.Nodes[n].Devices
		for _, in := range devices { // where all of a GPU was held its instances' entries are the only ones
			if i, ok := by[in.UUID]; ok && in.Kind == record.KindMIG {
				by[in.Parent] = i
			}
		}
		for d := range devices {
			if i, ok := by[devices[d].UUID]; ok && devices[d].Kind == record.KindGPU {
				devices[d].IdleMilliwatts, devices[d].IdleBasis = i.power, i.basis
			}
		}
	}
}

// idleOf reads the idle power from how an entry says its device was split: "mig P_idle=140000mW model".
func idleOf(split string) (power unit.Milliwatts, basis string, ok bool) {
	rest, ok := strings.CutPrefix(split, "mig P_idle=")
	if !ok {
		return 0, "", false
	}
	number, basis, _ := strings.Cut(rest, " ")
	var mw int64
	if n, err := fmt.Sscanf(number, "%dmW", &mw); n != 1 || err != nil {
		return 0, "", false
	}
	return unit.Milliwatts(mw), basis, true
}
