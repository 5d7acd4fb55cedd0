// Package simctl drives the simulated libdcgm: it loads scenarios, moves the virtual clocks of nodes and reads the truth.
//
// It owns the binding of the wlsim_ calls, which a real libdcgm does not have. The collector never makes them: a demo or
// a test advances the library, and the collector reads what it would read anywhere. Calls for different nodes may be made
// at once.
package simctl

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"time"

	"github.com/ebitengine/purego"

	"github.com/wattledger/wattledger/schemas/unit"
)

// Control is the control side of a loaded simulated library.
type Control struct {
	load       func(path string) int32
	advance    func(node string, at int64) int32
	now        func(node string) int64
	gpuUUID    func(node string, index int32, buf *byte, n int32) int32
	migUUID    func(node string, index, instance int32, buf *byte, n int32) int32
	bootID     func(node string, buf *byte, n int32) int32
	writeTruth func(path string) int32
	truth      func(node string, index int32, at int64) int64
	release    func(node string) int32
	calls      func(function string) uint64
	cpu        func() int64
	lastError  func() string
}

// Open binds the control calls of the library at path. It is the same library, with the same state, that dcgm.Load
// gives for this path.
func Open(path string) (*Control, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("simulated libdcgm at %q: %w", path, err)
	}
	handle, err := purego.Dlopen(abs, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return nil, fmt.Errorf("simulated libdcgm: %w: build it with make sim", err)
	}
	c := &Control{}
	for _, f := range []struct {
		fn   any
		name string
	}{
		{&c.load, "wlsim_load"},
		{&c.advance, "wlsim_advance"},
		{&c.now, "wlsim_now"},
		{&c.gpuUUID, "wlsim_gpu_uuid"},
		{&c.migUUID, "wlsim_mig_uuid"},
		{&c.bootID, "wlsim_boot_id"},
		{&c.writeTruth, "wlsim_write_truth"},
		{&c.truth, "wlsim_truth"},
		{&c.release, "wlsim_release"},
		{&c.calls, "wlsim_calls"},
		{&c.cpu, "wlsim_cpu_ns"},
		{&c.lastError, "wlsim_error"},
	} {
		p, err := purego.Dlsym(handle, f.name)
		if err != nil {
			return nil, fmt.Errorf("%s has no %s: it is not the simulated libdcgm, or an old one; build it with make sim", abs, f.name)
		}
		purego.RegisterFunc(f.fn, p)
	}
	return c, nil
}

// Load replaces the scenario. Every connection of the old one must be closed first.
func (c *Control) Load(path string) error {
	return c.do("load scenario "+path, func() bool { return c.load(path) == 0 })
}

// Advance plays a node up to an instant of its virtual clock.
func (c *Control) Advance(node string, to unit.Micros) error {
	// By hand, since it is called at every tick: do would allocate its words each time.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if c.advance(node, int64(to)) != 0 {
		return fmt.Errorf("advance node %s to %s: %s", node, to.Time(), c.lastError())
	}
	return nil
}

// Now is the virtual clock of a node.
func (c *Control) Now(node string) (unit.Micros, error) {
	var at int64
	err := c.do("read the clock of node "+node, func() bool { at = c.now(node); return at >= 0 })
	return unit.Micros(at), err
}

// GPUUUID is the UUID of a GPU by index; -1, -2, … are the CPUs.
func (c *Control) GPUUUID(node string, index int) (string, error) {
	return c.text(fmt.Sprintf("find device %d of node %s", index, node), func(b *byte, n int32) int32 {
		return c.gpuUUID(node, int32(index), b, n)
	})
}

// MIGUUID is the UUID of an instance of a GPU, by its position in the scenario.
func (c *Control) MIGUUID(node string, index, instance int) (string, error) {
	return c.text(fmt.Sprintf("find instance %d.%d of node %s", index, instance, node), func(b *byte, n int32) int32 {
		return c.migUUID(node, int32(index), int32(instance), b, n)
	})
}

// BootID is the kernel's boot id of a node's present boot, as /proc/sys/kernel/random/boot_id would show it.
func (c *Control) BootID(node string) (string, error) {
	return c.text("read the boot id of node "+node, func(b *byte, n int32) int32 { return c.bootID(node, b, n) })
}

// WriteTruth writes the true energy of every device to a file.
func (c *Control) WriteTruth(path string) error {
	return c.do("write the truth to "+path, func() bool { return c.writeTruth(path) == 0 })
}

// Truth is the true energy of a device since the start of the scenario, at an edge, a full hour or a mark that its node has
// passed. CPUs have index -1, -2, …
func (c *Control) Truth(node string, index int, at unit.Micros) (unit.Microjoules, error) {
	var uj int64
	err := c.do(fmt.Sprintf("read the truth of device %d of node %s", index, node), func() bool {
		uj = c.truth(node, int32(index), int64(at))
		return uj >= 0
	})
	return unit.Microjoules(uj), err
}

// Release lets the calls return that hang on a node, and ends the hang and slow lines that apply now.
func (c *Control) Release(node string) error {
	return c.do("release the calls of node "+node, func() bool { return c.release(node) == 0 })
}

// Calls is how often this process has called a function of the library, 0 for one that is not counted.
func (c *Control) Calls(function string) uint64 { return c.calls(function) }

// CPU is the time that this process has spent inside the library, Advance included.
func (c *Control) CPU() time.Duration { return time.Duration(c.cpu()) }

// do makes a call and asks for the reason when it failed. The library keeps it per thread.
func (c *Control) do(doing string, call func() bool) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if call() {
		return nil
	}
	reason := c.lastError()
	if reason == "" {
		reason = "no reason given"
	}
	return errors.New(doing + ": " + reason)
}

func (c *Control) text(doing string, call func(b *byte, n int32) int32) (string, error) {
	buf := make([]byte, 256)
	var n int32
	if err := c.do(doing, func() bool { n = call(&buf[0], int32(len(buf))); return n >= 0 && int(n) <= len(buf) }); err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}
