package simtest

import (
	"fmt"
	"testing"
	"unsafe"
)

// calm is a scenario without a mishap; times after the start can follow.
const calm = "start 1735689600000000\nnode n hgx-b200\nload n 0 +0s +1h const:0.5\n"

func TestDriverLoadedAnew(t *testing.T) {
	start(t, calm+"driver n +10s 590.44.01\n")
	h := connect(t, "n")
	watch(t, h, second, 1, 6, 155, 156, 1002, 1203)
	at := func(s int64) { t.Helper(); advance(t, "n", t0+s*second) }
	status := func() (s int32) { ok(t, "status", dcgmGetGpuStatus(h, 0, &s)); return s }
	var a [5220 / 4]uint32
	a[0] = 0x03001464
	attributes := func() int32 { return dcgmGetDeviceAttributes(h, 0, unsafe.Pointer(&a)) }
	at(7)
	before, sent := latest(t, h, 1, 0, 156), latest(t, h, 1, 0, 1203)
	if v := latest(t, h, 0, 0, 1); v.text() != "580.95.05" || status() != 1 || latest(t, h, 0, 0, 6).status != -14 {
		t.Errorf("before: driver %q, status %d", v.text(), status())
	}
	at(8)
	for _, field := range []uint16{155, 156, 1002} {
		if v := latest(t, h, 1, 0, field); v.status != -67 || v.int() != blankInt && v.float() != blankDouble {
			t.Errorf("detached: field %d is %s", field, v.bits())
		}
	}
	if rc := attributes(); rc != -67 || status() != 7 || read(t, h, 1, 0, 54, 1).status != -67 || latest(t, h, 0, 0, 6).int() != 1 {
		t.Errorf("detached: attributes %d, status %d", rc, status())
	}
	at(11)
	if v := latest(t, h, 0, 0, 1); v.text() != "590.44.01" || status() != 1 || attributes() != 0 || latest(t, h, 0, 0, 6).int() != 2 {
		t.Errorf("after: driver %q, status %d, attributes %d", v.text(), status(), attributes())
	}
	if v := latest(t, h, 1, 0, 156); v.int() >= before.int()/4 || v.int() < 300000 {
		t.Errorf("energy went from %d to %d", before.int(), v.int())
	}
	if v := latest(t, h, 1, 0, 1203); v.int() >= sent.int()/4 || v.int() <= 0 {
		t.Errorf("NVLink bytes went from %d to %d", sent.int(), v.int())
	}
	if v := latest(t, h, 1, 0, 1002); v.float() != 0.5 {
		t.Errorf("profiling after the driver: %v", v.float())
	}
}

func TestKindsOfBlanks(t *testing.T) {
	text := calm
	for i, kind := range []string{"null", "not_found", "not_supported", "not_permitted", "filler", "stale"} {
		for _, field := range []int{155, 156, 50} {
			text += fmt.Sprintf("blank n %d %d +10s +20s %s\n", i, field, kind)
		}
	}
	start(t, text)
	h := connect(t, "n")
	f := fields(t, h, "f", 155, 156, 50)
	ok(t, "watch", dcgmWatchFields(h, allGPUs, f, second, 1, 0))
	advance(t, "n", t0+9500000)
	old := [3]*value{latest(t, h, 1, 5, 155), latest(t, h, 1, 5, 156), latest(t, h, 1, 5, 50)}
	advance(t, "n", t0+19500000)
	for i, words := range []string{"<<<NULL>>>", "<<<NOT_FOUND>>>", "<<<NOT_SUPPORTED>>>", "<<<NOT_PERM>>>"} {
		d, n, s := latest(t, h, 1, uint32(i), 155), latest(t, h, 1, uint32(i), 156), latest(t, h, 1, uint32(i), 50)
		if d.float() != blankDouble+float64(i) || n.int() != blankInt+int64(i) || s.text() != words || d.status != 0 || d.ts != t0+19*second {
			t.Errorf("blank %d: %v, %d, %q with status %d", i, d.float(), n.int(), s.text(), d.status)
		}
	}
	if v := latest(t, h, 1, 4, 156); v.int() != 0 || v.status != -16 || v.ts != 0 {
		t.Errorf("filler: %s", v.bits())
	}
	for i, field := range []uint16{155, 156, 50} {
		if v := latest(t, h, 1, 5, field); v.bits() != old[i].bits() {
			t.Errorf("stale field %d: %s, was %s", field, v.bits(), old[i].bits())
		}
	}
	if s, _ := since(t, h, allGPUs, f, t0+9500000); len(s[pair{5, 155}]) != 0 || len(s[pair{6, 155}]) == 0 {
		t.Errorf("stale samples: %v", s[pair{5, 155}])
	}
	advance(t, "n", t0+20*second)
	if v := latest(t, h, 1, 5, 155); v.ts != t0+20*second {
		t.Errorf("still stale: %s", v.bits())
	}
}

