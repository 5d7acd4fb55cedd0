package simctl_test

import (
	"strings"
	"testing"

	"github.com/wattledger/wattledger/collector/dcgm/simctl/simtest"
	"github.com/wattledger/wattledger/schemas/unit"
)

func TestControls(t *testing.T) {
	_, sim := simtest.Play(t, "start 1735689600000000\nnode n hgx-b200\nload n 0 +0s +1h training\nhang n dcgmConnect_v2 +1s ever\n")
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
	if err := sim.Release("n"); err != nil {
		t.Error(err)
	}
	if err := sim.Release("m"); err == nil || !strings.Contains(err.Error(), `release the calls of node m: unknown node "m"`) {
		t.Errorf("release of an unknown node: %v", err)
	}
}
