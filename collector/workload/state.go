package workload

import (
	"encoding/json"
	"fmt"
	"maps"

	"github.com/wattledger/wattledger/schemas/unit"
)

// stateVersion is that of the saved form. One that is not known is refused: what runs is then found anew.
const stateVersion = 1

type state struct {
	Version  int                    `json:"version"`
	Node     string                 `json:"node"`
	Complete unit.Micros            `json:"complete_up_to"`
	Heard    map[string]unit.Micros `json:"heard"`
	Episodes []*episode             `json:"episodes"`
}

// State is what is known, as JSON. It may be called by any goroutine.
func (t *Tracker) State() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	out, err := json.Marshal(state{stateVersion, t.id.Node, t.complete, t.book.heard, t.book.episodes})
	if err != nil {
		return nil // texts and numbers only: it cannot happen
	}
	return out
}

// Restore takes back what an earlier run knew; call it before Run. What ran then and runs no more is ended at the instant at
// which it was last confirmed, and an incident says so. After an error nothing has been taken: the tracker starts from nothing.
func (t *Tracker) Restore(data []byte) error {
	var s state
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("saved allocations: %w; the file may be removed, and what runs is then found anew", err)
	}
	if s.Version != stateVersion {
		return fmt.Errorf("saved allocations have version %d, not %d; remove the file, and what runs is found anew", s.Version, stateVersion)
	}
	if s.Node != t.id.Node {
		return fmt.Errorf("saved allocations are of node %q, not %q; remove the file, and what runs is found anew", s.Node, t.id.Node)
	}
	for i, e := range s.Episodes {
		if e == nil || e.Key == "" || e.Device == "" || e.Start <= 0 || (e.End != 0 && e.End <= e.Start) || e.Share < 0 || e.Share > unit.WholeDevice {
			return fmt.Errorf("saved allocations: the one at %d lacks a key, device or time; remove the file, and what runs is found anew", i)
		}
		for j := range e.Stated {
			e.Stated[j].dirty = true // nobody knows whether the last message left
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.complete = s.Complete
	t.book.episodes = s.Episodes
	t.book.heard = map[string]unit.Micros{}
	maps.Copy(t.book.heard, s.Heard)
	t.publishHolders()
	return nil
}
