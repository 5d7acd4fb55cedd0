package nvml

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
)

// Soname is the library's name to the loader.
const Soname = "libnvidia-ml.so.1"

// directories are where the driver's packages and the container toolkit put the library when the loader does not know of it.
var directories = []string{
	"/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib/nvidia",
	"/usr/local/nvidia/lib64", "/run/nvidia/driver/usr/lib/x86_64-linux-gnu", "/run/nvidia/driver/usr/lib/aarch64-linux-gnu",
	"/run/nvidia/driver/usr/lib64",
}

// NotFoundError says where the library was looked for.
type NotFoundError struct {
	// Tried is each place with what the loader said.
	Tried []string
}

func (e *NotFoundError) Error() string {
	return Soname + " not found: looked for " + strings.Join(e.Tried, "; ") +
		": it comes with the NVIDIA driver; install that, or name the file in nvml.library"
}

// Library is a loaded libnvidia-ml. It is loaded once per process and stays.
type Library struct {
	path  string
	calls [callCount]uintptr // 0 for an optional one that the library lacks
}

// call is a function of the library.
type call uint8

const (
	callInit call = iota
	callShutdown
	callDriverVersion
	callDeviceCount
	callHandle
	callUUID
	callName
	callSerial
	callVBIOS
	callPCI
	callMinor
	callFields
	callLimits
	callEnforcedLimit
	callPower
	callTemperature
	callTemperatureV
	callClock
	callUtilization
	callMemory
	callMemoryV2
	callReasons
	callPState
	callReplays
	callEventSetCreate
	callEventSetFree
	callRegisterEvents
	callEventWait
	callMIGMode
	callMIGCount
	callMIGHandle
	callAttributes
	callInstanceID
	callProfileInfo
	callGPMSupport
	callGPMAlloc
	callGPMFree
	callGPMSample
	callGPMInstanceSample
	callGPMMetrics
	callCount
)

// symbols are the names of the calls; of several, the first that the library has is taken. Where an optional one is missing,
// the device is taken not to support it; the others are in every driver that has an energy counter.
var symbols = [callCount]struct {
	names    string
	optional bool
}{
	callInit:              {"nvmlInit_v2", false},
	callShutdown:          {"nvmlShutdown", false},
	callDriverVersion:     {"nvmlSystemGetDriverVersion", false},
	callDeviceCount:       {"nvmlDeviceGetCount_v2", false},
	callHandle:            {"nvmlDeviceGetHandleByIndex_v2", false},
	callUUID:              {"nvmlDeviceGetUUID", false},
	callName:              {"nvmlDeviceGetName", false},
	callSerial:            {"nvmlDeviceGetSerial", true},
	callVBIOS:             {"nvmlDeviceGetVbiosVersion", true},
	callPCI:               {"nvmlDeviceGetPciInfo_v3", true},
	callMinor:             {"nvmlDeviceGetMinorNumber", true},
	callFields:            {"nvmlDeviceGetFieldValues", false},
	callLimits:            {"nvmlDeviceGetPowerManagementLimitConstraints", true},
	callEnforcedLimit:     {"nvmlDeviceGetEnforcedPowerLimit", true},
	callPower:             {"nvmlDeviceGetPowerUsage", true},
	callTemperature:       {"nvmlDeviceGetTemperature", true},
	callTemperatureV:      {"nvmlDeviceGetTemperatureV", true},
	callClock:             {"nvmlDeviceGetClockInfo", true},
	callUtilization:       {"nvmlDeviceGetUtilizationRates", true},
	callMemory:            {"nvmlDeviceGetMemoryInfo", true},
	callMemoryV2:          {"nvmlDeviceGetMemoryInfo_v2", true},
	callReasons:           {"nvmlDeviceGetCurrentClocksEventReasons nvmlDeviceGetCurrentClocksThrottleReasons", true},
	callPState:            {"nvmlDeviceGetPerformanceState", true},
	callReplays:           {"nvmlDeviceGetPcieReplayCounter", true},
	callEventSetCreate:    {"nvmlEventSetCreate", true},
	callEventSetFree:      {"nvmlEventSetFree", true},
	callRegisterEvents:    {"nvmlDeviceRegisterEvents", true},
	callEventWait:         {"nvmlEventSetWait_v2", true},
	callMIGMode:           {"nvmlDeviceGetMigMode", true},
	callMIGCount:          {"nvmlDeviceGetMaxMigDeviceCount", true},
	callMIGHandle:         {"nvmlDeviceGetMigDeviceHandleByIndex", true},
	callAttributes:        {"nvmlDeviceGetAttributes_v2", true},
	callInstanceID:        {"nvmlDeviceGetGpuInstanceId", true},
	callProfileInfo:       {"nvmlDeviceGetGpuInstanceProfileInfo", true},
	callGPMSupport:        {"nvmlGpmQueryDeviceSupport", true},
	callGPMAlloc:          {"nvmlGpmSampleAlloc", true},
	callGPMFree:           {"nvmlGpmSampleFree", true},
	callGPMSample:         {"nvmlGpmSampleGet", true},
	callGPMInstanceSample: {"nvmlGpmMigSampleGet", true},
	callGPMMetrics:        {"nvmlGpmMetricsGet", true},
}

