package dcgm

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/ebitengine/purego"
)

// Embedded is the address of an engine inside this process.
const Embedded = "embedded"

// Options say which host engine to use.
type Options struct {
	// Address is the host engine's: host, host:port, unix:///path or an absolute path to its socket. Empty or "embedded" starts
	// an engine inside this process, of which there can be only one.
	Address string
	// Timeout bounds connecting. 0 means 5 s.
	Timeout time.Duration

	abandoned func() bool // whether the owner of the connection has been given up; may be nil
}

// Conn is a connection to a host engine. Its methods are for one goroutine.
type Conn struct {
	lib     *Library
	h       uintptr
	options Options
	// prefix makes our group names our own: groups are shared by all clients of an engine.
	prefix string
	named  int
	fields map[string]*fieldGroup
	// old says that the engine does not know bulk reads, being older than the library: values then come by GetValuesSince.
	old bool
	sink
	args [8]uintptr // of the call that is being made
	// mig and cpu are filled by every listing; at 73 kB they are worth keeping.
	mig migHierarchyV2
	cpu cpuHierarchyV2
}

// fieldGroup is a group of fields in the engine, shared by all classes that watch the same.
type fieldGroup struct {
	id   uintptr
	uses int
}

// connections numbers the connections of this process, for the names of groups.
var connections atomic.Int64

// Connect reaches the host engine and makes sure that it answers.
func (l *Library) Connect(o Options) (*Conn, error) {
	if err := l.init(); err != nil {
		return nil, err
	}
	c := &Conn{lib: l, options: o, prefix: fmt.Sprintf("wattledger-%d-%d", os.Getpid(), connections.Add(1)), fields: map[string]*fieldGroup{}}
	var err error
	if c.embedded() {
		err = c.start()
	} else {
		err = c.dial()
	}
	if err != nil {
		return nil, err
	}
	c.listen()
	// A failed login can leave a handle that is dead although connecting said OK: ask something cheap at once.
	health := &healthV1{Version: versionHealthV1}
	if err := check(l.engineHealthy(c.h, health), "ask %s for its health", c.where()); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Conn) embedded() bool { return c.options.Address == "" || c.options.Address == Embedded }

// start runs the engine inside this process.
func (c *Conn) start() error {
	handle, err := c.lib.claim(c)
	if err != nil {
		return err
	}
	if handle != 0 {
		c.h = handle
		return nil
	}
	p := &startV1{Version: versionStartV1, OpMode: operationAuto, Severity: -1, DenyN: 3}
	p.Deny = [10]uint32{modulePolicy, moduleConfig, moduleDiag}
	err = check(c.lib.startV2(p), "start the embedded host engine")
	if err == nil && p.Handle == 0 {
		err = errors.New("start the embedded host engine: somebody else in this process has started one already")
	}
	if err != nil {
		c.lib.leave(c)
		return err
	}
	c.h = p.Handle
	c.lib.started(c, c.h)
	return nil
}

func (c *Conn) givenUp() bool { return c.options.abandoned != nil && c.options.abandoned() }

// dial connects to an engine outside. Nothing of ours stays there when the connection ends.
func (c *Conn) dial() error {
	timeout := c.options.Timeout
	if timeout <= 0 {
		timeout = 5 * time.Second
	}
	p := &connectV2{Version: versionConnectV2, TimeoutMs: uint32(timeout.Milliseconds())}
	address := c.options.Address
	if socket, ok := strings.CutPrefix(address, "unix://"); ok {
		address = socket
		p.IsUnix = 1
	} else if strings.HasPrefix(address, "/") {
		p.IsUnix = 1
	}
	h := new(uintptr)
	if err := check(c.lib.connectV2(address, p, h), "connect to %s", c.where()); err != nil {
		return err
	}
	c.h = *h
	return nil
}

func (c *Conn) where() string {
	if c.embedded() {
		return "the embedded host engine"
	}
	return "the host engine at " + c.options.Address
}

// EngineVersion is the version of the host engine.
func (c *Conn) EngineVersion() (string, error) {
	v := &versionInfoV2{Version: versionInfo}
	if err := check(c.lib.engineVersionInfo(c.h, v), "ask %s for its version", c.where()); err != nil {
		return "", err
	}
	return versionOf(text(v.Text[:])), nil
}

