package dcgm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
)

// Soname is the library's name to the loader.
const Soname = "libdcgm.so.4"

// directories are where NVIDIA's packages put the library when the loader does not know of it.
var directories = []string{"/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64"}

// NotFoundError says where the library was looked for.
type NotFoundError struct {
	// Tried is each place with what the loader said.
	Tried []string
}

func (e *NotFoundError) Error() string {
	return Soname + " not found: looked for " + strings.Join(e.Tried, "; ") +
		": install datacenter-gpu-manager-4-core from NVIDIA's repository, or name the file with --dcgm-library"
}

// Library is a loaded libdcgm. It is loaded once per process and stays, initialised: its threads live inside, and shutting
// it down would end the connections of whoever else has one.
type Library struct {
	path string
	calls
	simulated bool // it is our own stand-in, whose engine is always in this process

	mu     sync.Mutex
	ready  bool    // initialised; guarded by mu
	engine *Conn   // who runs the embedded engine; guarded by mu
	handle uintptr // the embedded engine's, also while nobody claims it; guarded by mu
}

// calls are the functions of the library. Those registered by type may carry a double (dcgmWatchFields does), which a
// call by raw integers would lose; bulk and since are called at every tick, carry none, and go by address, which
// allocates nothing.
type calls struct {
	initialize func() Return
	startV2    func(p *startV1) Return
	stop       func(h uintptr) Return
	connectV2  func(address string, p *connectV2, h *uintptr) Return
	disconnect func(h uintptr) Return

	versionInfo       func(v *versionInfoV2) Return
	engineVersionInfo func(h uintptr, v *versionInfoV2) Return
	engineHealthy     func(h uintptr, v *healthV1) Return

	allDevices   func(h uintptr, ids *uint32, n *int32) Return
	gpuStatus    func(h uintptr, gpu uint32, status *int32) Return
	migHierarchy func(h uintptr, m *migHierarchyV2) Return
	cpuHierarchy func(h uintptr, c *cpuHierarchyV2) Return
	entities     func(h uintptr, eg entityGroup, ids *uint32, n *int32, flags uint32) Return

	groupCreate       func(h uintptr, kind int32, name string, g *uintptr) Return
	groupAddEntity    func(h, g uintptr, eg entityGroup, id uint32) Return
	groupDestroy      func(h, g uintptr) Return
	fieldGroupCreate  func(h uintptr, n int32, ids *uint16, name string, fg *uintptr) Return
	fieldGroupDestroy func(h, fg uintptr) Return

	watchFields   func(h, g, fg uintptr, everyMicros int64, keepSeconds float64, keepSamples int32) Return
	unwatchFields func(h, g, fg uintptr) Return
	updateAll     func(h uintptr, wait int32) Return

	fieldsInit func() int32
	fieldByID  func(id uint16) unsafe.Pointer

	bulk  uintptr // dcgmEntitiesGetLatestValues
	since uintptr // dcgmGetValuesSince_v2
}

var loaded struct {
	sync.Mutex
	libraries map[string]*Library // by path as asked for
}

// Load finds and loads the library: the path if one is given, else the loader's own search, then the directories of
// NVIDIA's packages. A path that was loaded before gives the same Library.
func Load(path string) (*Library, error) {
	loaded.Lock()
	defer loaded.Unlock()
	if l := loaded.libraries[path]; l != nil {
		return l, nil
	}
	l, err := load(path)
	if err != nil {
		return nil, err
	}
	if loaded.libraries == nil {
		loaded.libraries = map[string]*Library{}
	}
	loaded.libraries[path] = l
	return l, nil
}

func load(path string) (*Library, error) {
	var places []string
	if path != "" {
		abs, err := filepath.Abs(path) // a bare name would send the loader on its own search
		if err != nil {
			return nil, fmt.Errorf("libdcgm at %q: %w", path, err)
		}
		places = []string{abs}
	} else {
		places = []string{Soname}
		for _, d := range directories {
			places = append(places, filepath.Join(d, Soname))
		}
	}
	missing := &NotFoundError{}
	for _, place := range places {
		handle, err := purego.Dlopen(place, purego.RTLD_NOW|purego.RTLD_GLOBAL)
		if err != nil {
			missing.Tried = append(missing.Tried, fmt.Sprintf("%s (%s)", place, why(place, err)))
			continue
		}
		l := &Library{path: place}
		if err := l.register(handle); err != nil {
			return nil, fmt.Errorf("%s is not a DCGM 4 library: %w", place, err)
		}
		return l, nil
	}
	return nil, missing
}