// String is the name of the function.
func (c call) String() string {
	first, _, _ := strings.Cut(symbols[c].names, " ")
	return first
}

var loaded struct {
	sync.Mutex
	libraries map[string]*Library // by path as asked for
}

// Load finds and loads the library: the path if one is given, else the loader's own search, then the usual directories. A
// path that was loaded before gives the same Library.
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
			return nil, fmt.Errorf("libnvidia-ml at %q: %w", path, err)
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
			return nil, fmt.Errorf("%s is not the NVML of a driver that we can read: %w", place, err)
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

func (l *Library) register(handle uintptr) error {
	var missing []string
	for c, s := range symbols {
		for name := range strings.SplitSeq(s.names, " ") {
			if p, err := purego.Dlsym(handle, name); err == nil {
				l.calls[c] = p
				break
			}
		}
		if l.calls[c] == 0 && !s.optional {
			missing = append(missing, call(c).String())
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("it lacks %s", strings.Join(missing, ", "))
	}
	return nil
}

// Path is the file or name that was loaded.
func (l *Library) Path() string { return l.path }

// scratch is where NVML writes its answers. It lives on the heap, which Go does not move, and is reached from its caller
// during every call.
type scratch struct {
	number, second uint32
	wide           uint64
	handle         uintptr
	text           [textBytes]byte
	pci            pciInfo
	utilization    utilization
	memory         memoryV1
	memory2        memoryV2
	temperature    temperatureV1
	attributes     attributes
	profile        profileInfo
	event          eventData
	support        gpmSupport
	metrics        gpmMetricsGet
}

// caller makes calls for one goroutine without allocating: purego would make a slice of each call's arguments.
type caller struct {
	lib   *Library
	args  [4]uintptr
	probe [2]fieldValue
	out   *scratch
}

func newCaller(l *Library) *caller { return &caller{lib: l, out: new(scratch)} }

// do makes a call. Whatever an argument points to must be on the heap and reachable until do returns.
func (c *caller) do(fn call, args int) Return {
	p := c.lib.calls[fn]
	if p == 0 {
		return FunctionNotFound
	}
	r, _, _ := purego.SyscallN(p, c.args[:args]...)
	runtime.KeepAlive(c)
	return Return(int32(r))
}

func (c *caller) do0(fn call) Return { return c.do(fn, 0) }

func (c *caller) do1(fn call, a uintptr) Return {
	c.args[0] = a
	return c.do(fn, 1)
}

func (c *caller) do2(fn call, a, b uintptr) Return {
	c.args[0], c.args[1] = a, b
	return c.do(fn, 2)
}

func (c *caller) do3(fn call, a, b, d uintptr) Return {
	c.args[0], c.args[1], c.args[2] = a, b, d
	return c.do(fn, 3)
}

// at is the address of something in the scratch, for an argument.
func at[T any](p *T) uintptr { return uintptr(unsafe.Pointer(p)) }

// text asks for a string of a device; empty when there is none.
func (c *caller) text(fn call, device uintptr) (string, Return) {
	c.out.text = [textBytes]byte{}
	if r := c.do3(fn, device, at(&c.out.text[0]), textBytes); r != OK {
		return "", r
	}
	return text(c.out.text[:]), OK
}

// number asks for an unsigned int of a device.
func (c *caller) number(fn call, device uintptr) (uint32, Return) {
	r := c.do2(fn, device, at(&c.out.number))
	return c.out.number, r
}

// fields asks for fields of a device. The ids are in values already.
func (c *caller) fields(device uintptr, values []fieldValue) Return {
	if len(values) == 0 {
		return OK
	}
	r := c.do3(callFields, device, uintptr(len(values)), at(&values[0]))
	runtime.KeepAlive(values)
	return r
}