func TestWhatIsForbidden(t *testing.T) {
	start(t, "start 1735689600000000\nnode n hgx-b200\nnode r hgx-b200\nnode s hgx-b200\nforbid n 155 54\nforbid n profiling\nforbid r profiling root\nforbid s 1002\n")
	n := connect(t, "n")
	watch(t, n, second, 155, 156)
	if v := latest(t, n, 1, 0, 155); v.status != 0 || v.float() != blankDouble+3 {
		t.Errorf("forbidden: %s", v.bits())
	}
	if v := read(t, n, 1, 0, 54, 1); v.text() != "<<<NOT_PERM>>>" || latest(t, n, 1, 0, 156).int() >= blankInt {
		t.Errorf("forbidden, live: %q", v.text())
	}
	f := func(node string, want int32, ids ...uint16) {
		t.Helper()
		h := connect(t, node)
		if rc := dcgmWatchFields(h, allGPUs, fields(t, h, "p", ids...), second, 1, 0); rc != want {
			t.Errorf("watch of %v on %s: %d, want %d", ids, node, rc, want)
		}
		ok(t, "disconnect", dcgmDisconnect(h))
	}
	f("n", -17, 156, 1001)
	f("r", -29, 1001)
	f("r", 0, 156)
	f("s", -17, 1001, 1002)
	f("s", 0, 1001)
}

func TestClockSetBack(t *testing.T) {
	start(t, calm+"clockback n +10s 5000000\nxid n 0 +11s 79\n")
	h := connect(t, "n")
	f := fields(t, h, "f", 155, 156, 230)
	ok(t, "watch", dcgmWatchFields(h, allGPUs, f, second, 100, 0))
	advance(t, "n", t0+9*second)
	before := latest(t, h, 1, 0, 156)
	advance(t, "n", t0+12*second)
	after := latest(t, h, 1, 0, 156)
	if p := latest(t, h, 1, 0, 155); p.ts != t0+7*second || after.ts > p.ts || after.ts < p.ts-100000 || latest(t, h, 1, 0, 230).ts != t0+6*second {
		t.Errorf("time stamps: power %d, energy %d", p.ts-t0, after.ts-t0)
	}
	if mj := after.int() - before.int(); mj < 3*560000 || mj > 3*600000 {
		t.Errorf("energy of three seconds at half load: %d mJ", mj)
	}
	s, next := since(t, h, allGPUs, f, 0)
	if len(s[pair{0, 155}]) != 13 || next != t0+7*second+1 {
		t.Errorf("%d samples, next is %d", len(s[pair{0, 155}]), next-t0)
	}
	if s, _ := since(t, h, allGPUs, f, t0+6500000); len(s[pair{0, 155}]) != 4 { // 7, 8, 9 s, and 7 s again
		t.Errorf("since: %v", s[pair{0, 155}])
	}
}

