package dcgm

import (
	"context"

	"github.com/wattledger/wattledger/collector/meter"
)

// build discovers and watches everything on a connection that has no groups of ours. asked is where the last look for events
// ended on this connection.
func (s *Source) build(ctx context.Context, asked int64) (err error) {
	before, slots, known := s.entities, s.slots, s.known()
	defer func() {
		if err != nil { // half a build is no build: the devices are those of before
			s.entities, s.slots = before, slots
		}
	}()
	if s.shape, err = s.conn.shape(); err != nil {
		return err
	}
	if s.entities, err = s.conn.discover(s.cfg, before, s.log); err != nil {
		return err
	}
	s.slots, s.energy = make([]meter.Set, len(s.entities)), make([]int64, len(s.entities))
	s.classes, s.leftOut = nil, nil
	s.edge = call{fields: []uint16{fieldPower, fieldEnergy}}
	s.index()
	for _, rows := range classes(s.entities) {
		if err := s.alive(ctx); err != nil {
			return err
		}
		watched, err := s.watchClass(ctx, rows)
		if ofField(err) {
			s.log.Error("device is not watched", "device", s.entities[rows[0]].device.UUID, "error", err)
			continue
		}
		if err != nil {
			return err
		}
		s.classes = append(s.classes, watched...)
	}
	if err := s.watchSwitches(ctx); err != nil {
		return err
	}
	if err := check(s.lib.updateAll(s.conn.h, 1), "sample every field once"); err != nil {
		return err
	}
	if err := s.settleAll(ctx); err != nil {
		return err
	}
	for i := range s.entities {
		e := &s.entities[i]
		if e.lost {
			s.slots[i] = known[e.device.UUID]
		}
		e.device.Energy = energyOf(e.device.Kind, s.slots[i])
	}
	s.kept = nil
	if s.conn.old {
		s.kept = meter.NewWideReadings(len(s.entities), len(s.cfg.Extra))
		for _, k := range s.classes {
			for i := range k.watches {
				k.watches[i].from = 0
			}
		}
	}
	s.news, s.rebuild, s.hint = asked > 0, false, false
	if err := s.beginLogs(asked); err != nil {
		return err
	}
	s.carry(before)
	s.announce()
	return nil
}

func (s *Source) settleAll(ctx context.Context) error {
	for _, k := range s.classes {
		if err := s.settle(ctx, k); err != nil {
			return err
		}
		events := []uint16{fieldXID}
		if k.kind == groupGPU {
			events = append(events, fieldBind)
			s.edge.pairs = append(s.edge.pairs, k.pairs...)
		}
		if err := s.watchEvents(k, events...); err != nil {
			return err
		}
	}
	if s.switches == nil {
		return nil
	}
	if err := s.settle(ctx, s.switches); err != nil {
		return err
	}
	return s.watchEvents(s.switches, fieldSXIDFatal, fieldSXIDNonFatal)
}

// index makes the way from an entity to its row. What a compute instance reports belongs to its GPU instance.
func (s *Source) index() {
	for g := range s.rows {
		s.rows[g] = nil
	}
	for i, e := range s.entities {
		if e.lost {
			continue
		}
		for _, p := range append([]entityPair{e.pair}, e.parts...) {
			if p.ID >= maxEntityID {
				continue
			}
			ids := &s.rows[p.Group]
			for len(*ids) <= int(p.ID) {
				*ids = append(*ids, -1)
			}
			(*ids)[p.ID] = int16(i)
		}
	}
}

// known is the slots of every device found so far.
func (s *Source) known() map[string]meter.Set {
	m := make(map[string]meter.Set, len(s.entities))
	for i, e := range s.entities {
		m[e.device.UUID] = s.slots[i]
	}
	return m
}
