package simtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/ebitengine/purego"
)

// pending runs a call that may hang and tells when it has returned.
func pending(call func() int32) <-chan int32 {
	done := make(chan int32, 1)
	go func() { done <- call() }()
	return done
}

func hanging(t *testing.T, what string, done <-chan int32) {
	t.Helper()
	select {
	case rc := <-done:
		t.Errorf("%s returned %d", what, rc)
	case <-time.After(50 * time.Millisecond):
	}
}

func returns(t *testing.T, what string, done <-chan int32, want int32) {
	t.Helper()
	select {
	case rc := <-done:
		if rc != want {
			t.Errorf("%s: %d, want %d", what, rc, want)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("%s still hangs", what)
	}
}

func TestHangingCalls(t *testing.T) {
	start(t, calm+"hang n dcgmEntitiesGetLatestValues +10s +20s\nhang n dcgmConnect_v2 +30s ever\nhang n dcgmGetAllDevices +40s ever\nrestart n +45s\n")
	h := connect(t, "n")
	watch(t, h, second, 155)
	read := func() int32 {
		field, v := uint16(155), new(value)
		return dcgmLatest(h, &pair{1, 0}, 1, &field, 1, 0, v)
	}
	devices := func() int32 {
		var ids [32]uint32
		var n int32
		return dcgmGetAllDevices(h, &ids[0], &n)
	}
	ok(t, "read before", read())
	advance(t, "n", t0+10*second)
	ok(t, "another call", devices())
	done := pending(read)
	hanging(t, "read", done)
	advance(t, "n", t0+15*second)
	hanging(t, "read", done)
	advance(t, "n", t0+20*second)
	returns(t, "read", done, 0)
	ok(t, "read after", read())

	advance(t, "n", t0+30*second)
	join := func() int32 {
		params, other := [4]uint32{0x02000010}, uintptr(0)
		rc := dcgmConnect("n", unsafe.Pointer(&params), &other)
		if rc == 0 {
			dcgmDisconnect(other)
		}
		return rc
	}
	done = pending(join)
	hanging(t, "connect", done)
	ok(t, "release", wlsimRelease("n"))
	returns(t, "connect", done, 0)
	ok(t, "connect after the release", join())

	advance(t, "n", t0+40*second)
	done = pending(devices)
	hanging(t, "devices", done)
	advance(t, "n", t0+50*second) // the engine restarts meanwhile
	hanging(t, "devices", done)
	ok(t, "release", wlsimRelease("n"))
	returns(t, "devices of a dead connection", done, -21)
	if wlsimRelease("x") != -1 {
		t.Error("an unknown node was released")
	}
}

func TestWallClockWithOffsets(t *testing.T) {
	start(t, "start now\nclock wall\nnode n hgx-b200\nhang n dcgmGetAllDevices +0s +0.3s\nhang n dcgmGetGpuStatus +0s ever\nxid n 0 +300ms 79\n")
	h := connect(t, "n")
	begin := time.Now()
	var ids [32]uint32
	var n, s int32
	ok(t, "devices", dcgmGetAllDevices(h, &ids[0], &n))
	if d := time.Since(begin); d > 5*time.Second || wlsimNow("n") < begin.UnixMicro()+100000 {
		t.Errorf("hung for %v", d)
	}
	watch(t, h, 100000, 155, 230)
	done := pending(func() int32 { return dcgmGetGpuStatus(h, 0, &s) })
	hanging(t, "status", done)
	ok(t, "release", wlsimRelease("n"))
	returns(t, "status", done, 0)
	if v := latest(t, h, 1, 0, 155); v.ts < begin.UnixMicro() || v.ts > time.Now().UnixMicro() {
		t.Errorf("sampled at %d", v.ts)
	}
}

func TestSlowCalls(t *testing.T) {
	start(t, calm+"slow n dcgmGetAllDevices 30000 +0s +10s\n")
	h := connect(t, "n")
	f := func() time.Duration {
		var ids [32]uint32
		var n int32
		begin := time.Now()
		ok(t, "devices", dcgmGetAllDevices(h, &ids[0], &n))
		return time.Since(begin)
	}
	if d := f(); d < 30*time.Millisecond {
		t.Errorf("a slow call took %v", d)
	}
	advance(t, "n", t0+10*second)
	if d := f(); d > 25*time.Millisecond {
		t.Logf("a call that is not slow took %v", d)
	}
}

func TestCallsAreCounted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "stats")
	var setenv func(name, value string, overwrite int32) int32
	purego.RegisterLibFunc(&setenv, purego.RTLD_DEFAULT, "setenv")
	setenv("WLSIM_STATS", file, 1) // os.Setenv does not reach the C library without cgo
	start(t, calm)
	h := connect(t, "n")
	calls, since0, cpu := wlsimCalls("dcgmEntitiesGetLatestValues"), wlsimCalls("dcgmGetValuesSince_v2"), wlsimCPU()
	f := fields(t, h, "f", 155)
	ok(t, "watch", dcgmWatchFields(h, allGPUs, f, 1000, 100, 0))
	advance(t, "n", t0+60*second)
	for range 3 {
		latest(t, h, 1, 0, 155)
	}
	begin := time.Now()
	since(t, h, allGPUs, f, 0)
	if n, m := wlsimCalls("dcgmEntitiesGetLatestValues")-calls, wlsimCalls("dcgmGetValuesSince_v2")-since0; n != 3 || m != 1 || wlsimCalls("nothing") != 0 {
		t.Errorf("%d and %d calls, want 3 and 1", n, m)
	}
	if d := time.Duration(wlsimCPU() - cpu); d < time.Millisecond || d > time.Minute {
		t.Errorf("%v of CPU, and %v real time in the last call", d, time.Since(begin))
	}
	dcgmShutdown()
	text, err := os.ReadFile(file)
	if err != nil || !strings.HasPrefix(string(text), "cpu_ns ") || !strings.Contains(string(text), "\ncalls ") {
		t.Errorf("stats: %q, %v", text, err)
	}
	if _, err := os.Stat(file + ".part"); err == nil {
		t.Error("half a file was left")
	}
}

func TestAnotherScenarioReleasesWhatHangs(t *testing.T) {
	start(t, calm+"hang n dcgmGetAllDevices +0s ever\n")
	h := connect(t, "n")
	done := pending(func() int32 {
		var ids [32]uint32
		var n int32
		return dcgmGetAllDevices(h, &ids[0], &n)
	})
	hanging(t, "devices", done)
	start(t, calm)
	returns(t, "devices", done, 0)
}
