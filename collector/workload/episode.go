package workload

import (
	"slices"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// The reasons for which a hold is not stated, or not as it was claimed.
const (
	reasonUnmapped   = "unmapped"
	reasonOverbooked = "overbooked"
	reasonUnknown    = "unknown_device"
	reasonStart      = "start_unknown"
	reasonEnd        = "end_unknown"
	reasonPurpose    = "purpose"
)

// forever stands for the end of what runs.
const forever = unit.Micros(1<<63 - 1)

// episode is one time for which a key held a device. A key that ends and begins again has two.
type episode struct {
	Source     string            `json:"source"`
	Ref        string            `json:"ref"`
	Key        string            `json:"key"`
	Device     string            `json:"device"`
	Share      unit.Thousandths  `json:"share,omitempty"` // 0: by holders
	Attributes map[string]string `json:"attributes,omitempty"`
	Given      Names             `json:"given,omitzero"` // by the source
	Names      Names             `json:"names,omitzero"` // by the rules

	// Born is where it was first thought to begin: it is part of ids, and no other episode of the key has it. Start is the
	// earliest instant known of, Told the scheduler's own start, 0 where it gave none.
	Born  unit.Micros `json:"born"`
	Start unit.Micros `json:"start"`
	Told  unit.Micros `json:"told,omitempty"`
	// End is 0 while it runs. EndTold says that it is the scheduler's own and final; else it ended in (Confirmed, End].
	End       unit.Micros `json:"end,omitempty"`
	EndTold   bool        `json:"end_told,omitempty"`
	Confirmed unit.Micros `json:"confirmed"`

	// Refused says why nothing is stated: unmapped, overbooked, unknown_device. Empty when it is.
	Refused string `json:"refused,omitempty"`
	// Stated are the allocations made of it, in order of time, each up to where the next begins. More than one where the share
	// changed. One that was stated is never taken back, and never loses its id.
	Stated []piece `json:"stated,omitempty"`
	// Seen is when it was last part of a statement.
	Seen unit.Micros `json:"seen"`
	// Heard is what was reported of it, so that the same word is not repeated each second.
	Heard []string `json:"heard,omitempty"`
}

// piece is one allocation of an episode.
type piece struct {
	ID       string           `json:"id"`
	Start    unit.Micros      `json:"start"`
	End      unit.Micros      `json:"end,omitempty"`
	Share    unit.Thousandths `json:"share"`
	Names    Names            `json:"names"`
	Revision uint64           `json:"revision"`
	dirty    bool             // not yet handed over as it is now
}

func (e *episode) until() unit.Micros {
	if e.End == 0 {
		return forever
	}
	return e.End
}

// from is where its allocations begin; it is not before Start.
func (e *episode) from() unit.Micros {
	if len(e.Stated) == 0 {
		return e.Start
	}
	return e.Stated[0].Start
}

// shared says that its share depends on who else holds the device.
func (e *episode) shared() bool { return e.Share == 0 }

// floor is the earliest instant at which it may end: behind the beginning of its last allocation, which was stated.
func (e *episode) floor() unit.Micros {
	if n := len(e.Stated); n > 0 {
		return e.Stated[n-1].Start + 1
	}
	return e.Start + 1
}

// endAt sets the end; it comes back whether that changed anything. A final end is not moved.
func (e *episode) endAt(at unit.Micros, told bool) bool {
	if e.EndTold {
		return false
	}
	at = max(at, e.floor())
	if e.End != 0 && !told && at >= e.End {
		return false
	}
	if e.End != 0 && told && at > e.End && e.Confirmed < e.End {
		// It was seen to be gone by End, so a later end is the scheduler's clock or its rounding. The earlier stands.
		at = e.End
	}
	changed := at != e.End
	e.End, e.EndTold = at, told
	return changed
}

// cut makes the allocations anew over the boundaries, which hold those of before. It is true when any is new or differs.
func (e *episode) cut(boundaries []unit.Micros, share func(from, to unit.Micros) unit.Thousandths, revision uint64) bool {
	for _, p := range e.Stated {
		boundaries = append(boundaries, p.Start)
	}
	slices.Sort(boundaries)
	boundaries = slices.Compact(boundaries)
	var out []piece
	changed := false
	for i, from := range boundaries {
		end, to := e.End, e.until()
		if i+1 < len(boundaries) {
			end, to = boundaries[i+1], boundaries[i+1]
		}
		next := piece{Start: from, End: end, Share: share(from, to), Names: e.Names}
		if n := slices.IndexFunc(e.Stated, func(p piece) bool { return p.Start == from }); n >= 0 {
			old := e.Stated[n]
			next.ID, next.Revision, next.dirty = old.ID, old.Revision, old.dirty
			if old.End == next.End && old.Share == next.Share && old.Names == next.Names {
				out = append(out, next)
				continue
			}
		} else {
			starts := []unit.Micros{e.Born}
			if len(out) > 0 {
				starts = append(starts, from)
			}
			next.ID = allocationID(e.Source, e.Ref, e.Key, e.Device, starts...)
		}
		next.Revision, next.dirty, changed = max(next.Revision+1, revision), true, true
		out = append(out, next)
	}
	e.Stated = out
	return changed
}

func (p *piece) allocation(e *episode) record.Allocation {
	return record.Allocation{
		ID: p.ID, Device: e.Device, Share: p.Share, Start: p.Start, End: p.End, Tenant: p.Names.Tenant, Project: p.Names.Project,
		Workload: p.Names.Workload, ModelID: p.Names.ModelID, Purpose: p.Names.Purpose, Scheduler: e.Ref, Revision: p.Revision,
	}
}
