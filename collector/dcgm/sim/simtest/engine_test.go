package simtest

import (
	"fmt"
	"strings"
	"testing"
	"unsafe"
)

const (
	blankInt    = int64(0x7ffffffffffffff0)
	blankDouble = float64(int64(1) << 47)
)

func TestVersionWordsAreChecked(t *testing.T) {
	start(t, fmt.Sprintf(day, 1))
	h := connect(t, "a")
	f := func(what string, size int, word uint32, call func(p unsafe.Pointer) int32) {
		t.Helper()
		b := make([]uint64, size/8+1)
		p := unsafe.Pointer(&b[0])
		for _, w := range []uint32{0, word + 1, word + 1<<24, word - 1<<24} {
			*(*uint32)(p) = w
			if rc := call(p); rc != -12 {
				t.Errorf("%s with version %#x: %d, want -12", what, w, rc)
			}
		}
		*(*uint32)(p) = word
		ok(t, what, call(p))
	}
	f("attributes", 5220, 0x03001464, func(p unsafe.Pointer) int32 { return dcgmGetDeviceAttributes(h, 0, p) })
	f("hierarchy", 73480, 0x02011f08, func(p unsafe.Pointer) int32 { return dcgmGetHierarchy(h, p) })
	f("version", 516, 0x02000204, func(p unsafe.Pointer) int32 { return dcgmVersionInfo(p) })
	b := connect(t, "b")
	f("cpus", 3208, 0x02000c88, func(p unsafe.Pointer) int32 { return dcgmGetCPUs(b, p) })
	var cpus [3208]byte
	*(*uint32)(unsafe.Pointer(&cpus)) = 0x02000c88
	if rc := dcgmGetCPUs(h, unsafe.Pointer(&cpus)); rc != -33 {
		t.Errorf("CPUs of an x86 node: %d, want -33", rc)
	}
	var other uintptr
	params := [4]uint32{0x03000010}
	if rc := dcgmConnect("a", unsafe.Pointer(&params), &other); rc != -12 {
		t.Errorf("connect with a wrong version: %d", rc)
	}
	params[0] = 0x02000010
	if rc := dcgmConnect("nowhere", unsafe.Pointer(&params), &other); rc != -21 {
		t.Errorf("connect to nowhere: %d", rc)
	}
}

func TestReturnCodes(t *testing.T) {
	start(t, fmt.Sprintf(day, 1))
	h := connect(t, "a")
	f := func(what string, got, want int32) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %d, want %d", what, got, want)
		}
	}
	var x uintptr
	ids := []uint16{155, 60000}
	f("an unknown field in a field group", dcgmFieldGroupCreate(h, 2, &ids[0], "u", &x), -1)
	f("a field group", dcgmFieldGroupCreate(h, 1, &ids[0], "u", &x), 0)
	f("the same name again", dcgmFieldGroupCreate(h, 1, &ids[0], "u", &x), -26)
	f("an unknown group", dcgmGroupAddEntity(h, 77, 1, 0), -5)
	var g uintptr
	f("a group", dcgmGroupCreate(h, 1, "g", &g), 0)
	f("an entity", dcgmGroupAddEntity(h, g, 1, 7), 0)
	f("an entity twice", dcgmGroupAddEntity(h, g, 1, 7), -1)
	f("an entity that is not there", dcgmGroupAddEntity(h, g, 1, 8), -1)
	f("a watch of an unknown group", dcgmWatchFields(h, 77, x, second, 1, 0), -5)
	for i := 1; i < 64; i++ {
		f("a group more", dcgmGroupCreate(h, 1, "g", &x), 0)
	}
	f("too many groups", dcgmGroupCreate(h, 1, "g", &x), -24)
	list, n := make([]uint32, 4), int32(4)
	f("a short list", dcgmGetEntities(h, 1, &list[0], &n, 0), -31)
	f("its size", n, 8)
	v := latest(t, h, 1, 0, 155)
	if v.status != -16 || v.ts != 0 || v.float() != blankDouble {
		t.Errorf("not watched: %d, %d, %v", v.status, v.ts, v.float())
	}
	if v := latest(t, h, 1, 0, 60000); v.status != -13 {
		t.Errorf("unknown field: %d", v.status)
	}
	if v := read(t, h, 1, 0, 54, 1); v.status != 0 || v.text() != gpuUUID(t, "a", 0) {
		t.Errorf("live UUID: %d, %q", v.status, v.text())
	}
	f("disconnect", dcgmDisconnect(h), 0)
	f("disconnect again", dcgmDisconnect(h), -1)
	var count int32
	var all [32]uint32
	f("a dead handle", dcgmGetAllDevices(h, &all[0], &count), -21)
	dcgmShutdown()
	f("after shutdown", dcgmGetAllDevices(h, &all[0], &count), -10)
	if dcgmFieldByID(155) == nil || dcgmFieldByID(60000) != nil {
		t.Error("field metadata")
	}
}

