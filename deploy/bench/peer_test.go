//go:build bench

package bench

import (
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/ebitengine/purego"

	"github.com/wattledger/wattledger/collector/dcgm"
	"github.com/wattledger/wattledger/collector/dcgm/simctl/simtest"
	"github.com/wattledger/wattledger/collector/exposition"
	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/unit"
)

// extra are the fields of the default page of metrics that no metric of ours is made from.
func extra(t testing.TB) []uint16 {
	t.Helper()
	counters, err := exposition.LoadCounters("")
	if err != nil {
		t.Fatal(err)
	}
	return counters.Extra()
}

// fieldValue is dcgmFieldValue_v2 (dcgm_structs.h): 4128 bytes.
type fieldValue struct {
	version, entityGroup, entity uint32
	field, kind                  uint16
	status                       int32
	_                            uint32
	ts                           int64
	value                        [4096]byte
}

// goValue is what a binding in the style of go-dcgm hands to its caller: a struct of Go types with the value's bytes.
type goValue struct {
	Version, EntityGroup, Entity uint32
	Field, Kind                  uint16
	Status                       int
	TS                           int64
	Value                        [4096]byte
	StringValue                  *string
}

// goDCGMStyle is one EntitiesGetLatestValues as go-dcgm makes it: the answer in memory of its own, then a slice of values
// in Go's, each with its 4096 bytes.
func goDCGMStyle(bulk uintptr, h uintptr, pairs [][2]uint32, fields []uint16) ([]goValue, error) {
	answer := make([]fieldValue, len(pairs)*len(fields))
	const version = uint32(unsafe.Sizeof(fieldValue{})) | 2<<24
	for i := range answer {
		answer[i].version = version
	}
	r, _, _ := purego.SyscallN(bulk, h, uintptr(unsafe.Pointer(&pairs[0])), uintptr(len(pairs)), uintptr(unsafe.Pointer(&fields[0])),
		uintptr(len(fields)), 0, uintptr(unsafe.Pointer(&answer[0])))
	runtime.KeepAlive(pairs)
	runtime.KeepAlive(fields)
	if int32(r) != 0 {
		return nil, fmt.Errorf("dcgmEntitiesGetLatestValues: %d", int32(r))
	}
	out := make([]goValue, len(answer))
	for i, v := range answer {
		out[i] = goValue{v.version, v.entityGroup, v.entity, v.field, v.kind, int(v.status), v.ts, v.value, nil}
	}
	return out, nil
}

func cpuTime(t testing.TB) time.Duration {
	t.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		t.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// cpuPerTick reads the same node in both ways, turn about, and returns the CPU that a tick of each costs beside the simulator's own.
func cpuPerTick(t testing.TB) (ours, peer time.Duration, values int) {
	t.Helper()
	lib, sim := busyNode(t)
	cfg := dcgm.DefaultConfig()
	cfg.Node, cfg.Address, cfg.Extra = "b", "b", extra(t)
	source, err := dcgm.Open(t.Context(), lib, cfg, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	handle, err := purego.Dlopen(simtest.Library(t), purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		t.Fatal(err)
	}
	bulk, err := purego.Dlsym(handle, "dcgmEntitiesGetLatestValues")
	if err != nil {
		t.Fatal(err)
	}
	devices := source.Devices()
	var pairs [][2]uint32
	for i := range devices {
		pairs = append(pairs, [2]uint32{1, uint32(i)})
	}
	fields := slices.Clone(cfg.Extra)
	for s, f := range meter.Fields {
		if devices[0].Slots.Has(meter.Slot(s)) && meter.Slot(s) != meter.SlotXID {
			fields = append(fields, f)
		}
	}
	h := connect(t, handle)
	r := meter.NewWideReadings(len(devices), len(cfg.Extra))
	at := start
	advance := func() {
		at += unit.Second
		if err := sim.Advance("b", at); err != nil {
			t.Fatal(err)
		}
	}
	read := func() {
		r.Reset()
		if err := source.Read(t.Context(), at, r); err != nil {
			t.Fatal(err)
		}
	}
	slice := func() {
		v, err := goDCGMStyle(bulk, h, pairs, fields)
		if err != nil {
			t.Fatal(err)
		}
		sink += int(v[0].TS)
	}
	span := func(fn func(), ticks int) time.Duration {
		var sum time.Duration
		for range ticks {
			advance()
			cpu, simulator := cpuTime(t), sim.CPU()
			fn()
			sum += cpuTime(t) - cpu - (sim.CPU() - simulator)
		}
		return sum
	}
	span(read, 200)
	span(slice, 50)
	const rounds, ticks = 10, 100
	for range rounds {
		ours += span(read, ticks)
		peer += span(slice, ticks)
	}
	return ours / (rounds * ticks), peer / (rounds * ticks), len(pairs) * len(fields)
}

var sink int

// connect opens a connection of the peer's own.
func connect(t testing.TB, handle uintptr) uintptr {
	t.Helper()
	var dial func(address string, params unsafe.Pointer, h *uintptr) int32
	purego.RegisterLibFunc(&dial, handle, "dcgmConnect_v2")
	params := &[4]uint32{16 | 2<<24, 0, 5000, 0}
	h := new(uintptr)
	if r := dial("b", unsafe.Pointer(params), h); r != 0 {
		t.Fatalf("dcgmConnect_v2: %d", r)
	}
	return *h
}
