package exposition_test

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/exposition"
	"github.com/wattledger/wattledger/collector/meter"
)

var update = flag.Bool("update", false, "write the golden files anew")

func parse(t testing.TB, page []byte) map[string]*dto.MetricFamily {
	t.Helper()
	p := expfmt.NewTextParser(model.LegacyValidation)
	families, err := p.TextToMetricFamilies(bytes.NewReader(page))
	if err != nil {
		t.Fatalf("the page cannot be read back: %v\n%s", err, page)
	}
	return families
}

func golden(t *testing.T, name string, page []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, page, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(page, want) {
		t.Errorf("%s differs; look at the difference after go test -update:\n%s", file, page)
	}
	parse(t, page)
}

func TestB200Node(t *testing.T) {
	now := start
	c := counters(t, "")
	n := newNode(c, 8, 0, 0)
	e := open(t, config(), c, exposition.Ports{Label: driver, Holders: func(uuid string) []exposition.Holder {
		if uuid == n.devices[2].UUID {
			return []exposition.Holder{{Namespace: "bank", Pod: "train-0", Container: "main"}}
		}
		return nil
	}}, &now)
	e.Observe(start, n.devices, n.read(start), nil)
	e.ObserveEvents(n.devices, []agent.Event{{Device: 2, At: start, XID: 31}})
	golden(t, "b200.prom", e.Append(nil))
}

// Power and energy of a GPU in MIG mode are shown once.
func TestMIGNode(t *testing.T) {
	now := start
	c := counters(t, "")
	n := newNode(c, 2, 3, 2)
	e := open(t, config(), c, exposition.Ports{Label: driver}, &now)
	e.Observe(start, n.devices, n.read(start), nil)
	page := e.Append(nil)
	golden(t, "mig.prom", page)
	families := parse(t, page)
	f := func(name string, gpus, instances int) {
		t.Helper()
		var g, i int
		for _, m := range families[name].GetMetric() {
			if slices.ContainsFunc(m.Label, func(l *dto.LabelPair) bool { return l.GetName() == "GPU_I_ID" }) {
				i++
			} else {
				g++
			}
		}
		if g != gpus || i != instances {
			t.Errorf("%s has %d series of GPUs and %d of instances, want %d and %d", name, g, i, gpus, instances)
		}
	}
	f("DCGM_FI_DEV_POWER_USAGE", 2, 0)
	f("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", 2, 0)
	f("DCGM_FI_PROF_GR_ENGINE_ACTIVE", 0, 6)
	f("DCGM_FI_DEV_FB_USED", 0, 6)
}

