package simtest

import (
	"fmt"
	"strings"
	"testing"
)

const head = "start 1735689600000000\nnode n hgx-b200\n"

func TestFaultsOfAScenarioAreNamed(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		if got := check(text); got != want {
			t.Errorf("%q:\n  %s\nwant\n  %s", text, got, want)
		}
	}
	f(head, "")
	f(head+"  # only a comment\r\n\n", "")
	f("", "line 1, column 1: the scenario has no node")
	f("nod n hgx-b200", `line 1, column 1: unknown statement "nod"`)
	f("node n hgx-b200", `line 1, column 1: a node needs a line "start T_US" (or "clock wall") before it`)
	f("start 17x", `line 1, column 7: start: "17x" is not a whole number`)
	f("start 1001", "line 1, column 7: start: 1001 µs is not a whole number of milliseconds")
	f("start 1000\nnode n b300", `line 2, column 8: unknown model "b300": use hgx-b200, gb200 or declare it with a model line before`)
	f("start 1000\nnode n hgx-b200\nnode n gb200", "line 3, column 6: node n is declared twice")
	f(head+"load n 8 1000 2000 idle", "line 3, column 8: node n has 8 GPUs, counted from 0")
	f(head+"load n 0 2000 2000 idle", "line 3, column 15: the load ends before it has begun")
	f(head+"load n 0 1000 2000 const:1.2", "line 3, column 26: utilisation from 0 to 1: 1.2 is too large")
	f(head+"load n 0 1000 2000 mining", `line 3, column 20: unknown kind of load "mining": use training, inference, idle, const:X, series:NAME or loop:NAME`)
	f(head+"load n 0 1000 2000 idle share=1001", "line 3, column 31: value: 1001 is not between 1 and 1000")
	f(head+"load n 0.0 1000 2000 idle", "line 3, column 8: GPU 0 of node n has 0 instances, counted from 0")
	f(head+"mig n 0 3 3 1 1", "line 3, column 13: more than the GPU has: 7 of 7 compute slices, 9 of 8 memory slices")
	f(head+"mig n 0 5", "line 3, column 9: no MIG profile has 5 slices: use 1, 2, 3, 4 or 7")
	f(head+"mig n 0 3\nload n 0 1000 2000 idle", "line 4, column 8: GPU 0 of node n is in MIG mode: name an instance, GPU.INSTANCE")
	f(head+"missing n 0 9999 1 2", "line 3, column 13: field 9999 is unknown")
	f(head+"load n 0 1000 2000 series:x", `line 3, column 27: unknown series "x": declare it with a series line before`)
	f(head+"boot n 1735689600000000 now", "line 3, column 25: nothing more was expected on this line")
	f("model M limit_w=10 idle_w=20", "line 1, column 1: limit_w of model M must be above its idle_w")
	f(`model M name="half`, "line 1, column 14: the closing quote is missing")
	f(head+"end n 1735689601000000\nend n 1735689602000000", "line 4, column 1: node n has ended already")
	f("start 1000000\nnode n hgx-b200\nreset n 0 +5s\nreset n 0 +0.25m\nhang n dcgmConnect_v2 +1us ever", "")
	f("start now\nclock wall\nnode n hgx-b200\nreset n 0 +5s", "")
	f("start now\nnode n hgx-b200", `line 2, column 1: start now needs the line "clock wall" before the first node: a virtual play begins at the same time each time`)
	f("start +5s", "line 1, column 7: start: the start cannot be counted from itself")
	f(head+"reset n 0 +5w", `line 3, column 13: time of the reset: unknown unit "w": use us, ms, s, m, h or d`)
	f(head+"reset n 0 +1us", "line 3, column 11: time of the reset: 1735689600000001 µs is not a whole number of milliseconds")
	f(head+"reset n 0 +s", `line 3, column 11: time of the reset: "" is not a number`)
	f(head+"repartition n 0 +5s 3", "line 3, column 1: GPU 0 of node n is not in MIG mode: give it a mig line before")
	f(head+"mig n 0 3\nrepartition n 0 +0s 3", "line 4, column 17: the time must lie after the start and after the partition before")
	f(head+"mig n 0 3\nrepartition n 0 +5s 2\nload n 0.1 +4s +9s idle", "line 5, column 1: instance 1 of GPU 0 is made later than the load begins")
	f(head+"driver n +1s 1.2", "line 3, column 10: the GPUs are away for 2 s before: leave as much after the start and after the driver before")
	f(head+"blank n 0 155 +1s +2s odd", `line 3, column 23: unknown kind of blank "odd": use null, not_found, not_supported, not_permitted, filler or stale`)
	f(head+"blank n 0 155 +2s +2s null", "line 3, column 19: the end does not lie after the beginning")
	f(head+"forbid n 9999", "line 3, column 10: field 9999 is unknown")
	f(head+"forbid n profiling user", "line 3, column 20: only root can stand behind profiling")
	f(head+"hang n dcgmInit +1s ever", `line 3, column 8: no call "dcgmInit" reaches a node`)
	f(head+"slow n dcgmConnect_v2 0 +1s ever", "line 3, column 23: how much longer: 0 is not between 1 and 3600000000")
	f(head+"clockback n +2s 5\nclockback n +1s 5", "line 4, column 13: clockback lines of a node must follow in time")
	f(head+"switches n 13", "line 3, column 12: number of switches: 13 is not between 1 and 12")
	f(head+"sxid n 0 +1s 5 fatal", "line 3, column 8: node n has 0 switches, counted from 0")
	f(head+"switches n 2\nsxid n 1 +1s 5 bad", `line 4, column 16: an SXID is fatal or nonfatal, not "bad"`)
	f(head+"plug n 0 +5s", "line 3, column 10: GPU 0 of node n is not lost before: give it a lost line")
	f(head+"skew n on", "line 3, column 8: nothing more was expected on this line")
}

