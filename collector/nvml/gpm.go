package nvml

import (
	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/unit"
)

// gpmPause is the least time between two samples of GPM: the counters behind them are refreshed every 100 ms.
const gpmPause = 100 * unit.Millisecond

// gpm is the profiling of one device: a value is what happened between two samples.
type gpm struct {
	on     bool
	sample [2]uintptr // the library's; the second is the newer
	at     unit.Micros
	ids    []int // positions in gpmFields that the device gives
}

// openProfiling finds out whether a device can be profiled and takes the first sample. Where it cannot, the source's status
// says why.
func (s *Source) openProfiling(e *entity) (meter.Set, Return) {
	if !s.cfg.Profiling {
		return 0, OK
	}
	c, gpu := s.c, e.handle
	if e.parent >= 0 {
		gpu = s.entities[e.parent].handle
	}
	c.out.support = gpmSupport{Version: gpmVersion}
	code := c.do2(callGPMSupport, gpu, at(&c.out.support))
	if code == OK && c.out.support.Supported == 0 {
		code = NotSupported
	}
	for i := range e.gpm.sample {
		if code == OK {
			c.out.handle = 0
			code = c.do1(callGPMAlloc, at(&c.out.handle))
			e.gpm.sample[i] = c.out.handle
		}
	}
	if code == OK {
		e.gpm.at = s.cfg.Now()
		code = s.sample(e, e.gpm.sample[1])
	}
	if code != OK {
		s.closeProfiling(e)
		s.withhold(e, "profiling", code)
		return 0, code
	}
	var set meter.Set
	e.gpm.on, e.gpm.ids = true, nil
	for i, f := range gpmFields {
		if f.instance || e.parent < 0 {
			e.gpm.ids = append(e.gpm.ids, i)
			set = set.With(f.slot)
		}
	}
	return set, OK
}

func (s *Source) closeProfiling(e *entity) {
	for i, sample := range e.gpm.sample {
		if sample != 0 {
			s.c.do1(callGPMFree, sample)
			e.gpm.sample[i] = 0
		}
	}
	e.gpm.on = false
}

// sample has the library fill one of its samples. An instance is sampled through its GPU.
func (s *Source) sample(e *entity, into uintptr) Return {
	if e.parent >= 0 {
		return s.count(callGPMInstanceSample, s.c.do3(callGPMInstanceSample, s.entities[e.parent].handle, uintptr(e.instance), into))
	}
	return s.count(callGPMSample, s.c.do2(callGPMSample, e.handle, into))
}

// profile takes a sample and keeps what happened since the one before. Asked too soon, it keeps what there is.
func (s *Source) profile(e *entity) Return {
	now := s.cfg.Now()
	if since := now - e.gpm.at; since >= 0 && since < gpmPause {
		return OK
	}
	for _, id := range e.gpm.ids {
		e.kept[gpmFields[id].slot] = meter.Value{}
	}
	older := e.gpm.sample[0]
	if code := s.sample(e, older); code != OK {
		return code
	}
	e.gpm.sample[0], e.gpm.sample[1] = e.gpm.sample[1], older
	e.gpm.at = now
	m := &s.c.out.metrics
	m.Version, m.Count, m.Earlier, m.Later = gpmVersion, uint32(len(e.gpm.ids)), e.gpm.sample[0], e.gpm.sample[1]
	for i, id := range e.gpm.ids {
		m.Metrics[i] = gpmMetric{ID: gpmFields[id].id, Status: NoData}
	}
	if code := s.count(callGPMMetrics, s.c.do1(callGPMMetrics, at(m))); code != OK {
		return code
	}
	for i, id := range e.gpm.ids {
		f, v := gpmFields[id], m.Metrics[i].Value
		if m.Metrics[i].Status != OK || !(v >= 0) || v > 1e12 { // NaN among them: an interval without a cycle
			continue
		}
		v *= f.times
		put(e.kept, f.slot, now, int64(v), v)
	}
	return OK
}