// The names and types are those of dcgm-exporter's default set, the labels come in its order.
func TestDefaultsAreThoseOfTheExporter(t *testing.T) {
	const list = `SM_CLOCK gauge
MEM_CLOCK gauge
MEMORY_TEMP gauge
GPU_TEMP gauge
POWER_USAGE gauge
TOTAL_ENERGY_CONSUMPTION counter
PCIE_REPLAY_COUNTER counter
GPU_UTIL gauge
MEM_COPY_UTIL gauge
ENC_UTIL gauge
DEC_UTIL gauge
XID_ERRORS gauge
FB_FREE gauge
FB_USED gauge
FB_RESERVED gauge
NVLINK_BANDWIDTH_TOTAL counter
VGPU_LICENSE_STATUS gauge
UNCORRECTABLE_REMAPPED_ROWS counter
CORRECTABLE_REMAPPED_ROWS counter
ROW_REMAP_FAILURE gauge
PROF_GR_ENGINE_ACTIVE gauge
PROF_PIPE_TENSOR_ACTIVE gauge
PROF_DRAM_ACTIVE gauge
PROF_PCIE_TX_BYTES gauge
PROF_PCIE_RX_BYTES gauge`
	now := start
	c := counters(t, "")
	n := newNode(c, 1, 0, 0)
	e := open(t, config(), c, exposition.Ports{Label: driver}, &now)
	e.Observe(start, n.devices, n.read(start), nil)
	page := string(e.Append(nil))
	families := parse(t, []byte(page))
	for line := range strings.SplitSeq(list, "\n") {
		name, kind, _ := strings.Cut(line, " ")
		if !strings.HasPrefix(name, "PROF_") {
			name = "DEV_" + name
		}
		name = "DCGM_FI_" + name
		f := families[name]
		if f == nil || strings.ToLower(f.GetType().String()) != kind || f.GetHelp() == "" {
			t.Errorf("%s is %v", name, f)
		}
		delete(families, name)
	}
	for name := range families {
		t.Errorf("%s is not in the exporter's default set", name)
	}
	sample := regexp.MustCompile(`^DCGM_FI_\w+\{gpu="0",UUID="GPU-[^"]+",pci_bus_id="00000000:1B:00.0",device="nvidia7",modelName="NVIDIA B200",` +
		`Hostname="node-1",DCGM_FI_DRIVER_VERSION="580.95.05"(,err_code="0",err_msg="No Error")?\} -?\d+(\.\d{6})?$`)
	for line := range strings.Lines(page) {
		if line = strings.TrimSuffix(line, "\n"); line[0] != '#' && !sample.MatchString(line) {
			t.Errorf("not as the exporter writes it: %s", line)
		}
	}
	for _, want := range []string{"DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_PROF_DRAM_ACTIVE"} {
		if !regexp.MustCompile(want + `\{.*\} \d+\.\d{6}\n`).MatchString(page) {
			t.Errorf("%s has no six decimals", want)
		}
	}
}

