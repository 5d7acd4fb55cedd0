package dcgmfields_test

import (
	"testing"

	"github.com/wattledger/wattledger/collector/dcgmfields"
	"github.com/wattledger/wattledger/collector/meter"
)

func TestEveryFieldIsFoundByEachOfItsNames(t *testing.T) {
	var last uint16
	for _, want := range dcgmfields.All() {
		if want.ID <= last {
			t.Errorf("field %d comes after %d", want.ID, last)
		}
		last = want.ID
		for _, name := range []string{want.Name(), want.NewName()} {
			if got, ok := dcgmfields.ByName(name); !ok || got != want {
				t.Errorf("%s finds %+v, want %+v", name, got, want)
			}
		}
		if got, ok := dcgmfields.ByID(want.ID); !ok || got != want {
			t.Errorf("id %d finds %+v", want.ID, got)
		}
	}
	for _, f := range meter.Fields {
		if _, ok := dcgmfields.ByID(f); !ok {
			t.Errorf("field %d, of which a metric is made, has no name", f)
		}
	}
}

func TestNames(t *testing.T) {
	f := func(name string, id uint16, typ dcgmfields.Type, level dcgmfields.Level) {
		t.Helper()
		if got, ok := dcgmfields.ByName(name); !ok || got.ID != id || got.Type != typ || got.Level != level {
			t.Errorf("%s is %+v, want %d %c %d", name, got, id, typ, level)
		}
	}
	f("DCGM_FI_DEV_POWER_USAGE", 155, dcgmfields.Double, dcgmfields.GPU)
	f("DCGM_FI_DEV_BOARD_POWER_WATTS", 155, dcgmfields.Double, dcgmfields.GPU)
	f("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", 156, dcgmfields.Int, dcgmfields.GPU)
	f("DCGM_FI_DEV_FB_USED", 252, dcgmfields.Int, dcgmfields.Instance)
	f("DCGM_FI_DEV_CPU_POWER_UTIL_CURRENT", 1130, dcgmfields.Double, dcgmfields.CPU)
	f("DCGM_FI_DRIVER_VERSION", 1, dcgmfields.Text, dcgmfields.Node)
	f("DCGM_FI_PROF_NVLINK_L17_RX_BYTES", 1075, dcgmfields.Int, dcgmfields.GPU)
}

func TestNearest(t *testing.T) {
	f := func(name, want string) {
		t.Helper()
		if got := dcgmfields.Nearest(name); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", name, got, want)
		}
	}
	f("DCGM_FI_DEV_POWER_USGAE", "DCGM_FI_DEV_POWER_USAGE")
	f("dcgm_fi_dev_gpu_tmp", "DCGM_FI_DEV_GPU_TEMP")
	f("up", "")
}
