package simtest

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"
)

// t0 is when most scenarios begin: 2025-01-01 00:00 UTC, in µs.
const t0 = int64(1735689600000000)

const second = int64(1000000)

const allGPUs = uintptr(0x7fffffff)

// The calls of the library, bound in TestMain.
var (
	dcgmInit, dcgmShutdown     func() int32
	dcgmConnect                func(address string, params unsafe.Pointer, h *uintptr) int32
	dcgmDisconnect             func(h uintptr) int32
	dcgmGetAllDevices          func(h uintptr, ids *uint32, n *int32) int32
	dcgmGetEntities            func(h uintptr, group uint32, list *uint32, n *int32, flags uint32) int32
	dcgmGetGpuStatus           func(h uintptr, gpu uint32, status *int32) int32
	dcgmGetDeviceAttributes    func(h uintptr, gpu uint32, a unsafe.Pointer) int32
	dcgmGetHierarchy           func(h uintptr, x unsafe.Pointer) int32
	dcgmGetCPUs                func(h uintptr, x unsafe.Pointer) int32
	dcgmVersionInfo            func(x unsafe.Pointer) int32
	dcgmGroupCreate            func(h uintptr, kind int32, name string, g *uintptr) int32
	dcgmGroupAddEntity         func(h, g uintptr, group, id uint32) int32
	dcgmFieldGroupCreate       func(h uintptr, n int32, ids *uint16, name string, f *uintptr) int32
	dcgmWatchFields            func(h, g, f uintptr, us int64, keep float64, samples int32) int32
	dcgmUnwatchFields          func(h, g, f uintptr) int32
	dcgmLatest                 func(h uintptr, pairs *pair, n uint32, ids *uint16, k, flags uint32, out *value) int32
	dcgmSince                  func(h, g, f uintptr, since int64, next *int64, cb, user uintptr) int32
	dcgmFieldByID              func(id uint16) unsafe.Pointer
	wlsimLoad, wlsimWriteTruth func(path string) int32
	wlsimCheck                 func(text unsafe.Pointer, n int64) int32
	wlsimError                 func() string
	wlsimAdvance               func(node string, t int64) int32
	wlsimNow                   func(node string) int64
	wlsimGPU                   func(node string, gpu int32, buf *byte, n int32) int32
	wlsimMIG                   func(node string, gpu, instance int32, buf *byte, n int32) int32
	wlsimBoot                  func(node string, buf *byte, n int32) int32
	wlsimRelease               func(node string) int32
	wlsimCalls                 func(function string) uint64
	wlsimCPU                   func() int64
	dcgmHostengineVersionInfo  func(h uintptr, x unsafe.Pointer) int32
)

type pair struct{ group, id uint32 }

type value struct {
	_, _, _ uint32 // version, entity group, entity
	_, kind uint16
	status  int32
	_       uint32
	ts      int64
	raw     [4096]byte
}

func (v *value) int() int64 { return *(*int64)(unsafe.Pointer(&v.raw[0])) }

func (v *value) float() float64 { return *(*float64)(unsafe.Pointer(&v.raw[0])) }

func (v *value) text() string { return string(v.raw[:bytes.IndexByte(v.raw[:256], 0)]) }

// bits is the value as it stands in memory, for comparing runs.
func (v *value) bits() string {
	if v.kind == 's' {
		return fmt.Sprint(v.status, v.ts, v.text())
	}
	return fmt.Sprint(v.status, v.ts, v.int())
}

// sources are the C files, relative to this folder.
func sources() []string {
	files, _ := filepath.Glob("../*.c")
	return files
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "simtest")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := 1
	if err := build(filepath.Join(dir, "libdcgm.so.4")); err != nil {
		fmt.Fprintln(os.Stderr, err) // a simulator that cannot be built is a failure, never a reason to skip
	} else {
		code = m.Run()
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// build compiles and binds the library.
func build(path string) error {
	args := append([]string{"-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-pthread", "-Wl,-soname,libdcgm.so.4", "-o", path}, sources()...)
	if _, err := exec.LookPath("cc"); err != nil {
		return fmt.Errorf("the simulated libdcgm needs a C compiler: install gcc or clang: %w", err)
	}
	if out, err := exec.Command("cc", append(args, "-lm")...).CombinedOutput(); err != nil {
		return fmt.Errorf("compile the simulated libdcgm: %w\n%s", err, out)
	}
	lib, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return fmt.Errorf("load the simulated libdcgm: %w", err)
	}
	for name, fn := range map[string]any{
		"dcgmInit": &dcgmInit, "dcgmShutdown": &dcgmShutdown, "dcgmConnect_v2": &dcgmConnect, "dcgmDisconnect": &dcgmDisconnect,
		"dcgmGetAllDevices": &dcgmGetAllDevices, "dcgmGetEntityGroupEntities": &dcgmGetEntities, "dcgmGetGpuStatus": &dcgmGetGpuStatus,
		"dcgmGetDeviceAttributes": &dcgmGetDeviceAttributes, "dcgmGetGpuInstanceHierarchy": &dcgmGetHierarchy,
		"dcgmGetCpuHierarchy_v2": &dcgmGetCPUs, "dcgmVersionInfo": &dcgmVersionInfo, "dcgmGroupCreate": &dcgmGroupCreate,
		"dcgmGroupAddEntity": &dcgmGroupAddEntity, "dcgmFieldGroupCreate": &dcgmFieldGroupCreate, "dcgmWatchFields": &dcgmWatchFields,
		"dcgmUnwatchFields": &dcgmUnwatchFields, "dcgmEntitiesGetLatestValues": &dcgmLatest, "dcgmGetValuesSince_v2": &dcgmSince,
		"DcgmFieldGetById": &dcgmFieldByID, "wlsim_load": &wlsimLoad, "wlsim_write_truth": &wlsimWriteTruth, "wlsim_check": &wlsimCheck,
		"wlsim_error": &wlsimError, "wlsim_advance": &wlsimAdvance, "wlsim_now": &wlsimNow, "wlsim_gpu_uuid": &wlsimGPU,
		"wlsim_mig_uuid": &wlsimMIG, "wlsim_boot_id": &wlsimBoot, "wlsim_release": &wlsimRelease, "wlsim_calls": &wlsimCalls,
		"wlsim_cpu_ns": &wlsimCPU, "dcgmHostengineVersionInfo": &dcgmHostengineVersionInfo,
	} {
		purego.RegisterLibFunc(fn, lib, name)
	}
	return nil
}

