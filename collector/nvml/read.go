package nvml

import (
	"context"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Read asks the driver for everything that each device has. A GPU that stops answering is left empty, and looked at again
// at the next reading; a driver that went away is looked for again after a pause that doubles up to a minute.
func (s *Source) Read(ctx context.Context, tick unit.Micros, r *meter.Readings) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !s.up {
		return s.reopen(tick)
	}
	if changed, err := s.look(tick); err != nil || changed {
		if err == nil {
			err = agent.ErrChanged
		}
		return err
	}
	slow := tick >= s.slowAt
	if slow {
		s.slowAt = tick + unit.Micros(s.cfg.SlowPeriod.Microseconds())
	}
	any, asked, last := false, 0, OK
	for i := range min(len(s.entities), r.Devices()) {
		e := &s.entities[i]
		if e.lost {
			continue
		}
		asked++
		row := r.Row(i)
		code := s.readEntity(e, row, slow)
		switch {
		case code.dead():
			r.Reset()
			return s.failed(tick, check(code, "read %s", e.device.UUID))
		case code.lost():
			clear(row) // half a row of a GPU that is no more says nothing
			s.lookAt = 1
			last = code
			continue
		case code != OK:
			last = code
		}
		for _, v := range row {
			if v.At != 0 {
				any = true
				break
			}
		}
	}
	if !any && asked > 0 {
		r.Reset()
		return check(last, "read %d devices, of which none gave anything", asked)
	}
	s.backoff = 0
	return nil
}

// ReadEdge asks for the energy and the power of each GPU now.
func (s *Source) ReadEdge(ctx context.Context, r *meter.Readings) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !s.up {
		return s.away
	}
	for i := range min(len(s.entities), r.Devices()) {
		e := &s.entities[i]
		if e.lost || e.parent >= 0 {
			continue
		}
		row := r.Row(i)
		code := s.readFields(e, e.quick[:e.edge], e.quickTo, row)
		for _, a := range e.asks {
			if a.slot == meter.SlotPower && !code.dead() && !code.lost() {
				code = s.ask(e, a, row)
			}
		}
		switch {
		case code.dead():
			r.Reset()
			err := check(code, "read the energy of %s", e.device.UUID)
			s.drop(err)
			s.retryAt = 0 // at the next reading
			return err
		case code.lost():
			clear(row)
			s.lookAt = 1
		}
	}
	return nil
}

// readEntity fills a row. It gives the code that ended it early, or that of a call that failed.
func (s *Source) readEntity(e *entity, row []meter.Value, slow bool) Return {
	worst := s.readFields(e, e.quick, e.quickTo, row)
	if worst.dead() || worst.lost() {
		return worst
	}
	for _, a := range e.asks {
		if code := s.ask(e, a, row); code != OK {
			if worst = code; code.dead() || code.lost() {
				return code
			}
		}
	}
	if slow {
		for _, x := range e.slowSlots {
			e.kept[x] = meter.Value{}
		}
		code := s.readFields(e, e.slow, e.slowTo, e.kept)
		for _, a := range e.slowAsks {
			if code.dead() || code.lost() {
				return code
			}
			code = s.ask(e, a, e.kept)
		}
		if code != OK {
			if worst = code; code.dead() || code.lost() {
				return code
			}
		}
	}
	if e.gpm.on {
		if code := s.profile(e); code != OK {
			worst = code
		}
	}
	// What was not sampled anew is given with its old time.
	for x, v := range e.kept {
		if v.At != 0 {
			row[x] = v
		}
	}
	return worst
}

// readFields asks for a batch of fields and puts the values into a row, with NVML's own time where it states one.
func (s *Source) readFields(e *entity, values []fieldValue, to []field, row []meter.Value) Return {
	if len(values) == 0 {
		return OK
	}
	for i := range values {
		values[i] = fieldValue{FieldID: to[i].id, Status: NoData}
	}
	now := s.cfg.Now()
	if code := s.c.fields(e.handle, values); code != OK {
		for i := range values {
			values[i].Status = code
		}
		return s.count(callFields, code)
	}
	worst := OK
	for i := range values {
		v := &values[i]
		if v.Status != OK {
			if worst = s.count(callFields, v.Status); worst.dead() || worst.lost() {
				return worst
			}
			continue
		}
		n, f, ok := v.number()
		if !ok || v.FieldID != to[i].id {
			continue
		}
		at := unit.Micros(v.Timestamp)
		if at <= 0 {
			at = now
		}
		if per := to[i].per; per != 1 {
			f /= per
			n = int64(f)
		}
		put(row, to[i].slot, at, n, f)
	}
	return worst
}

// ask makes one call and puts what it gives into a row, with the time just before it.
func (s *Source) ask(e *entity, a ask, row []meter.Value) Return {
	c, now, code := s.c, s.cfg.Now(), OK
	switch a.call {
	case callPower, callEnforcedLimit:
		var mw uint32
		if mw, code = c.number(a.call, e.handle); code == OK {
			putWatts(row, a.slot, now, mw)
		}
	case callReplays, callPState:
		var n uint32
		if n, code = c.number(a.call, e.handle); code == OK && n != notAvailable32 && (a.call != callPState || n < pstateUnknown) {
			putInt(row, a.slot, now, int64(n))
		}
	case callTemperature, callClock:
		if code = c.do3(a.call, e.handle, a.arg, at(&c.out.number)); code == OK && c.out.number != notAvailable32 {
			putInt(row, a.slot, now, int64(c.out.number))
		}
	case callTemperatureV:
		c.out.temperature = temperatureV1{Version: versionTemperatureV1, Sensor: uint32(a.arg)}
		if code = c.do2(a.call, e.handle, at(&c.out.temperature)); code == OK {
			putInt(row, a.slot, now, int64(c.out.temperature.Celsius))
		}
	case callUtilization:
		if code = c.do2(a.call, e.handle, at(&c.out.utilization)); code == OK {
			putInt(row, a.slot, now, int64(c.out.utilization.GPU))
			putInt(row, a.also, now, int64(c.out.utilization.Memory))
		}
	case callMemoryV2:
		c.out.memory2 = memoryV2{Version: versionMemoryV2}
		if code = c.do2(a.call, e.handle, at(&c.out.memory2)); code == OK {
			putMebibytes(row, a.slot, now, c.out.memory2.Free)
			putMebibytes(row, a.also, now, c.out.memory2.Used)
		}
	case callMemory:
		if code = c.do2(a.call, e.handle, at(&c.out.memory)); code == OK {
			putMebibytes(row, a.slot, now, c.out.memory.Free)
			putMebibytes(row, a.also, now, c.out.memory.Used)
		}
	case callReasons:
		if code = c.do2(a.call, e.handle, at(&c.out.wide)); code == OK {
			putInt(row, a.slot, now, int64(uint32(c.out.wide))) // every bit that has a meaning is below 2^32
		}
	}
	if code.gone() && e.parent >= 0 {
		s.lookAt = 1 // the instance went: look at the next reading
	}
	return s.count(a.call, code)
}