func TestSkew(t *testing.T) {
	start(t, calm+"skew n\n")
	h := connect(t, "n")
	f := fields(t, h, "f", 155)
	ok(t, "watch", dcgmWatchFields(h, allGPUs, f, second, 100, 0))
	field, v := uint16(155), new(value)
	if rc := dcgmLatest(h, &pair{1, 0}, 1, &field, 1, 0, v); rc != -20 {
		t.Errorf("latest: %d", rc)
	}
	if s, _ := since(t, h, allGPUs, f, 0); len(s[pair{0, 155}]) != 1 {
		t.Errorf("since: %v", s)
	}
	var ours, theirs [516]byte
	*(*uint32)(unsafe.Pointer(&ours)) = 0x02000204
	*(*uint32)(unsafe.Pointer(&theirs)) = 0x02000204
	ok(t, "version", dcgmVersionInfo(unsafe.Pointer(&ours)))
	ok(t, "version of the engine", dcgmHostengineVersionInfo(h, unsafe.Pointer(&theirs)))
	if string(ours[4:17]) != "version:4.6.0" || string(theirs[4:17]) != "version:4.5.3" {
		t.Errorf("versions %q and %q", ours[4:17], theirs[4:17])
	}
}

func TestOrderOfABulkRead(t *testing.T) {
	f := func(text string, asked bool) {
		t.Helper()
		start(t, calm+text)
		h := connect(t, "n")
		ids := []uint16{156, 54, 155}
		watch(t, h, second, ids...)
		pairs := []pair{{1, 3}, {1, 0}, {1, 7}}
		out, seen, same := make([]value, 9), map[string]bool{}, 0
		ok(t, "latest", dcgmLatest(h, &pairs[0], 3, &ids[0], 3, 0, &out[0]))
		for i := range out {
			p := (*[4]uint32)(unsafe.Pointer(&out[i]))
			field := uint16(p[3])
			seen[fmt.Sprint(p[1], p[2], field)] = true
			if (pair{p[1], p[2]}) == pairs[i/3] && field == ids[i%3] {
				same++
			}
		}
		if len(seen) != 9 || asked != (same == 9) {
			t.Errorf("%d values, %d in place", len(seen), same)
		}
	}
	f("", true)
	f("shuffle n\n", false)
}

func TestFatalXID(t *testing.T) {
	start(t, calm+"fatal n 3 +10s 119\nrestart n +20s\n")
	h := connect(t, "n")
	watch(t, h, second, 155, 156, 54, 230)
	advance(t, "n", t0+9*second)
	old := latest(t, h, 1, 0, 156)
	advance(t, "n", t0+12*second)
	for gpu := range uint32(8) {
		if p, u := latest(t, h, 1, gpu, 155), latest(t, h, 1, gpu, 54); p.status != 0 || p.float() != blankDouble || p.ts != t0+12*second || u.text() != "<<<NULL>>>" {
			t.Errorf("GPU %d after the fatal XID: %s, %q", gpu, p.bits(), u.text())
		}
	}
	if v := latest(t, h, 1, 3, 230); v.int() != 119 || v.ts != t0+10*second || read(t, h, 1, 0, 156, 1).int() != blankInt {
		t.Errorf("XID: %s", v.bits())
	}
	advance(t, "n", t0+20*second)
	h = connect(t, "n")
	watch(t, h, second, 156)
	if v := latest(t, h, 1, 0, 156); v.int() <= old.int()+10*560000 || v.int() >= blankInt {
		t.Errorf("after the restart: %s", v.bits())
	}
}

func TestLostGPUIsPluggedInAgain(t *testing.T) {
	start(t, calm+"lost n 0 +10s\nplug n 0 +20s\n")
	h := connect(t, "n")
	watch(t, h, second, 6, 156)
	advance(t, "n", t0+19*second)
	if v := latest(t, h, 1, 0, 156); v.status != -18 {
		t.Errorf("lost: %s", v.bits())
	}
	advance(t, "n", t0+22*second)
	var s int32
	ok(t, "status", dcgmGetGpuStatus(h, 0, &s))
	if v := latest(t, h, 1, 0, 156); s != 1 || v.int() < 1000000 || v.int() > 1200000 || latest(t, h, 0, 0, 6).int() != 2 {
		t.Errorf("plugged in: status %d, %s", s, v.bits())
	}
}

