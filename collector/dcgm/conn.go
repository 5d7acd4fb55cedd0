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
)

// Options say which host engine to use.
type Options struct {
	// Address is the host engine's: host, host:port, unix:///path or an absolute path to its socket. Empty starts an engine
	// inside this process, of which there can be only one.
	Address string
	// Timeout bounds connecting. 0 means 5 s.
	Timeout time.Duration
}

// Conn is a connection to a host engine. Its methods are for one goroutine.
type Conn struct {
	lib     *Library
	h       uintptr
	options Options
	// prefix makes our group names our own: groups are shared by all clients of an engine.
	prefix string
	named  int
	// mig and cpu are filled by every listing; at 73 kB they are worth keeping.
	mig migHierarchyV2
	cpu cpuHierarchyV2
}

// connections numbers the connections of this process, for the names of groups.
var connections atomic.Int64

// Connect reaches the host engine and makes sure that it answers.
func (l *Library) Connect(o Options) (*Conn, error) {
	if err := l.open(); err != nil {
		return nil, err
	}
	c := &Conn{lib: l, options: o, prefix: fmt.Sprintf("wattledger-%d-%d", os.Getpid(), connections.Add(1))}
	var err error
	if o.Address == "" {
		err = c.start()
	} else {
		err = c.dial()
	}
	if err != nil {
		return nil, errors.Join(err, l.closed())
	}
	// A failed login can leave a handle that is dead although connecting said OK: ask something cheap at once.
	health := &healthV1{Version: versionHealthV1}
	if err := check(l.engineHealthy(c.h, health), "ask %s for its health", c.where()); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// start runs the engine inside this process.
func (c *Conn) start() error {
	p := &startV1{Version: versionStartV1, OpMode: operationAuto, Severity: -1, DenyN: 3}
	p.Deny = [10]uint32{modulePolicy, moduleConfig, moduleDiag}
	if err := check(c.lib.startV2(p), "start the embedded host engine"); err != nil {
		return err
	}
	if p.Handle == 0 {
		return errors.New("start the embedded host engine: this process has one already; close it first, or give an address")
	}
	c.h = p.Handle
	return nil
}

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
	if c.options.Address == "" {
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
	var err error
	if c.h == 0 {
		return nil
	}
	if c.options.Address == "" {
		err = check(c.lib.stop(c.h), "stop the embedded host engine")
	} else if r := c.lib.disconnect(c.h); !r.dead() { // a dead connection needs no goodbye
		err = check(r, "disconnect from %s", c.where())
	}
	c.h = 0
	return errors.Join(err, c.lib.closed())
}

// live reads fields of entities from the driver now, without a watch: for what hardly ever changes.
func (c *Conn) live(pairs []entityPair, fields []uint16) ([]fieldValueV2, error) {
	out := make([]fieldValueV2, len(pairs)*len(fields))
	for i := range out {
		out[i].Version = versionFieldValueV2
	}
	r := c.lib.latest(c.h, pairs, fields, flagLive, unsafe.Pointer(&out[0]))
	return out, check(r, "read %d fields of %d entities from the driver", len(fields), len(pairs))
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

// fieldGroup makes a group of fields.
func (c *Conn) fieldGroup(fields []uint16) (uintptr, error) {
	fg := new(uintptr)
	r := c.lib.fieldGroupCreate(c.h, int32(len(fields)), &fields[0], c.name(), fg)
	runtime.KeepAlive(fields)
	return *fg, check(r, "create a group of fields %v", fields)
}
