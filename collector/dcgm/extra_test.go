package dcgm_test

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/collector/dcgm"
	"github.com/wattledger/wattledger/collector/dcgm/simctl/simtest"
	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/record"
)

func TestExtraFieldsAreReadWithTheOthers(t *testing.T) {
	lib, sim := simtest.Play(t, head+"node n1 gb200\nmig n1 1 3 4\n")
	extra := []uint16{1133, 253, 9999, 50, 385, 1001, 6, 230}
	s := openWith(t, lib, nil, func(c *dcgm.Config) { c.Extra = extra })
	if err := sim.Advance("n1", start+10*second); err != nil {
		t.Fatal(err)
	}
	devices := s.Devices()
	r := meter.NewWideReadings(len(devices), len(extra))
	if err := s.Read(context.Background(), start+10*second, r); err != nil {
		t.Fatal(err)
	}
	// Which of them a kind of device has: the module's power is a CPU's, the memory an instance's too, row remapping only a
	// GPU's. 9999 is unknown, 50 a name, 6 the node's, 230 an event.
	want := map[record.DeviceKind]string{record.KindGPU: "01001100", record.KindMIG: "01000100", record.KindCPU: "10000000"}
	for i, d := range devices {
		var got strings.Builder
		for _, v := range r.Extra(i) {
			if v.At != 0 {
				got.WriteByte('1')
			} else {
				got.WriteByte('0')
			}
		}
		if got.String() != want[d.Kind] {
			t.Errorf("device %d, a %s, has the extra fields %s, want %s", i, d.Kind, got.String(), want[d.Kind])
		}
	}
	if read(t, s, sim, start+11*second).Row(0)[meter.SlotEnergy].At == 0 { // readings without extra columns
		t.Error("narrow readings are not filled")
	}
	reasons := map[uint16]string{}
	for _, f := range s.Status().LeftOut {
		reasons[f.Field] = f.Reason
	}
	if !strings.Contains(reasons[9999], "newer") || !strings.Contains(reasons[50], "not a number") || reasons[253] != "" {
		t.Errorf("left out is %v", s.Status().LeftOut)
	}
}

func TestDevicesAreNamedAsSlurmAndKubernetesDo(t *testing.T) {
	lib, sim := simtest.Play(t, head+"node n1 hgx-b200\nmig n1 1 1 3\n")
	s := openWith(t, lib, nil, func(c *dcgm.Config) { c.Labels = []uint16{53, 54, 55, 50} })
	profile := regexp.MustCompile(`^[13]g\.\d+gb$`)
	pci := regexp.MustCompile(`^[0-9A-F]{8}:[0-9A-F]{2}:00\.0$`)
	for i, d := range s.Devices() {
		if !pci.MatchString(d.PCI) {
			t.Errorf("device %d is at %q", i, d.PCI)
		}
		switch d.Kind {
		case record.KindGPU:
			// The simulator's minor numbers run against the index.
			if d.File == "" || d.File == "nvidia"+string(rune('0'+d.Index)) || d.Profile != "" || s.Label(d.UUID, 2) != strings.TrimPrefix(d.File, "nvidia") {
				t.Errorf("GPU %d is the file %q with profile %q and minor %q", d.Index, d.File, d.Profile, s.Label(d.UUID, 2))
			}
			if s.Label(d.UUID, 0) != d.Serial || s.Label(d.UUID, 1) != d.UUID || s.Label(d.UUID, 3) != d.Model {
				t.Errorf("GPU %d has the labels %q %q %q", i, s.Label(d.UUID, 0), s.Label(d.UUID, 1), s.Label(d.UUID, 3))
			}
		case record.KindMIG:
			want, err := sim.MIGUUID("n1", 1, i-8)
			if err != nil {
				t.Fatal(err)
			}
			// The serial is its GPU's, the UUID its own.
			if !profile.MatchString(d.Profile) || s.Label(d.UUID, 1) != want || s.Label(d.UUID, 0) != s.Devices()[1].Serial {
				t.Errorf("instance %d has profile %q and labels %q %q", i, d.Profile, s.Label(d.UUID, 0), s.Label(d.UUID, 1))
			}
		}
	}
	if s.Label("nobody", 0) != "" || s.Label(s.Devices()[0].UUID, 9) != "" {
		t.Error("there is a label of nobody")
	}
}

func TestTheStatusSaysWhatIsRead(t *testing.T) {
	lib, _ := simtest.Play(t, head+"model old gpus=2 idle_w=30 limit_w=250 arch=4 energy_counter=0 power_instant=0\nnode n1 old\n")
	reg := prometheus.NewRegistry()
	s := openWith(t, lib, reg, func(*dcgm.Config) {})
	st := s.Status()
	if !st.Connected || !strings.HasSuffix(st.Where, "n1") || !strings.HasPrefix(st.Engine, "4.") || st.Library != st.Engine || st.Reading != "bulk" ||
		st.Profiling != "not supported" || st.Since.IsZero() {
		t.Errorf("status is %+v", st)
	}
	reasons := map[uint16]string{}
	for _, f := range st.LeftOut {
		reasons[f.Field] = f.Reason
	}
	for field, want := range map[uint16]string{156: "does not have it", 157: "does not have it", 1002: "PROFILING_NOT_SUPPORTED"} {
		if !strings.Contains(reasons[field], want) {
			t.Errorf("field %d is left out because %q, want %q", field, reasons[field], want)
		}
	}
	if n := metric(t, reg, "fields_unsupported"); int(n) != len(st.LeftOut) {
		t.Errorf("%v fields are counted as unsupported, want %d", n, len(st.LeftOut))
	}
	// Nothing is forbidden: the device just does not have it.
	if metric(t, reg, "permission", "feature", "profiling") != 1 || metric(t, reg, "engine_info", "address", "n1", "reading", "bulk") != 1 || metric(t, reg, "connected") != 1 {
		t.Error("the metrics do not say the same as the status")
	}
}