func TestLatestValuesDoNotExpire(t *testing.T) {
	start(t, fmt.Sprintf(day, 1))
	h := connect(t, "a")
	f := fields(t, h, "f", 157)
	ok(t, "watch", dcgmWatchFields(h, allGPUs, f, second, 2, 0))
	advance(t, "a", t0+3500000)
	v := latest(t, h, 1, 0, 157)
	if v.ts != t0+3*second {
		t.Errorf("sampled at %d", v.ts-t0)
	}
	ok(t, "unwatch", dcgmUnwatchFields(h, allGPUs, f))
	advance(t, "a", t0+50*second)
	if got := latest(t, h, 1, 0, 157); got.bits() != v.bits() {
		t.Errorf("the value changed after unwatch: %s, was %s", got.bits(), v.bits())
	}
}

func TestSinceGivesEverySampleOnce(t *testing.T) {
	start(t, fmt.Sprintf(day, 1))
	h := connect(t, "a")
	f := fields(t, h, "f", 155, 156)
	ok(t, "watch", dcgmWatchFields(h, allGPUs, f, 250000, 60, 0))
	var from int64
	got := map[pair][]sample{}
	// Field 156 is up to 100 ms older than its sample, so a reader that comes less than that before a sample would miss
	// it, as with the real library: read again from a little earlier and drop what is known.
	for _, at := range []int64{0, 1, 250000, 260000, 5000000, 5000001, 20000000} {
		advance(t, "a", t0+at)
		var s map[pair][]sample
		s, from = since(t, h, allGPUs, f, from)
		for k, v := range s {
			got[k] = append(got[k], v...)
		}
	}
	for gpu := range uint32(8) {
		for _, field := range []uint32{155, 156} {
			s := got[pair{gpu, field}]
			if len(s) != 81 {
				t.Errorf("GPU %d field %d: %d samples, want 81", gpu, field, len(s))
			}
			for i := 1; i < len(s); i++ {
				if s[i].ts <= s[i-1].ts {
					t.Errorf("GPU %d field %d: time goes from %d to %d", gpu, field, s[i-1].ts, s[i].ts)
				}
			}
		}
	}
}

func TestFaults(t *testing.T) {
	start(t, fmt.Sprintf(day, 1)+fmt.Sprintf("xid a 4 %d 79\nxid a 4 %d 43\nlost a 4 %d\n", t0+5500000, t0+7*second, t0+8*second))
	h := connect(t, "a")
	watch(t, h, second, 155, 156, 54, 230)
	if v := latest(t, h, 1, 4, 230); v.status != -14 {
		t.Errorf("no XID yet: %d", v.status)
	}
	at := func(s int64) { t.Helper(); advance(t, "a", t0+s*second) }
	at(6)
	if v := latest(t, h, 1, 4, 230); v.status != 0 || v.int() != 79 || v.ts != t0+5500000 {
		t.Errorf("XID: %s", v.bits())
	}
	at(9)
	if v := latest(t, h, 1, 4, 230); v.int() != 43 {
		t.Errorf("second XID: %s", v.bits())
	}
	var status int32
	ok(t, "status", dcgmGetGpuStatus(h, 4, &status))
	if v := latest(t, h, 1, 4, 156); status != 4 || v.status != -18 || v.int() != blankInt {
		t.Errorf("lost: status %d, %s", status, v.bits())
	}
	at(19)
	if v := latest(t, h, 1, 1, 155); v.float() == blankDouble {
		t.Error("missing too early")
	}
	at(20)
	if v := latest(t, h, 1, 1, 155); v.status != 0 || v.float() != blankDouble || v.ts != t0+20*second {
		t.Errorf("missing: %d, %v at %d", v.status, v.float(), v.ts-t0)
	}
	at(30)
	if v := latest(t, h, 1, 1, 155); v.float() == blankDouble {
		t.Error("missing too long")
	}
	stuck := latest(t, h, 1, 2, 156)
	at(39)
	if v := latest(t, h, 1, 2, 156); v.int() != stuck.int() || v.ts != stuck.ts+9*second {
		t.Errorf("stuck: %s, was %s", v.bits(), stuck.bits())
	}
	before := latest(t, h, 1, 0, 156)
	at(40)
	if v := latest(t, h, 1, 2, 156); v.int() <= stuck.int()+5*140000 {
		t.Errorf("still stuck: %s", v.bits())
	}
	at(41) // GPU 0 was reset at 40.123 s while it trained: less than a second at 1 kW
	if v := latest(t, h, 1, 0, 156); before.int() < 20e6 || v.int() <= 0 || v.int() > 880000 {
		t.Errorf("reset: from %s to %s", before.bits(), v.bits())
	}
}