func lines(page []byte, name string) (out []string) {
	for line := range strings.Lines(string(page)) {
		if strings.HasPrefix(line, name+"{") {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return out
}

func TestWhatIsMissingOrOldIsNotShown(t *testing.T) {
	now := start
	c := counters(t, "DCGM_FI_DEV_GPU_TEMP, gauge, t\nDCGM_FI_DEV_ENC_UTIL, gauge, e\n")
	n := newNode(c, 2, 0, 0)
	every := func(field uint16) time.Duration {
		if field == 206 {
			return 10 * time.Second
		}
		return 0
	}
	e := open(t, config(), c, exposition.Ports{Every: every}, &now)
	f := func(temp, enc int) {
		t.Helper()
		page := e.Append(nil)
		if a, b := len(lines(page, "DCGM_FI_DEV_GPU_TEMP")), len(lines(page, "DCGM_FI_DEV_ENC_UTIL")); a != temp || b != enc {
			t.Errorf("%v after the tick there are %d and %d series, want %d and %d", (now - start).Duration(), a, b, temp, enc)
		}
	}
	f(0, 0) // before the first tick
	r := n.read(start)
	slot, _ := meter.SlotOf(150)
	r.Row(1)[slot] = meter.Value{}
	e.Observe(start, n.devices, r, nil)
	f(1, 2)
	r.Reset()
	e.Observe(start+second, n.devices, r, errors.New("away")) // what was read before stays
	now = start + 3*second
	f(1, 2)
	now = start + 4*second
	f(0, 2) // the encoder is sampled every ten seconds
	now = start + 31*second
	f(0, 0)
	cfg := config()
	cfg.StalePeriods = 0
	e = open(t, cfg, c, exposition.Ports{}, &now)
	e.Observe(start, n.devices, n.read(start), nil)
	f(2, 2)
}

func TestLabels(t *testing.T) {
	now := start
	c := counters(t, "dcgm_gpu_temp, gauge, t\nDCGM_FI_DEV_SERIAL, label, s\n")
	f := func(change func(c *exposition.Config), holders []exposition.Holder, want ...string) {
		t.Helper()
		cfg := config()
		change(&cfg)
		n := newNode(c, 1, 0, 0)
		e := open(t, cfg, c, exposition.Ports{
			Label: func(string, int) string { return `a "b\` }, Holders: func(string) []exposition.Holder { return holders },
		}, &now)
		e.Observe(start, n.devices, n.read(start), nil)
		got := lines(e.Append(nil), "dcgm_gpu_temp")
		for i := range got {
			_, got[i], _ = strings.Cut(got[i], `device="nvidia7",`)
		}
		if !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
	two := []exposition.Holder{{Namespace: "n", Pod: "p", Container: "c", VGPU: "0"}, {HPCJob: "17"}}
	f(func(*exposition.Config) {}, nil, `modelName="NVIDIA B200",Hostname="node-1",DCGM_FI_DEV_SERIAL="a \"b\\"} 15000`)
	f(func(c *exposition.Config) { c.HostnameLabel = "hostname" }, two[1:], `modelName="NVIDIA B200",hostname="node-1",DCGM_FI_DEV_SERIAL="a \"b\\",hpc_job="17"} 15000`)
	f(func(c *exposition.Config) { c.HostnameLabel, c.DashesInModel = "off", true }, two, `modelName="NVIDIA-B200",DCGM_FI_DEV_SERIAL="a \"b\\"} 15000`)
	f(func(c *exposition.Config) { c.HostnameLabel, c.SeriesPerHolder = "off", true }, two,
		`modelName="NVIDIA B200",DCGM_FI_DEV_SERIAL="a \"b\\",container="c",namespace="n",pod="p",vgpu="0"} 15000`,
		`modelName="NVIDIA B200",DCGM_FI_DEV_SERIAL="a \"b\\",hpc_job="17"} 15000`)
	f(func(c *exposition.Config) { c.HostnameLabel, c.OldNamespace = "off", true }, two[:1],
		`modelName="NVIDIA B200",DCGM_FI_DEV_SERIAL="a \"b\\",container_name="c",pod_name="p",pod_namespace="n",vgpu="0"} 15000`)
}

func TestEntities(t *testing.T) {
	now := start
	c := counters(t, "DCGM_FI_DEV_POWER_USAGE, gauge, p\nDCGM_FI_DEV_FB_USED, gauge, f\n")
	n := newNode(c, 2, 2, 0)
	f := func(entities string, power, memory int) {
		t.Helper()
		cfg := config()
		cfg.Entities = entities
		e := open(t, cfg, c, exposition.Ports{}, &now)
		e.Observe(start, n.devices, n.read(start), nil)
		page := e.Append(nil)
		if a, b := len(lines(page, "DCGM_FI_DEV_POWER_USAGE")), len(lines(page, "DCGM_FI_DEV_FB_USED")); a != power || b != memory {
			t.Errorf("%s: %d series of power and %d of memory, want %d and %d", entities, a, b, power, memory)
		}
	}
	f("f", 2, 4)
	f("g", 2, 2)
	f("g:1", 1, 1)
	f("i", 0, 4)
	f("i:7,9-10", 0, 2)
}

func TestCPUsAndSwitches(t *testing.T) {
	now := start
	c := counters(t, "DCGM_FI_DEV_CPU_POWER_UTIL_CURRENT, gauge, c\nDCGM_FI_DEV_CPU_TEMP_CURRENT, gauge, t\nDCGM_FI_DEV_NVSWITCH_TEMPERATURE_CURRENT, gauge, s\nDCGM_FI_DEV_POWER_USAGE, gauge, p\n")
	n := newNode(c, 1, 0, 2)
	e := open(t, config(), c, exposition.Ports{Switches: func(s []exposition.Switch) []exposition.Switch {
		return append(s, exposition.Switch{ID: 3, Values: []exposition.FieldValue{{Field: 858, Value: meter.Value{At: now, Int: 51, Float: 51}}}})
	}}, &now)
	e.Observe(start, n.devices, n.read(start), nil)
	page := e.Append(nil)
	f := func(name string, want ...string) {
		t.Helper()
		if got := lines(page, name); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f("DCGM_FI_DEV_CPU_POWER_UTIL_CURRENT", `DCGM_FI_DEV_CPU_POWER_UTIL_CURRENT{cpu="0",Hostname="node-1"} 0.155010`, `DCGM_FI_DEV_CPU_POWER_UTIL_CURRENT{cpu="1",Hostname="node-1"} 0.155020`)
	f("DCGM_FI_DEV_CPU_TEMP_CURRENT", `DCGM_FI_DEV_CPU_TEMP_CURRENT{cpu="0",Hostname="node-1"} 1.110010`, `DCGM_FI_DEV_CPU_TEMP_CURRENT{cpu="1",Hostname="node-1"} 1.110020`)
	f("DCGM_FI_DEV_NVSWITCH_TEMPERATURE_CURRENT", `DCGM_FI_DEV_NVSWITCH_TEMPERATURE_CURRENT{nvswitch="3",Hostname="node-1"} 51`)
	if got := lines(page, "DCGM_FI_DEV_POWER_USAGE"); len(got) != 1 {
		t.Errorf("power of %q: a CPU's is not a GPU's", got)
	}
}

func TestXIDs(t *testing.T) {
	now := start
	c := counters(t, "DCGM_FI_DEV_XID_ERRORS, gauge, x\nDCGM_EXP_XID_ERRORS_COUNT, gauge, n\n")
	n := newNode(c, 2, 0, 0)
	cfg := config()
	cfg.HostnameLabel, cfg.XIDWindow, cfg.StalePeriods = "off", time.Minute, 3
	e := open(t, cfg, c, exposition.Ports{}, &now)
	e.Observe(start, n.devices, n.read(start), nil)
	f := func(name string, want ...string) {
		t.Helper()
		got := lines(e.Append(nil), name)
		for i := range got {
			_, got[i], _ = strings.Cut(got[i], `modelName="NVIDIA B200"`)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	none := `,err_code="0",err_msg="No Error"} 0`
	f("DCGM_FI_DEV_XID_ERRORS", none, none)
	f("DCGM_EXP_XID_ERRORS_COUNT")
	e.ObserveEvents(n.devices, []agent.Event{{Device: 1, At: start, XID: 31}, {Device: 1, At: start + second, XID: 31}, {Device: 1, At: start + second, XID: 999}})
	// A source that gives it again as a value, as DCGM does, adds nothing; at a new time it does.
	r := n.read(start + second)
	r.Row(1)[meter.SlotXID] = meter.Value{At: start + second, Int: 999}
	e.Observe(start+second, n.devices, r, nil)
	f("DCGM_FI_DEV_XID_ERRORS", none, `,err_code="999",err_msg="Unknown Error"} 999`)
	f("DCGM_EXP_XID_ERRORS_COUNT", `,window_size_in_ms="60000",xid="31"} 2`, `,window_size_in_ms="60000",xid="999"} 1`)
	now = start + 60*second
	f("DCGM_EXP_XID_ERRORS_COUNT", `,window_size_in_ms="60000",xid="31"} 1`, `,window_size_in_ms="60000",xid="999"} 1`)
	now = start + 3600*second
	f("DCGM_EXP_XID_ERRORS_COUNT", `,window_size_in_ms="60000",xid="31"} 0`, `,window_size_in_ms="60000",xid="999"} 0`)
	f("wattledger_collector_device_xid_total", `,xid="31"} 2`, `,xid="999"} 1`)
	f("wattledger_collector_device_xid_last_seen_timestamp_seconds", `,xid="31"} 1767225601.000000`, `,xid="999"} 1767225601.000000`)
	r.Row(0)[meter.SlotXID] = meter.Value{At: now, Int: 79}
	e.Observe(now, n.devices, r, nil)
	f("DCGM_FI_DEV_XID_ERRORS", `,err_code="79",err_msg="GPU has fallen off the bus"} 79`, `,err_code="999",err_msg="Unknown Error"} 999`)
	parse(t, e.Append(nil))
}