// Close ends the connection; the engine drops our groups and watches with it.
func (c *Conn) Close() error {
	if c.h == 0 {
		return nil
	}
	c.deafen()
	var err error
	if !c.embedded() {
		if r := c.lib.disconnect(c.h); !r.dead() { // a dead connection needs no goodbye
			err = check(r, "disconnect from %s", c.where())
		}
	} else if c.lib.release(c) {
		err = check(c.lib.stop(c.h), "stop the embedded host engine")
	}
	c.h = 0
	return err
}

// abandon gives up what the process has only once, while a call of another goroutine is still inside the library.
func (c *Conn) abandon() {
	c.deafen()
	if c.embedded() {
		c.lib.leave(c)
	}
}

// latest is dcgmEntitiesGetLatestValues: fields of entities into out, which has room for a value each. The slices live
// on the heap and stay there during the call.
func (c *Conn) latest(pairs []entityPair, fields []uint16, flags uint32, out []fieldValueV2) Return {
	c.args = [8]uintptr{
		c.h, uintptr(unsafe.Pointer(&pairs[0])), uintptr(len(pairs)), uintptr(unsafe.Pointer(&fields[0])), uintptr(len(fields)),
		uintptr(flags), uintptr(unsafe.Pointer(&out[0])),
	}
	r, _, _ := purego.SyscallN(c.lib.bulk, c.args[:7]...)
	runtime.KeepAlive(pairs)
	runtime.KeepAlive(fields)
	runtime.KeepAlive(out)
	return Return(int32(r))
}

// values makes room for values. The engine writes 4128 bytes for each.
func room(n int) []fieldValueV2 {
	out := make([]fieldValueV2, n)
	for i := range out {
		out[i].Version = versionFieldValueV2
	}
	return out
}

// name makes a name for a group that no other client has.
func (c *Conn) name() string {
	c.named++
	return fmt.Sprintf("%s-%d", c.prefix, c.named)
}

// group makes a group of entities.
func (c *Conn) group(pairs []entityPair) (uintptr, error) {
	g := new(uintptr)
	if err := check(c.lib.groupCreate(c.h, groupTypeEmpty, c.name(), g), "create a group of %d entities", len(pairs)); err != nil {
		return 0, err
	}
	for _, p := range pairs {
		if err := check(c.lib.groupAddEntity(c.h, *g, p.Group, p.ID), "add entity %d of group %d", p.ID, p.Group); err != nil {
			c.lib.groupDestroy(c.h, *g)
			return 0, err
		}
	}
	return *g, nil
}

// watch makes the engine sample fields of a group. An engine has 64 field groups for all its clients, so classes share ours.
func (c *Conn) watch(group uintptr, fields []uint16, every time.Duration, keep time.Duration) (uintptr, error) {
	key := fmt.Sprint(fields)
	fg := c.fields[key]
	if fg == nil {
		id := new(uintptr)
		r := c.lib.fieldGroupCreate(c.h, int32(len(fields)), &fields[0], c.name(), id)
		runtime.KeepAlive(fields)
		if err := check(r, "create a group of fields %v", fields); err != nil {
			return 0, err
		}
		fg = &fieldGroup{id: *id}
		c.fields[key] = fg
	}
	fg.uses++
	if r := c.lib.watchFields(c.h, group, fg.id, every.Microseconds(), keep.Seconds(), 0); r != OK {
		c.forget(fg.id)
		return 0, check(r, "watch fields %v of %s", fields, c.where())
	}
	return fg.id, nil
}

// unwatch is the inverse of watch.
func (c *Conn) unwatch(group, fields uintptr) {
	c.lib.unwatchFields(c.h, group, fields)
	c.forget(fields)
}

func (c *Conn) forget(fields uintptr) {
	for key, fg := range c.fields {
		if fg.id != fields {
			continue
		}
		if fg.uses--; fg.uses == 0 {
			c.lib.fieldGroupDestroy(c.h, fg.id)
			delete(c.fields, key)
		}
		return
	}
}