// check reads a scenario text without installing it and gives the complaint, if any.
func check(text string) string {
	b := append([]byte(text), 0)
	if wlsimCheck(unsafe.Pointer(&b[0]), int64(len(text))) == 0 {
		return ""
	}
	return wlsimError()
}

// start plays a scenario from its beginning.
func start(t testing.TB, text string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "scenario.txt")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	dcgmShutdown()
	if wlsimLoad(path) != 0 {
		t.Fatal(wlsimError())
	}
	ok(t, "dcgmInit", dcgmInit())
}

func ok(t testing.TB, what string, rc int32) {
	t.Helper()
	if rc != 0 {
		t.Fatalf("%s: %d", what, rc)
	}
}

func connect(t testing.TB, node string) uintptr {
	t.Helper()
	params := [4]uint32{0x02000010}
	var h uintptr
	ok(t, "dcgmConnect_v2 "+node, dcgmConnect(node, unsafe.Pointer(&params), &h))
	return h
}

func advance(t testing.TB, node string, to int64) {
	t.Helper()
	if wlsimAdvance(node, to) != 0 {
		t.Fatal(wlsimError())
	}
}

func fields(t testing.TB, h uintptr, name string, ids ...uint16) uintptr {
	t.Helper()
	var f uintptr
	ok(t, "dcgmFieldGroupCreate", dcgmFieldGroupCreate(h, int32(len(ids)), &ids[0], name, &f))
	return f
}

func watch(t testing.TB, h uintptr, us int64, ids ...uint16) {
	t.Helper()
	f := fields(t, h, fmt.Sprint("watch", h, us, ids), ids...)
	ok(t, "dcgmWatchFields", dcgmWatchFields(h, allGPUs, f, us, 1e6, 0))
}

// latest reads one field of one entity.
func latest(t testing.TB, h uintptr, group, id uint32, field uint16) *value {
	t.Helper()
	return read(t, h, group, id, field, 0)
}

func read(t testing.TB, h uintptr, group, id uint32, field uint16, flags uint32) *value {
	t.Helper()
	v := new(value)
	ok(t, "dcgmEntitiesGetLatestValues", dcgmLatest(h, &pair{group, id}, 1, &field, 1, flags, v))
	return v
}

// truth reads what really happened: energy in µJ by entity and time.
func truth(t testing.TB) map[string]map[int64]int64 {
	t.Helper()
	path := filepath.Join(t.TempDir(), "truth.csv")
	if wlsimWriteTruth(path) != 0 {
		t.Fatal(wlsimError())
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]map[int64]int64{}
	for _, r := range rows[1:] {
		at, err1 := strconv.ParseInt(r[1], 10, 64)
		uj, err2 := strconv.ParseInt(r[2], 10, 64)
		if err1 != nil || err2 != nil {
			t.Fatalf("truth row %v", r)
		}
		if out[r[0]] == nil {
			out[r[0]] = map[int64]int64{}
		}
		out[r[0]][at] = uj
	}
	return out
}

func gpuUUID(t testing.TB, node string, gpu int32) string {
	t.Helper()
	var b [64]byte
	n := wlsimGPU(node, gpu, &b[0], int32(len(b)))
	if n < 0 {
		t.Fatal(wlsimError())
	}
	return string(b[:n])
}

func migUUID(t testing.TB, node string, gpu, instance int32) string {
	t.Helper()
	var b [64]byte
	n := wlsimMIG(node, gpu, instance, &b[0], int32(len(b)))
	if n < 0 {
		t.Fatal(wlsimError())
	}
	return string(b[:n])
}

// milliwatts is field 155 or 157 as the whole number that the simulator plays with.
func milliwatts(v *value) int64 { return int64(math.Round(v.float() * 1000)) }

type sample struct {
	ts     int64
	status int32
	bits   int64
}

var (
	sinceCallback uintptr
	sinceSamples  map[pair][]sample
)

// since gathers samples by dcgmGetValuesSince_v2, keyed by (entity id, field).
func since(t testing.TB, h, g, f uintptr, from int64) (map[pair][]sample, int64) {
	t.Helper()
	if sinceCallback == 0 {
		sinceCallback = purego.NewCallback(func(_, id uint32, values unsafe.Pointer, n int32, _ uintptr) uintptr {
			for i := range int(n) {
				p := unsafe.Add(values, i*4120)
				key := pair{id, uint32(*(*uint16)(unsafe.Add(p, 4)))}
				sinceSamples[key] = append(sinceSamples[key],
					sample{*(*int64)(unsafe.Add(p, 16)), *(*int32)(unsafe.Add(p, 8)), *(*int64)(unsafe.Add(p, 24))})
			}
			return 0
		})
	}
	sinceSamples = map[pair][]sample{}
	var next int64
	ok(t, "dcgmGetValuesSince_v2", dcgmSince(h, g, f, from, &next, sinceCallback, 0))
	return sinceSamples, next
}
