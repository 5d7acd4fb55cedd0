package exposition_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wattledger/wattledger/collector/dcgmfields"
	"github.com/wattledger/wattledger/collector/exposition"
)

// fieldsFor lists names of fields, those of instances first.
func fieldsFor(t testing.TB, n int) (out []string) {
	t.Helper()
	for _, level := range []dcgmfields.Level{dcgmfields.Instance, dcgmfields.GPU} {
		for _, f := range dcgmfields.All() {
			if f.Level == level && f.Type != dcgmfields.Text && f.ID != 230 && len(out) < n {
				out = append(out, f.Name())
			}
		}
	}
	if len(out) < n {
		t.Fatalf("only %d fields", len(out))
	}
	return out
}

func TestDefaultSet(t *testing.T) {
	c := counters(t, "")
	if got, want := c.Extra(), []uint16{206, 207, 253, 449, 526, 393, 394, 395}; !slices.Equal(got, want) {
		t.Errorf("extra fields %v, want %v", got, want)
	}
	if got, want := c.Labels(), []uint16{1}; !slices.Equal(got, want) {
		t.Errorf("labels %v, want %v", got, want)
	}
	if got := c.Unserved(); len(got) != 0 {
		t.Errorf("%v are not served", got)
	}
}

func TestCSV(t *testing.T) {
	c := counters(t, "\ufeff# comment\r\n\r\n  DCGM_FI_DEV_BOARD_POWER_WATTS ,\tgauge , Power, in W.\r\n\"DCGM_FI_DEV_FAN_SPEED\", \"gauge\", \"of \"\"the\"\" fan\"\n"+
		"DCGM_FI_DEV_SERIAL, label, s\nDCGM_FI_DEV_BRAND, label, b\nDCGM_EXP_P2P_STATUS, gauge, p\nDCGM_FI_DEV_CPU_UTIL_TOTAL, gauge, per core")
	if got := c.Extra(); !slices.Equal(got, []uint16{191}) {
		t.Errorf("extra %v", got)
	}
	if got := c.Labels(); !slices.Equal(got, []uint16{51, 53}) { // by name
		t.Errorf("labels %v", got)
	}
	if got := c.Unserved(); !slices.Equal(got, []string{"DCGM_EXP_P2P_STATUS", "DCGM_FI_DEV_CPU_UTIL_TOTAL"}) {
		t.Errorf("unserved %v", got)
	}

	f := func(csv string, want ...string) {
		t.Helper()
		_, err := exposition.ParseCounters("my.csv", []byte(csv))
		if err == nil {
			t.Fatalf("%q was taken", csv)
		}
		if got := strings.Split(err.Error(), "\n"); !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
	f("", "my.csv:0:1: there is no metric; write lines like: DCGM_FI_DEV_GPU_TEMP, gauge, Temperature in C.")
	f("a\n  DCGM_FI_DEV_GPU_TMP, gauge, x\nDCGM_FI_DEV_GPU_TEMP,  gage, x\nnothing_like_it, gauge, y\n",
		`my.csv:1:1: "a" is not field, type, help; separate three columns by commas`,
		`my.csv:2:3: unknown field "DCGM_FI_DEV_GPU_TMP"; did you mean DCGM_FI_DEV_GPU_TEMP?`,
		`my.csv:3:24: type "gage" of DCGM_FI_DEV_GPU_TEMP is none of gauge, counter, histogram, summary and label`,
		`my.csv:4:1: unknown field "nothing_like_it"; correct it or take the line out`)
	f("DCGM_FI_DEV_POWER_USAGE, gauge, x\nDCGM_FI_DEV_BOARD_POWER_WATTS, gauge, x",
		"my.csv:2:1: DCGM_FI_DEV_POWER_USAGE was named in line 1 already; take one of them out")
	f("DCGM_FI_DEV_SERIAL, gauge, x", "my.csv:1:21: DCGM_FI_DEV_SERIAL is a text and cannot be a gauge; write label")
	f("DCGM_FI_DEV_GPU_TEMP, gauge, \xff", "my.csv:1:1: the line is not UTF-8; save the file as UTF-8")
	f("DCGM_EXP_XID_ERRORS_COUNT, label, x", "my.csv:1:28: DCGM_EXP_XID_ERRORS_COUNT is counted and cannot be a label; write gauge")

	file := filepath.Join(t.TempDir(), "c.csv")
	if _, err := exposition.LoadCounters(file); err == nil || !strings.Contains(err.Error(), "counters_file") {
		t.Errorf("a missing file gives %v", err)
	}
	if err := os.WriteFile(file, []byte("DCGM_FI_DEV_GPU_TEMP, gauge, t"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := exposition.LoadCounters(file); err != nil {
		t.Error(err)
	}
}

func TestConfig(t *testing.T) {
	f := func(change func(c *exposition.Config), want string) {
		t.Helper()
		c := config()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	f(func(c *exposition.Config) { c.HostnameLabel = "host" }, "hostname_label")
	f(func(c *exposition.Config) { c.Entities = "f:1" }, "entities")
	f(func(c *exposition.Config) { c.Entities = "g:3-1" }, "entities")
	f(func(c *exposition.Config) { c.Entities = "g:0-4000000000" }, "entities")
	f(func(c *exposition.Config) { c.StalePeriods = -1 }, "stale_periods")
	f(func(c *exposition.Config) { c.XIDWindow = 0 }, "xid_window")
	f(func(c *exposition.Config) { c.Period = 0 }, "period")
	if err := config().Validate(); err != nil {
		t.Error(err)
	}
}

func TestEnvironmentOfTheExporter(t *testing.T) {
	c := config()
	found, err := exposition.ConfigFromEnv(&c, []string{
		"PATH=/bin", "DCGM_EXPORTER_COLLECTORS=/etc/x.csv", "DCGM_EXPORTER_NO_HOSTNAME=true", "DCGM_EXPORTER_XID_COUNT_WINDOW_SIZE=60000",
		"DCGM_EXPORTER_INTERVAL=30000", "DCGM_EXPORTER_LISTEN=:9400", "KUBERNETES_VIRTUAL_GPUS=1", "DCGM_EXPORTER_DEVICES_STR=", "DCGM_EXPORTER_USE_OLD_NAMESPACE=false",
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.CountersFile != "/etc/x.csv" || c.HostnameLabel != "off" || c.XIDWindow != time.Minute || !c.SeriesPerHolder || c.Entities != "f" {
		t.Errorf("got %+v", c)
	}
	if !slices.Contains(found, exposition.Setting{Env: "DCGM_EXPORTER_INTERVAL", Option: "agent.period", Value: "30s"}) ||
		!slices.Contains(found, exposition.Setting{Env: "DCGM_EXPORTER_LISTEN", Option: "metrics.listen", Value: ":9400"}) || len(found) != 7 {
		t.Errorf("found %v", found)
	}
	_, err = exposition.ConfigFromEnv(&c, []string{"DCGM_EXPORTER_INTERVAL=soon", "DCGM_EXPORTER_NO_HOSTNAME=perhaps"})
	if err == nil || !strings.Contains(err.Error(), "DCGM_EXPORTER_INTERVAL") || !strings.Contains(err.Error(), "DCGM_EXPORTER_NO_HOSTNAME") {
		t.Errorf("got %v", err)
	}
}

// Whatever the file holds, it is refused with line and column, or makes a page that can be read.
func FuzzCSV(f *testing.F) {
	f.Add([]byte("DCGM_FI_DEV_GPU_TEMP, gauge, Temperature\n# c\nDCGM_FI_DRIVER_VERSION,label,d\nDCGM_EXP_XID_ERRORS_COUNT,gauge,x\n"))
	f.Add([]byte("dcgm_gpu_temp,histogram,\"a \\ \"\"b\"\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := exposition.ParseCounters("f", data)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f:") && !strings.HasPrefix(err.Error(), "list of metrics") {
				t.Errorf("error without a place: %v", err)
			}
			return
		}
		now := start
		n := newNode(c, 1, 1, 1)
		e := open(t, config(), c, exposition.Ports{Label: driver}, &now)
		e.Observe(start, n.devices, n.read(start), nil)
		parse(t, e.Append(nil))
	})
}
