package dcgm

import (
	"context"
	"slices"
	"strconv"

	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Switch is an NVSwitch of this node. It is no device of a record: nobody is allocated one.
type Switch struct {
	ID uint32
	// Values are by SwitchFields and Extra by Config.Extra, each with its own time stamp; one without has no value.
	Values, Extra []meter.Value
}

// Power is the sum of the three rails in watts, as old as the oldest of them; ok is false while one is missing.
func (w Switch) Power() (at unit.Micros, watts float64, ok bool) {
	for i, f := range SwitchFields {
		if f < 705 || f > 707 {
			continue
		}
		v := w.Values[i]
		if v.At == 0 {
			return 0, 0, false
		}
		if at == 0 || v.At < at {
			at = v.At
		}
		watts += v.Float
	}
	return at, watts, true
}

// Switches is what was last read of every NVSwitch. Any goroutine may call it.
func (s *Source) Switches() []Switch {
	s.public.Lock()
	defer s.public.Unlock()
	out := make([]Switch, len(s.public.switches))
	for i, w := range s.public.switches {
		out[i] = Switch{w.ID, slices.Clone(w.Values), slices.Clone(w.Extra)}
	}
	return out
}

// watchSwitches makes the engine sample the NVSwitches, if there are any. They are left out when they cannot be watched:
// the devices matter more.
func (s *Source) watchSwitches(ctx context.Context) error {
	s.switches = nil
	ids, err := s.conn.switchIDs()
	if err != nil || len(ids) == 0 {
		s.show(nil)
		return err
	}
	k := &class{name: "NVSwitch", kind: groupSwitch}
	var list []Switch
	for _, id := range ids {
		k.pairs = append(k.pairs, entityPair{groupSwitch, id})
		list = append(list, Switch{ID: id, Values: make([]meter.Value, len(SwitchFields)), Extra: make([]meter.Value, len(s.cfg.Extra))})
	}
	s.show(list)
	if k.group, err = s.conn.group(k.pairs); err == nil {
		err = s.watchAll(ctx, k, s.wanted(k, SwitchFields))
	}
	if err != nil {
		if !ofField(err) {
			return err
		}
		s.log.Warn("nvswitches are not watched", "error", err)
		s.unwatch(k)
		return nil
	}
	s.switches = k
	return nil
}

func (s *Source) show(list []Switch) {
	s.public.Lock()
	defer s.public.Unlock()
	s.public.switches = list
}

// readSwitches is done at the pace at which they are sampled. What fails here is counted and said, and is no reason to lose
// the readings of the devices.
func (s *Source) readSwitches(ctx context.Context, tick unit.Micros) error {
	k := s.switches
	if k == nil || !due(tick, s.switchAt, s.micros(s.cfg.MediumPeriod)) {
		return nil
	}
	s.switchAt = tick + s.micros(s.cfg.MediumPeriod)
	s.public.Lock()
	list := s.public.switches
	s.public.Unlock()
	err := s.fetch(ctx, k, func(v value) {
		i := slices.IndexFunc(list, func(w Switch) bool { return w.ID == v.id })
		if i < 0 || v.group != groupSwitch {
			return
		}
		if v.field == fieldSXIDFatal || v.field == fieldSXIDNonFatal {
			s.noteEvent(v)
			return
		}
		n, _ := v.number()
		s.public.Lock()
		defer s.public.Unlock()
		if at := slices.Index(SwitchFields, v.field); at >= 0 {
			list[i].Values[at] = n
		}
		if at := slices.Index(s.cfg.Extra, v.field); at >= 0 {
			list[i].Extra[at] = n
		}
	})
	if err != nil || k.log.fields == 0 {
		return err
	}
	return s.fetchLog(k, func(v value) {
		key := sxid{v.id, v.field, int64(v.raw), v.at}
		if slices.Contains(s.sxids, key) {
			return
		}
		s.sxids = append(s.sxids, key)
		if len(s.sxids) > 256 {
			s.sxids = slices.Delete(s.sxids, 0, 128)
		}
		severity := "fatal"
		if v.field == fieldSXIDNonFatal {
			severity = "nonfatal"
		}
		s.met.sxids.WithLabelValues(s.cfg.Node, strconv.Itoa(int(v.id)), strconv.FormatInt(key.code, 10), severity).Inc()
		s.log.Error("nvswitch reported an error", "switch", v.id, "sxid", key.code, "severity", severity)
	})
}

// sxid is an event of a switch, to be known when it comes again.
type sxid struct {
	id    uint32
	field uint16
	code  int64
	at    int64
}