func TestCounterRightAfterReset(t *testing.T) {
	start(t, fmt.Sprintf(day, 1))
	h := connect(t, "a")
	watch(t, h, 1000, 156)
	advance(t, "a", t0+40123000)
	if v := latest(t, h, 1, 0, 156); v.int() != 0 || v.ts != t0+40123000 {
		t.Errorf("at the reset: %s", v.bits())
	}
}

func TestBootEndAndRestart(t *testing.T) {
	start(t, fmt.Sprintf("start %d\nnode n hgx-b200\nboot n %d\nrestart n %d\nend n %d\nboot n %d\n",
		t0, t0+10*second, t0+20*second, t0+30*second, t0+40*second))
	params, h := [4]uint32{0x02000010}, uintptr(0)
	try := func() int32 { return dcgmConnect("n", unsafe.Pointer(&params), &h) }
	bootID := func() string {
		var b [64]byte
		n := wlsimBoot("n", &b[0], 64)
		return string(b[:max(n, 0)])
	}
	at := func(s int64) { t.Helper(); advance(t, "n", t0+s*second) }
	counter := func() int64 { watch(t, h, second, 156); return latest(t, h, 1, 0, 156).int() }
	if rc := try(); rc != -21 {
		t.Errorf("before the boot: %d", rc)
	}
	at(19)
	ok(t, "connect", try())
	first, id := counter(), bootID()
	if first < 9*130000 || first > 9*150000 {
		t.Errorf("the counter does not start at the boot: %d", first)
	}
	at(20)
	var n int32
	var ids [32]uint32
	if rc := dcgmGetAllDevices(h, &ids[0], &n); rc != -21 {
		t.Errorf("after the restart of the engine: %d", rc)
	}
	dcgmDisconnect(h)
	ok(t, "connect again", try())
	if v := latest(t, h, 1, 0, 156); v.status != -16 {
		t.Errorf("the watch survived: %d", v.status)
	}
	if c := counter(); c <= first || bootID() != id {
		t.Errorf("the restart of the engine touched the GPU: %d after %d", c, first)
	}
	at(35)
	if rc := try(); rc != -21 {
		t.Errorf("after the end: %d", rc)
	}
	at(41)
	ok(t, "connect after the second boot", try())
	if c := counter(); c > 150000 || bootID() == id {
		t.Errorf("after the second boot: counter %d, boot id %s", c, bootID())
	}
	at(42)
	uuid := gpuUUID(t, "n", 0)
	start(t, fmt.Sprintf("start %d\nnode n hgx-b200\nboot n %d\nend n %d\nmark %d\nmark %d\nmark %d\n",
		t0, t0+10*second, t0+30*second, t0+10*second, t0+30*second, t0+90*second))
	at(95)
	if real := truth(t)[uuid]; real[t0+10*second] != 0 || real[t0+30*second] < 20*130e6 || real[t0+90*second] != real[t0+30*second] {
		t.Errorf("energy outside boot and end: %v", real)
	}
}

