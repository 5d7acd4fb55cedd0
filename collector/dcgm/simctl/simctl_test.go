package simctl_test

import (
	"strings"
	"testing"

	"github.com/wattledger/wattledger/collector/dcgm/simctl/simtest"
	"github.com/wattledger/wattledger/schemas/unit"
)

func TestControls(t *testing.T) {
	_, sim := simtest.Play(t, "start 1735689600000000\nnode n hgx-b200\nmark 1735689660000000\nload n 0 +0s +1h training\nhang n dcgmConnect_v2 +1s ever\n")
	calls, cpu := sim.Calls("wlsim_advance"), sim.CPU()
	if err := sim.Advance("n", 1735689600000000+600*unit.Second); err != nil {
		t.Fatal(err)
	}
	if got := sim.Calls("wlsim_advance") - calls; got != 1 {
		t.Errorf("advanced once, counted %d", got)
	}
	if sim.CPU() <= cpu {
		t.Error("playing cost nothing")
	}
	const minute = 1735689600000000 + 60*unit.Second
	first, err := sim.Truth("n", 0, 1735689600000000)
	later, err2 := sim.Truth("n", 0, minute)
	if err != nil || err2 != nil || first != 0 || later < 60*100_000_000 {
		t.Errorf("the GPU had drawn %d and %d µJ at the start and a minute later (%v, %v)", first, later, err, err2)
	}
	if _, err := sim.Truth("n", 0, minute+unit.Second); err == nil || !strings.Contains(err.Error(), "has no row") {
		t.Errorf("an instant without a row: %v", err)
	}
	if _, err := sim.Truth("n", 9, minute); err == nil || !strings.Contains(err.Error(), "no device 9") {
		t.Errorf("a device that is not there: %v", err)
	}
	if err := sim.Release("n"); err != nil {
		t.Error(err)
	}
	if err := sim.Release("m"); err == nil || !strings.Contains(err.Error(), `release the calls of node m: unknown node "m"`) {
		t.Errorf("release of an unknown node: %v", err)
	}
}