func TestSwitches(t *testing.T) {
	start(t, calm+"switches n 2\nsxid n 1 +5s 20034 fatal\nsxid n 1 +6s 12028 nonfatal\nsxid n 0 +7s 12029 nonfatal\n")
	h := connect(t, "n")
	list, n := make([]uint32, 12), int32(12)
	ok(t, "entities", dcgmGetEntities(h, 3, &list[0], &n, 0))
	if n != 2 || list[0] != 0 || list[1] != 1 {
		t.Fatalf("%d switches: %v", n, list)
	}
	f := fields(t, h, "f", 705, 706, 707, 856, 857, 858, 861, 862, 156)
	ok(t, "watch", dcgmWatchFields(h, 0x7ffffffe, f, second, 100, 0))
	advance(t, "n", t0+5*second)
	tx := latest(t, h, 3, 0, 861).int()
	advance(t, "n", t0+8*second)
	for _, field := range []uint16{705, 706, 707, 858} {
		if v := latest(t, h, 3, 1, field); v.status != 0 || v.int() < 5 || v.int() > 100 || v.ts != t0+8*second {
			t.Errorf("field %d: %s", field, v.bits())
		}
	}
	// GPU 0 receives 90 GB/s at full load, works at half of it, and each switch carries half of that.
	if got := latest(t, h, 3, 0, 861).int() - tx; got != 3*90e9/4 {
		t.Errorf("bytes in three seconds: %d", got)
	}
	if a, b, c := latest(t, h, 3, 1, 856), latest(t, h, 3, 1, 857), latest(t, h, 3, 0, 857); a.int() != 20034 || a.ts != t0+5*second || b.int() != 12028 || c.int() != 12029 || latest(t, h, 3, 0, 856).status != -14 {
		t.Errorf("SXIDs: %s, %s, %s", a.bits(), b.bits(), c.bits())
	}
	if v := latest(t, h, 3, 0, 156); v.int() != blankInt+2 {
		t.Errorf("energy of a switch: %s", v.bits())
	}
	field, v := uint16(705), new(value)
	if rc := dcgmLatest(h, &pair{3, 0}, 1, &field, 1, 1, v); rc != -32 {
		t.Errorf("live: %d", rc)
	}
}

func TestFieldsOfAnExportersDefaultFile(t *testing.T) {
	start(t, calm)
	h := connect(t, "n")
	ids := []uint16{
		100, 101, 140, 150, 155, 156, 202, 203, 204, 206, 207, 251, 252, 253, 393, 394, 395, 396, 449, 526, 1001, 1004, 1005, 1009, 1010,
		50, 51, 52, 53, 54, 55, 57, 58, 59, 63, 65, 66, 67, 82, 85,
	}
	watch(t, h, second, append(ids, 1)...)
	if v := latest(t, h, 1, 0, 449); v.int() != 0 {
		t.Errorf("the first NVLink rate: %s", v.bits())
	}
	advance(t, "n", t0+2*second)
	for _, id := range ids {
		v := latest(t, h, 1, 0, id)
		if v.status != 0 || v.kind == 'i' && v.int() >= blankInt || v.kind == 'd' && v.float() >= blankDouble || v.kind == 's' && v.text()[:1] == "<" {
			t.Errorf("field %d: %s", id, v.bits())
		}
	}
	if v := latest(t, h, 1, 0, 449); v.int() != 90000 {
		t.Errorf("NVLink at half load: %d MB/s", v.int())
	}
	if bus, minor := read(t, h, 1, 2, 57, 1).text(), read(t, h, 1, 2, 55, 1).int(); bus != "00000000:52:00.0" || minor != 5 {
		t.Errorf("live: %q, %d", bus, minor)
	}
}