// why shortens the loader's own words, which repeat the path.
func why(place string, err error) string {
	if filepath.IsAbs(place) {
		if _, statErr := os.Stat(place); errors.Is(statErr, os.ErrNotExist) {
			return "no such file"
		}
	}
	return strings.TrimPrefix(err.Error(), place+": ")
}

// register binds every function. Symbols are asked for one by one first, since purego panics on one that is missing.
func (l *Library) register(handle uintptr) error {
	var missing []string
	symbol := func(name string) uintptr {
		p, err := purego.Dlsym(handle, name)
		if err != nil {
			missing = append(missing, name)
			return 0
		}
		return p
	}
	bind := func(fn any, name string) {
		if p := symbol(name); p != 0 {
			purego.RegisterFunc(fn, p)
		}
	}
	c := &l.calls
	bind(&c.initialize, "dcgmInit")
	bind(&c.startV2, "dcgmStartEmbedded_v2")
	bind(&c.stop, "dcgmStopEmbedded")
	bind(&c.connectV2, "dcgmConnect_v2")
	bind(&c.disconnect, "dcgmDisconnect")
	bind(&c.versionInfo, "dcgmVersionInfo")
	bind(&c.engineVersionInfo, "dcgmHostengineVersionInfo")
	bind(&c.engineHealthy, "dcgmHostengineIsHealthy")
	bind(&c.allDevices, "dcgmGetAllDevices")
	bind(&c.gpuStatus, "dcgmGetGpuStatus")
	bind(&c.migHierarchy, "dcgmGetGpuInstanceHierarchy")
	bind(&c.cpuHierarchy, "dcgmGetCpuHierarchy_v2")
	bind(&c.entities, "dcgmGetEntityGroupEntities")
	bind(&c.groupCreate, "dcgmGroupCreate")
	bind(&c.groupAddEntity, "dcgmGroupAddEntity")
	bind(&c.groupDestroy, "dcgmGroupDestroy")
	bind(&c.fieldGroupCreate, "dcgmFieldGroupCreate")
	bind(&c.fieldGroupDestroy, "dcgmFieldGroupDestroy")
	bind(&c.watchFields, "dcgmWatchFields")
	bind(&c.unwatchFields, "dcgmUnwatchFields")
	bind(&c.updateAll, "dcgmUpdateAllFields")
	bind(&c.fieldsInit, "DcgmFieldsInit")
	bind(&c.fieldByID, "DcgmFieldGetById")
	c.bulk = symbol("dcgmEntitiesGetLatestValues")
	c.since = symbol("dcgmGetValuesSince_v2")
	if _, err := purego.Dlsym(handle, "wlsim_advance"); err == nil {
		l.simulated = true
	}
	if len(missing) > 0 {
		return fmt.Errorf("it lacks %s", strings.Join(missing, ", "))
	}
	return nil
}

// Path is the file or name that was loaded.
func (l *Library) Path() string { return l.path }

// Version is the library's own version, such as 4.6.0.
func (l *Library) Version() (string, error) {
	v := &versionInfoV2{Version: versionInfo}
	if err := check(l.versionInfo(v), "ask the library for its version"); err != nil {
		return "", err
	}
	return versionOf(text(v.Text[:])), nil
}

// versionOf finds the version in DCGM's list of key:value; pairs.
func versionOf(info string) string {
	for pair := range strings.SplitSeq(info, ";") {
		if v, ok := strings.CutPrefix(pair, "version:"); ok {
			return v
		}
	}
	return info
}

// meta describes a field; nil for one that is newer than the library.
func (l *Library) meta(field uint16) *fieldMeta { return (*fieldMeta)(l.fieldByID(field)) }

// init initialises the library, once.
func (l *Library) init() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ready {
		return nil
	}
	if err := check(l.initialize(), "initialise %s", l.path); err != nil {
		return err
	}
	l.fieldsInit()
	l.ready = true
	return nil
}

// claim makes c the one that runs the embedded engine, of which a process can have only one. One whose connection was given
// up is taken over: its handle is returned.
func (l *Library) claim(c *Conn) (handle uintptr, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.engine != nil && !l.engine.givenUp() {
		return 0, errors.New("start the embedded host engine: this process has one already; close it first, or give an address")
	}
	l.engine = c
	return l.handle, nil
}

// started says which engine c has started.
func (l *Library) started(c *Conn, handle uintptr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.engine == c {
		l.handle = handle
	}
}

// release ends a claim, or what is left of one, and says whether the engine is c's to stop: nobody has taken it over.
func (l *Library) release(c *Conn) (ours bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.engine != c && (l.engine != nil || l.handle != c.h) {
		return false
	}
	l.engine, l.handle = nil, 0
	return true
}

// leave ends a claim without stopping the engine, since a call of c is still inside.
func (l *Library) leave(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.engine == c {
		l.engine = nil
	}
}
