package simtest

import (
	"fmt"
	"testing"
	"unsafe"
)

const allInstances = uintptr(0x7ffffffd)

const repartitioned = `start 1735689600000000
node n hgx-b200
mig n 0 3 2 1
mig n 1 7
repartition n 0 +10s 4 2
repartition n 0 +20s 7
load n 0.0 +0s +15s const:1
load n 0.3 +12s +1h const:0.5
load n 0.5 +25s +1h const:1
`

func TestRepartition(t *testing.T) {
	start(t, repartitioned)
	h := connect(t, "n")
	list := func(group uint32) []uint32 {
		t.Helper()
		ids, n := make([]uint32, 32), int32(32)
		ok(t, "entities", dcgmGetEntities(h, group, &ids[0], &n, 0))
		return ids[:n]
	}
	f := func(want string) {
		t.Helper()
		buf := make([]uint32, 73480/4)
		buf[0] = 0x02011f08
		ok(t, "hierarchy", dcgmGetHierarchy(h, unsafe.Pointer(&buf[0])))
		var ids []uint32
		for i := range int(buf[1]) {
			if buf[2+41*i] == 4 {
				ids = append(ids, buf[3+41*i])
			}
		}
		if got := fmt.Sprint(list(4)); got != want || fmt.Sprint(ids) != want || fmt.Sprint(list(5)) != want {
			t.Errorf("instances %s, hierarchy %v, want %s", got, ids, want)
		}
	}
	watch(t, h, second, 156)
	var g uintptr
	ok(t, "group", dcgmGroupCreate(h, 1, "g", &g))
	ok(t, "instance", dcgmGroupAddEntity(h, g, 4, 0))
	ok(t, "GPU", dcgmGroupAddEntity(h, g, 1, 0))
	ids := fields(t, h, "f", 54, 1002, 155)
	ok(t, "watch", dcgmWatchFields(h, g, ids, second, 100, 0))
	ok(t, "watch of all", dcgmWatchFields(h, allInstances, ids, second, 100, 0))
	f("[0 1 2 8]")
	advance(t, "n", t0+9*second)
	before := latest(t, h, 1, 0, 156)
	if v := latest(t, h, 4, 0, 1002); v.float() != 1 || latest(t, h, 4, 0, 54).text() != migUUID(t, "n", 0, 0) {
		t.Errorf("before: %s", v.bits())
	}
	advance(t, "n", t0+10*second)
	f("[256 257 8]")
	if a, b, c := latest(t, h, 4, 0, 1002), read(t, h, 5, 0, 54, 1), latest(t, h, 4, 0, 54); a.status != -45 || b.status != -46 || c.status != -45 {
		t.Errorf("old ones: %d, %d, %d", a.status, b.status, c.status)
	}
	if v := read(t, h, 4, 256, 54, 1); v.text() != migUUID(t, "n", 0, 3) || v.text() != uuid("MIG-", "1/n/mig/0/3") {
		t.Errorf("the new UUID: %q", v.text())
	}
	if rc := dcgmWatchFields(h, g, ids, second, 100, 0); rc != -45 {
		t.Errorf("watch of an old one: %d", rc)
	}
	if rc := dcgmGroupAddEntity(h, g, 4, 1); rc != -45 {
		t.Errorf("an old one in a group: %d", rc)
	}
	ok(t, "watch of the new ones", dcgmWatchFields(h, allInstances, ids, second, 100, 0))
	advance(t, "n", t0+14*second)
	if v := latest(t, h, 4, 256, 1002); v.float() != 0.5 || latest(t, h, 4, 257, 1002).float() != 0 || latest(t, h, 4, 8, 1002).float() != 0 {
		t.Errorf("new ones: %v", v.float())
	}
	if mj := latest(t, h, 1, 0, 156).int() - before.int(); mj < 5*140000 || mj > 5*500000 {
		t.Errorf("the energy of the GPU does not run on: %d mJ", mj)
	}
	advance(t, "n", t0+30*second)
	f("[512 8]")
	real := truth(t)
	var sum int64
	for i := range int32(6) {
		e := real[migUUID(t, "n", 0, i)]
		sum += e[t0+25*second]
		if gone := e[t0+10*second]; i < 3 && e[t0+25*second] != gone || i >= 3 && gone != 0 {
			t.Errorf("instance %d: %v", i, e)
		}
	}
	// The instances have all of the GPU's energy but the base of the slices that no instance had: 1 of 7 twice 10 s.
	if gpu := real[gpuUUID(t, "n", 0)][t0+25*second]; gpu-sum < 20*18e6 || gpu-sum > 20*20e6 {
		t.Errorf("the GPU used %d µJ, its instances %d", gpu, sum)
	}
}

func TestRepartitionDoesNotDependOnSteps(t *testing.T) {
	f := func(step int64) string {
		start(t, repartitioned)
		for at := step; at < 40*second; at += step {
			advance(t, "n", t0+at)
		}
		advance(t, "n", t0+40*second)
		return fmt.Sprint(truth(t))
	}
	if a, b := f(40*second), f(333333); a != b {
		t.Errorf("%s\n%s", a, b)
	}
}