func TestModelsOfOne(t *testing.T) {
	start(t, fmt.Sprintf(`start %d
model P100 name="Tesla P100-PCIE-16GB" arch=4 gpus=2 idle_w=27.5 limit_w=250 energy_counter=0 fb_mib=16280
node p P100
node q model=P100 gpus=1
gpu q 0 uuid=GPU-00000000-1111-2222-3333-444444444444 serial=42
load p 0 %d %d const:1
`, t0, t0, t0+100*second))
	h, q := connect(t, "p"), connect(t, "q")
	watch(t, h, second, 155, 156, 50, 250)
	advance(t, "p", t0+99*second)
	if v := latest(t, h, 1, 0, 156); v.status != 0 || v.int() != blankInt+2 {
		t.Errorf("energy of a P100: %s", v.bits())
	}
	if v := latest(t, h, 1, 0, 155); v.float() < 200 || v.float() > 250 {
		t.Errorf("power of a busy P100: %v", v.float())
	}
	if v := latest(t, h, 1, 1, 155); v.float() < 26 || v.float() > 29 {
		t.Errorf("power of a resting P100: %v", v.float())
	}
	if got := latest(t, h, 1, 1, 50).text(); got != "Tesla P100-PCIE-16GB" {
		t.Errorf("name: %q", got)
	}
	f := fields(t, h, "prof", 155, 1002)
	if rc := dcgmWatchFields(h, allGPUs, f, second, 1, 0); rc != -36 {
		t.Errorf("profiling a P100: %d", rc)
	}
	if got := read(t, q, 1, 0, 54, 1).text(); got != "GPU-00000000-1111-2222-3333-444444444444" {
		t.Errorf("explicit UUID: %q", got)
	}
}

func TestGrace(t *testing.T) {
	start(t, fmt.Sprintf(day, 1))
	h := connect(t, "b")
	var g uintptr
	ok(t, "group", dcgmGroupCreate(h, 1, "cpus", &g))
	ok(t, "CPU 0", dcgmGroupAddEntity(h, g, 7, 0))
	ok(t, "CPU 1", dcgmGroupAddEntity(h, g, 7, 1))
	f := fields(t, h, "cpu", 1130, 1132, 1133, 156)
	ok(t, "watch", dcgmWatchFields(h, g, f, second, 1, 0))
	watch(t, h, second, 155)
	advance(t, "b", t0+50*second)
	cpu, io, module := latest(t, h, 7, 0, 1130).float(), latest(t, h, 7, 0, 1132).float(), latest(t, h, 7, 0, 1133).float()
	gpus := latest(t, h, 1, 0, 155).float() + latest(t, h, 1, 1, 155).float()
	if rest := module - cpu - io - gpus; cpu < 110 || cpu > 300 || rest < 40 || rest > 50 {
		t.Errorf("CPU %v, IO %v, module %v, GPUs %v", cpu, io, module, gpus)
	}
	if v := latest(t, h, 7, 0, 156); v.int() != blankInt+2 {
		t.Errorf("a Grace CPU has no energy counter: %s", v.bits())
	}
	var x [3208]byte
	*(*uint32)(unsafe.Pointer(&x)) = 0x02000c88
	ok(t, "hierarchy", dcgmGetCPUs(h, unsafe.Pointer(&x)))
	serial, _, _ := strings.Cut(string(x[152:408]), "\x00")
	if n := *(*uint32)(unsafe.Pointer(&x[4])); n != 2 || truth(t)[serial] == nil {
		t.Errorf("%d CPUs; the truth does not know %q", n, serial)
	}
}

func TestHierarchyOfInstances(t *testing.T) {
	start(t, fmt.Sprintf(day, 1))
	h := connect(t, "m")
	buf := make([]uint32, 73480/4)
	buf[0] = 0x02011f08
	ok(t, "hierarchy", dcgmGetHierarchy(h, unsafe.Pointer(&buf[0])))
	if buf[1] != 6 {
		t.Fatalf("%d entries, want 3 GPU instances and 3 compute instances", buf[1])
	}
	row := func(i int) []uint32 { return buf[2+41*i : 2+41*i+41] }
	f := func(i int, entity, id, parent, parentID, gi, ci, profile, slices uint32) {
		t.Helper()
		r := row(i)
		got := []uint32{r[0], r[1], r[2], r[3], r[36], r[37], r[38], r[39], r[40]}
		if want := []uint32{entity, id, parent, parentID, 0, gi, ci, profile, slices}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("entry %d: %v, want %v", i, got, want)
		}
		uuid, _, _ := strings.Cut(string(unsafe.Slice((*byte)(unsafe.Pointer(&r[4])), 128)), "\x00")
		if uuid != gpuUUID(t, "m", 0) {
			t.Errorf("entry %d: %q", i, uuid)
		}
	}
	f(0, 4, 0, 1, 0, 1, 0xffffffff, 9, 3)
	f(1, 5, 0, 4, 0, 1, 0, 2, 3)
	f(2, 4, 1, 1, 0, 3, 0xffffffff, 14, 2)
	f(4, 4, 2, 1, 0, 7, 0xffffffff, 19, 1)
}
