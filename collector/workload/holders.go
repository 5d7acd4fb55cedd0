package workload

import (
	"maps"

	"github.com/wattledger/wattledger/schemas/unit"
)

// Holder is one that holds a device now, as a label of a metric or a line of a status page needs it.
type Holder struct {
	Ref, Source string
	// Share is 0 for one that is not stated.
	Share unit.Thousandths
	Names Names
	// Refused says why it is not stated: unmapped, overbooked, unknown_device. Empty when it is.
	Refused string
	// Attributes are the scheduler's: namespace, pod, container, job, and the rest. Not to be written to.
	Attributes map[string]string
}

// Holders are who holds a device now, in the order in which they came. It may be called by any goroutine, and the result
// is not changed afterwards.
func (t *Tracker) Holders(uuid string) []Holder {
	if all := t.current.Load(); all != nil {
		return (*all)[uuid]
	}
	return nil
}

// publishHolders makes what Holders answers from. Attributes are copied, since a later statement may come meanwhile.
func (t *Tracker) publishHolders() {
	all := t.book.holders()
	unmapped := 0
	for _, holders := range all {
		for i := range holders {
			holders[i].Attributes = maps.Clone(holders[i].Attributes)
			if holders[i].Refused == reasonUnmapped || (t.cfg.UnmappedTenant != "" && holders[i].Names.Tenant == t.cfg.UnmappedTenant) {
				unmapped++
			}
		}
	}
	t.current.Store(&all)
	t.met.unmapped.Set(float64(unmapped))
}
