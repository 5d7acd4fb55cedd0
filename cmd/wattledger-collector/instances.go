package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// remembered is for how long what has changed is stated again.
const remembered = 7 * 24 * unit.Hour

// instance is the stay of a MIG instance on its GPU. From is 0 where it was there before anybody looked, To while it lasts.
type instance struct {
	UUID string      `json:"uuid"`
	GPU  string      `json:"gpu"`
	From unit.Micros `json:"from_us"`
	To   unit.Micros `json:"to_us,omitempty"`
}

// instances remembers, across restarts, when MIG instances began and ended. A list of devices does not tell: a GPU is divided anew
// every day, often while no collector runs, and two layouts that were both always there would have more slices than the GPU.
type instances struct {
	path string // empty: nothing is kept
	list []instance
	// known says that somebody has looked before: what is new has just begun.
	known bool
}

// readInstances reads what the run before knew. A file that cannot be read is as none: the devices are then taken as always there.
func readInstances(path string) (*instances, error) {
	s := &instances{path: path}
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("read MIG instances: %w", err)
	}
	if err := json.Unmarshal(data, &s.list); err != nil {
		s.list = nil
		return s, fmt.Errorf("read MIG instances from %s: %w", path, err)
	}
	s.known = true
	return s, nil
}

// see takes the devices of the node as they are at an instant. What is not listed any more has ended, unless its GPU is not listed
// either: of that nothing is known.
func (s *instances) see(devices []agent.Device, at unit.Micros) error {
	listed := map[string]bool{}
	for _, d := range devices {
		listed[d.UUID] = true
	}
	changed := !s.known
	lasting := map[string]bool{}
	for i := range s.list {
		in := &s.list[i]
		if in.To == 0 && !listed[in.UUID] && listed[in.GPU] {
			in.To, changed = max(at, in.From+1), true
		}
		if in.To == 0 {
			lasting[in.UUID] = true
		}
	}
	for _, d := range devices {
		if d.Kind != record.KindMIG || lasting[d.UUID] {
			continue
		}
		in := instance{UUID: d.UUID, GPU: d.Parent}
		if s.known {
			in.From = at
		}
		s.list, changed = append(s.list, in), true
	}
	s.known = true
	s.list = slices.DeleteFunc(s.list, func(in instance) bool { return in.To != 0 && in.To < at-remembered })
	if !changed || s.path == "" {
		return nil
	}
	data, err := json.MarshalIndent(s.list, "", " ")
	if err != nil {
		return err
	}
	return process.WriteFile(s.path, append(data, '\n'), 0o640)
}

// change is what began and ended at one instant.
type change struct {
	at        unit.Micros
	instances []instance
}

// changes are those of the last days, in order of time. Of an instance the last one is told.
func (s *instances) changes(now unit.Micros) []change {
	var out []change
	for _, in := range s.list {
		at := max(in.From, in.To)
		if at == 0 || at < now-remembered {
			continue
		}
		i, ok := slices.BinarySearchFunc(out, at, func(c change, t unit.Micros) int { return cmp.Compare(c.at, t) })
		if !ok {
			out = slices.Insert(out, i, change{at: at})
		}
		out[i].instances = append(out[i].instances, in)
	}
	return out
}
