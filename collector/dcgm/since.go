package dcgm

import (
	"runtime"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
)

// sinks routes the one callback that this process gives to C: its slots are few and never freed. The user data is a
// number, since C must not keep a pointer of ours. A connection that was given up is no longer found here, so whatever the
// library still says on its behalf goes nowhere.
var sinks struct {
	sync.Mutex
	callback uintptr
	last     uintptr
	byID     map[uintptr]*sink
}

// sink is where values of one connection go.
type sink struct {
	callback, number uintptr
	// take is given each value during a call of since. The value is the library's and valid only then.
	take func(group entityGroup, id uint32, v *fieldValueV1)
	next int64 // where the last call of since ended, by the engine's clock
}

// listen makes a sink known to the callback; deafen is its inverse.
func (s *sink) listen() {
	sinks.Lock()
	defer sinks.Unlock()
	if sinks.callback == 0 {
		sinks.callback = purego.NewCallback(onValues)
		sinks.byID = map[uintptr]*sink{}
	}
	sinks.last++
	s.callback, s.number = sinks.callback, sinks.last
	sinks.byID[s.number] = s
}

func (s *sink) deafen() {
	sinks.Lock()
	defer sinks.Unlock()
	delete(sinks.byID, s.number)
}

// onValues is called by C with an array of values of one entity, on the goroutine of our own call.
func onValues(group, entity uint32, values unsafe.Pointer, n int32, number uintptr) uintptr {
	sinks.Lock()
	s := sinks.byID[number]
	sinks.Unlock()
	if s == nil || s.take == nil || values == nil {
		return 0
	}
	for i := range max(0, n) {
		s.take(entityGroup(group), entity, (*fieldValueV1)(unsafe.Add(values, uintptr(i)*unsafe.Sizeof(fieldValueV1{}))))
	}
	return 0
}

// since is dcgmGetValuesSince_v2: every sample from an instant of the engine's clock on, oldest first for each entity and
// field. It returns where to go on from.
func (c *Conn) since(group, fields uintptr, from int64, take func(entityGroup, uint32, *fieldValueV1)) (next int64, r Return) {
	c.take, c.next = take, from
	c.args = [8]uintptr{c.h, group, fields, uintptr(max(0, from)), uintptr(unsafe.Pointer(&c.next)), c.callback, c.number}
	code, _, _ := purego.SyscallN(c.lib.since, c.args[:7]...)
	runtime.KeepAlive(c)
	c.take = nil
	return c.next, Return(int32(code))
}