func TestUUIDsFollowTheDocumentedDerivation(t *testing.T) {
	start(t, "seed 42\n"+head+"mig n 3 7\n")
	for gpu := range int32(8) {
		if got, want := gpuUUID(t, "n", gpu), uuid("GPU-", fmt.Sprintf("42/n/gpu/%d", gpu)); got != want {
			t.Errorf("GPU %d: %s, want %s", gpu, got, want)
		}
	}
	if got, want := migUUID(t, "n", 3, 0), uuid("MIG-", "42/n/mig/3/0"); got != want {
		t.Errorf("instance: %s, want %s", got, want)
	}
}

// uuid is the derivation of SCENARIO.md.
func uuid(prefix, text string) string {
	h := uint64(0xcbf29ce484222325)
	for _, c := range []byte(text) {
		h = (h ^ uint64(c)) * 0x100000001b3
	}
	mix := func(x uint64) uint64 {
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		return x ^ x>>31
	}
	a, b := mix(h), mix(h+0x9e3779b97f4a7c15)
	return fmt.Sprintf("%s%08x-%04x-%04x-%04x-%012x", prefix, a>>32, a>>16&0xffff, a&0xffff, b>>48, b&0xffffffffffff)
}

// Whatever the text, it is accepted or refused with a place, and nothing breaks.
func FuzzScenario(f *testing.F) {
	f.Add(fmt.Sprintf(day, 1))
	f.Add(head + "boot n 1735689600000000\nend n 1735689700000000\nrestart n 1735689650000000\nxid n 0 1 79\nlost n 0 1000\n")
	f.Add("clock wall\nmodel M base=gb200 name=\"A b\" mig_idle_w=1.5\nnode n model=M gpus=2\ngpu n 1 uuid=GPU-1 serial=2\nstuck n cpu0 1130 1 2\n")
	f.Add("series s 0 1000 0 .5 1.\nseries s 0 0 0\n#\n\x00")
	f.Add(head + "mig n 0 3\nrepartition n 0 +5s 2 2\nload n 0.1 +5s +9s idle\ndriver n +3s 1.2\nblank n 0 155 +1s +2s stale\nforbid n 155 156\nforbid n profiling root\n")
	f.Add(head + "hang n dcgmConnect_v2 +1s ever\nslow n dcgmConnect_v2 5 +1s +2m\nclockback n +2s 5\nskew n\nshuffle n\nswitches n 2\nsxid n 1 +1s 5 fatal\nlost n 0 +1s\nplug n 0 +2s\nfatal n 1 +3s 119\n")
	f.Fuzz(func(t *testing.T, text string) {
		if msg := check(text); msg != "" && !strings.HasPrefix(msg, "line ") {
			t.Errorf("refused without a place: %q", msg)
		}
	})
}
