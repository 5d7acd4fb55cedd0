package redfish

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/nodemeter"
	"github.com/wattledger/wattledger/schemas/unit"
)

// read reads once as the loop does.
func read(s *Source) (nodemeter.Value, error) {
	values := make([]nodemeter.Value, len(s.Meters()))
	err := s.Read(context.Background(), start, values)
	if errors.Is(err, agent.ErrChanged) {
		values = make([]nodemeter.Value, len(s.Meters()))
		err = s.Read(context.Background(), start, values)
	}
	if err != nil || len(values) == 0 {
		return nodemeter.Value{}, err
	}
	return values[0], nil
}

func TestTheNodesInputIsFound(t *testing.T) {
	f := func(name string, tree map[string]string, change func(*Config), want nodemeter.Value) {
		t.Helper()
		s := newBMC(t, tree).open(t, change, nil)
		got, err := read(s)
		if at := got.At; err != nil || at < start && want.Why == "" || at > start+3*unit.Second {
			t.Fatalf("%s: %v; at %d", name, err, at)
		}
		got.At = 0
		if got != want || s.meter.Counter != (want.Count > 0) {
			t.Errorf("%s: reads %+v, want %+v; meter %+v", name, got, want, s.meter)
		}
	}
	watts := func(w float64) nodemeter.Value { return nodemeter.Value{Power: unit.Milliwatts(w * 1000)} }
	with := func(tree map[string]string, more map[string]string) map[string]string {
		for p, text := range more {
			if tree[p] = text; text == "" {
				delete(tree, p)
			}
		}
		return tree
	}
	const supplies = "/redfish/v1/Chassis/Tray/PowerSubsystem/PowerSupplies"

	f("the total of the outermost chassis, not the sum", trayTree(`{"PowerWatts": {"DataSourceUri": "/x", "Reading": 5000.25}}`), nil, watts(5000.25))
	f("a bare number", trayTree(`{"PowerWatts": 5000}`), nil, watts(5000))
	f("the older resource", olderTree(`"612.5"`), nil, watts(612.5))
	f("the power supplies, where there is nothing else", trayTree(`{"PowerLimitWatts": {"SetPoint": 8000}}`), func(c *Config) { c.Chassis = []string{"Tray"} }, watts(5100.5))
	f("one named, by path", trayTree(`{}`), func(c *Config) { c.Chassis = []string{"/redfish/v1/Chassis/Board"} }, watts(4000))
	f("two named, added up", trayTree(`{"PowerWatts": {"Reading": 1}}`), func(c *Config) { c.Chassis = []string{"Board", "GPU_0"} }, watts(5000))
	f("a system says which", with(trayTree(`{"PowerWatts": {"Reading": 5000}}`), map[string]string{"/redfish/v1/Chassis/Board": `{"ChassisType": "Sled"}`}), nil, watts(5000))
	f("a sensor called the total", with(trayTree(`{}`), map[string]string{
		"/redfish/v1/Chassis/Tray/Sensors":             `{"Members": [{"@odata.id": "/redfish/v1/Chassis/Tray/Sensors/total_power"}, {"@odata.id": "/redfish/v1/Chassis/Tray/Sensors/psu0"}]}`,
		"/redfish/v1/Chassis/Tray/Sensors/total_power": `{"ReadingType": "Power", "ReadingUnits": "W", "Reading": 4999}`,
	}), nil, watts(4999))
	f("a sensor named by path, in kW", with(trayTree(`{}`), map[string]string{
		"/redfish/v1/Chassis/Tray/Sensors/pdb": `{"ReadingType": "Power", "ReadingUnits": "kW", "Reading": 4.75}`,
	}), func(c *Config) { c.Sensor = "/redfish/v1/Chassis/Tray/Sensors/pdb" }, watts(4750))
	f("a sensor named by id", with(trayTree(`{"PowerWatts": 5000}`), map[string]string{
		"/redfish/v1/Chassis/Tray/Sensors":   `{"Members": [{"@odata.id": "/redfish/v1/Chassis/Tray/Sensors/e"}]}`,
		"/redfish/v1/Chassis/Tray/Sensors/e": `{"ReadingType": "EnergyJoules", "Reading": 123456}`,
	}), func(c *Config) { c.Chassis, c.Sensor = []string{"Tray"}, "e" }, nodemeter.Value{Count: 123_456_000})
	f("joules", trayTree(`{"PowerWatts": 5000, "EnergyJoules": {"Reading": 1000.5, "SensorResetTime": "2026-01-01T00:00:00Z"}}`), nil,
		nodemeter.Value{Count: 1_000_500, Epoch: "since 2026-01-01T00:00:00Z"})
	f("a fine counter of kWh", trayTree(`{"PowerWatts": 5000, "EnergykWh": {"Reading": "1234.567"}}`), nil, nodemeter.Value{Count: 4_444_441_200_000})
	f("a coarse one: power is integrated", trayTree(`{"PowerWatts": 5000, "EnergykWh": {"Reading": 1234.5}}`), nil, watts(5000))
	f("a coarse one, and nothing else", trayTree(`{"EnergykWh": {"Reading": 1234.5}}`), nil, nodemeter.Value{Count: 4_444_200_000_000})
	f("beyond any node", trayTree(`{"PowerWatts": 5000000}`), nil, nodemeter.Value{Why: nodemeter.Refused})
	f("negative", trayTree(`{"PowerWatts": -5}`), nil, nodemeter.Value{Why: nodemeter.Refused})
	f("zero", trayTree(`{"PowerWatts": 0.0}`), nil, nodemeter.Value{Why: nodemeter.Zero})

	fails := func(name, code, word string, tree map[string]string, change func(*Config)) {
		t.Helper()
		_, err := read(newBMC(t, tree).open(t, change, nil))
		if !has(err, code) || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v, want %s", name, err, code)
		}
	}
	fails("two that could be it", "ambiguous", `"Board", "Tray"`, with(trayTree(`{"PowerWatts": 1}`), map[string]string{
		"/redfish/v1/Chassis/Board": `{"ChassisType": "Sled"}`, "/redfish/v1/Systems": "",
	}), nil)
	fails("a part of what shows nothing now", "no_value", `"Tray"`, with(trayTree(`{"PowerWatts": {"Reading": null}}`), map[string]string{supplies: ""}), nil)
	fails("a part of what has nothing", "no_power", "redfish.chassis", with(trayTree(`{}`), map[string]string{supplies: ""}), nil)
	fails("none", "no_power", "redfish.sensor", with(trayTree(`{}`), map[string]string{"/redfish/v1/Chassis/Board": `{}`, "/redfish/v1/Chassis/Board/EnvironmentMetrics": "", supplies: ""}), nil)
	fails("a name that is not there", "not_found", `"GPU_0", "Board", "Tray", "Rack"`, trayTree(`{}`), func(c *Config) { c.Chassis = []string{"Sled"} })
	fails("one named without power", "no_power", "Tray", with(trayTree(`{}`), map[string]string{supplies: ""}), func(c *Config) { c.Chassis = []string{"Tray"} })
	fails("no service", "not_found", "no Redfish service", map[string]string{}, nil)
	fails("a link that leads away", "no_power", "", map[string]string{
		"/redfish/v1": rootJSON, "/redfish/v1/Chassis": `{"Members": [{"@odata.id": "https://elsewhere.example.org/redfish/v1/Chassis/1"}, {"@odata.id": "//elsewhere.example.org/1"}]}`,
	}, nil)
}

func TestACounterThatShowsItsDecimalsLateIsUsedFromThenOn(t *testing.T) {
	b := newBMC(t, trayTree(`{"PowerWatts": 5000, "EnergykWh": 1234.5}`))
	s := b.open(t, nil, nil)
	if v, err := read(s); err != nil || v.Power != 5_000_000 {
		t.Fatalf("%+v, %v", v, err)
	}
	b.put(map[string]string{tray: `{"PowerWatts": 5000, "EnergykWh": 1234.514}`})
	if v, err := read(s); err != nil || v.Count == 0 || !s.Meters()[0].Counter {
		t.Fatalf("%+v, %v", v, err)
	}
	b.put(map[string]string{tray: `{"PowerWatts": 5000, "EnergykWh": 1234.6}`})
	if v, err := read(s); err != nil || v.Count != 4_444_560_000_000 {
		t.Fatalf("%+v, %v", v, err)
	}
	b.put(map[string]string{tray: `{"PowerWatts": 5000, "EnergykWh": null}`})
	if v, err := read(s); err != nil || v.Why != nodemeter.Missing {
		t.Fatalf("%+v, %v", v, err)
	}
}

// When the node's input is away, another chassis is not taken in its stead.
func TestTheNodesInputStaysTheSameForARun(t *testing.T) {
	b := newBMC(t, trayTree(`{"PowerWatts": 5000}`))
	s := b.open(t, nil, nil)
	f := func(why, code string, watts unit.Milliwatts) {
		t.Helper()
		v, err := read(s)
		if string(v.Why) != why || v.Power != watts*1000 || (code == "") != (err == nil) || code != "" && !has(err, code) {
			t.Errorf("%+v, %v", v, err)
		}
	}
	f("", "", 5000)
	b.put(map[string]string{"/redfish/v1/Chassis/Board": `{}`, "/redfish/v1/Chassis/Tray": `{}`, tray: `{}`})
	b.set(func() { b.status[tray] = 404 })
	b.set(func() { b.status["/redfish/v1/Chassis/Tray/PowerSubsystem"] = 404 })
	for range patience {
		f("missing", "", 0)
	}
	f("", "changed", 0)
	b.put(map[string]string{"/redfish/v1/Chassis/Board": `{"ChassisType": "Module"}`, tray: `{"PowerWatts": 5100}`})
	b.set(func() { clear(b.status) })
	f("", "", 5100)
}

func TestABMCThatGivesThePresentAsTheTimeOfItsResetIsNotBelieved(t *testing.T) {
	b := newBMC(t, trayTree(`{"EnergyJoules": {"Reading": 10, "SensorResetTime": "a"}}`))
	s := b.open(t, nil, nil)
	f := func(joules int, label, want string) {
		t.Helper()
		b.put(map[string]string{tray: fmt.Sprintf(`{"EnergyJoules": {"Reading": %d, "SensorResetTime": %q}}`, joules, label)})
		if v, err := read(s); err != nil || v.Epoch != want {
			t.Errorf("%d since %q is %+v, %v", joules, label, v, err)
		}
	}
	f(10, "a", "since a")
	f(3, "b", "since b") // it did begin anew
	f(4, "c", "")
	f(5, "d", "")
}

func TestSessions(t *testing.T) {
	b := newBMC(t, trayTree(`{"PowerWatts": 5000}`))
	reg := prometheus.NewRegistry()
	s := b.open(t, nil, reg)
	for range 3 {
		if _, err := read(s); err != nil {
			t.Fatal(err)
		}
	}
	if b.sessions != 1 {
		t.Errorf("%d sessions for three readings", b.sessions)
	}
	b.set(func() { clear(b.tokens) }) // the session has ended
	if _, err := read(s); err != nil || b.sessions != 2 {
		t.Errorf("%v; %d sessions", err, b.sessions)
	}
	if err := s.Close(); err != nil || b.ended != 1 || len(b.tokens) != 0 {
		t.Errorf("%v; %d sessions ended, %d left", err, b.ended, len(b.tokens))
	}
	if got := testutil.ToFloat64(s.met.logins.WithLabelValues("session")); got != 2 {
		t.Errorf("%v logins counted", got)
	}
	if err := s.Close(); err != nil || b.ended != 1 {
		t.Errorf("closed twice: %v, %d", err, b.ended)
	}

	// Where sessions are not served, or come without a token, the login goes along with each question.
	for _, set := range []func(b *bmc){func(b *bmc) { b.basic = true }, func(b *bmc) { b.noToken = true }} {
		b := newBMC(t, olderTree("612"))
		set(b)
		s := b.open(t, nil, nil)
		if v, err := read(s); err != nil || v.Power != 612_000 || testutil.ToFloat64(s.met.logins.WithLabelValues("basic")) != 1 {
			t.Errorf("%+v, %v", v, err)
		}
	}
	b = newBMC(t, olderTree("612"))
	if _, err := read(b.open(t, func(c *Config) { c.Auth = "basic" }, nil)); err != nil || b.sessions != 0 {
		t.Errorf("%v; %d sessions", err, b.sessions)
	}
}

func TestAWrongPasswordIsNotTriedAgainSoon(t *testing.T) {
	b := newBMC(t, trayTree(`{"PowerWatts": 5000}`))
	s := b.open(t, func(c *Config) { c.Username = "writer" }, nil)
	for range 5 {
		if _, err := read(s); !has(err, "credentials") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%v", err)
		}
	}
	if b.refused != 1 || testutil.ToFloat64(s.met.logins.WithLabelValues("refused")) != 1 {
		t.Errorf("the wrong password was offered %d times: the account would be locked", b.refused)
	}
}

func TestABusyBMCIsLeftAlone(t *testing.T) {
	b := newBMC(t, trayTree(`{"PowerWatts": 5000}`))
	s := b.open(t, nil, nil)
	if _, err := read(s); err != nil {
		t.Fatal(err)
	}
	b.set(func() { b.statusAll, b.header = 503, map[string]string{"Retry-After": "1"} })
	asked := b.asked[tray]
	for range 5 {
		if _, err := read(s); !has(err, "busy") {
			t.Errorf("%v", err)
		}
	}
	if got := b.asked[tray] - asked; got != 1 {
		t.Errorf("it was asked %d times", got)
	}
	b.set(func() { b.statusAll = 0 })
	time.Sleep(1100 * time.Millisecond)
	if v, err := read(s); err != nil || v.Power != 5_000_000 {
		t.Errorf("%+v, %v", v, err)
	}
	for text, want := range map[string]time.Duration{"7": 7 * time.Second, "": shortWait, "-1": shortWait, "99999999": maxWait, "Thu, 01 Jan 1970 00:04:00 GMT": shortWait} {
		if got := retryAfter(text); got != want {
			t.Errorf("Retry-After: %q waits %v, want %v", text, got, want)
		}
	}
}

func TestQuirksOfTheLine(t *testing.T) {
	b := newBMC(t, trayTree(`{"PowerWatts": 5000}`))
	b.gzip, b.closes = true, true
	s := b.open(t, nil, nil)
	for range 3 {
		if v, err := read(s); err != nil || v.Power != 5_000_000 {
			t.Fatalf("%+v, %v", v, err)
		}
	}

	// A body without end, small on the line, is cut off.
	b.put(map[string]string{tray: `{"PowerWatts": 5000, "x": "` + strings.Repeat("x", 5<<20) + `"}`})
	if _, err := read(s); !has(err, "too_large") || testutil.ToFloat64(s.met.requests.WithLabelValues("too_large")) != 1 {
		t.Errorf("%v", err)
	}
	b.put(map[string]string{tray: `{"PowerWatts": `})
	if _, err := read(s); !has(err, "malformed") {
		t.Errorf("%v", err)
	}

	// A redirect elsewhere is not followed: the token would go there.
	elsewhere := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the login went elsewhere: %v", r.Header)
	}))
	defer elsewhere.Close()
	b.set(func() { b.status[tray], b.header = 302, map[string]string{"Location": elsewhere.URL + "/redfish/v1"} })
	if _, err := read(s); !has(err, "unreachable") || !strings.Contains(err.Error(), "redirected") {
		t.Errorf("%v", err)
	}
}

// A BMC that needs longer than a reading may take is searched bit by bit.
func TestASlowBMCIsSearchedInSeveralReadings(t *testing.T) {
	b := newBMC(t, trayTree(`{"PowerWatts": 5000}`))
	b.slow = func(string) { time.Sleep(40 * time.Millisecond) }
	s := b.open(t, nil, nil)
	for attempt := 1; ; attempt++ {
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
		values := make([]nodemeter.Value, len(s.Meters()))
		err := s.Read(ctx, start, values)
		cancel()
		if err == nil {
			if values[0].Power != 5_000_000 || attempt == 1 {
				t.Errorf("after %d readings: %+v", attempt, values)
			}
			return
		}
		if attempt == 100 || !has(err, "timeout") && !errors.Is(err, agent.ErrChanged) {
			t.Fatalf("reading %d: %v", attempt, err)
		}
	}
}

func TestTheCertificateIsChecked(t *testing.T) {
	b := newBMC(t, trayTree(`{"PowerWatts": 5000}`))
	f := func(name, code string, change func(*Config)) {
		t.Helper()
		_, err := read(b.open(t, change, nil))
		if (code == "") != (err == nil) || code != "" && !has(err, code) {
			t.Errorf("%s: %v, want %q", name, err, code)
		}
	}
	f("pinned", "", func(*Config) {})
	f("pinned with colons", "", func(c *Config) { c.Fingerprint = strings.ToUpper(c.Fingerprint[:2] + ":" + c.Fingerprint[2:]) })
	f("another pin", "tls", func(c *Config) { c.Fingerprint = strings.Repeat("ab", 32) })
	f("unknown", "tls", func(c *Config) { c.Fingerprint = "" })
	f("an authority of ours", "", func(c *Config) { c.Fingerprint, c.CAFile = "", b.caFile(t) })
	f("another name", "tls", func(c *Config) { c.Fingerprint, c.CAFile, c.ServerName = "", b.caFile(t), "bmc.example.org" })
	f("not checked", "", func(c *Config) { c.Fingerprint, c.Insecure = "", true })
	b.Close()
	f("away", "unreachable", func(*Config) {})

	// Who does not check is warned.
	var log strings.Builder
	cfg := b.config(t)
	cfg.Fingerprint, cfg.Insecure = "", true
	s, err := Open(cfg, slog.New(slog.NewTextHandler(&log, nil)), nil)
	if err != nil || !strings.Contains(log.String(), "redfish.insecure") {
		t.Errorf("%v; the log says %q", err, log.String())
	}
	s.Close()
}

func TestConfigurationSaysAllItsFaults(t *testing.T) {
	f := func(cfg Config, words ...string) {
		t.Helper()
		_, err := Open(cfg, slog.New(slog.DiscardHandler), nil)
		for _, word := range words {
			if err == nil || !strings.Contains(err.Error(), word) {
				t.Errorf("%v does not name %s", err, word)
			}
		}
	}
	f(Config{Fingerprint: "12", CAFile: "x", EnergyDecimals: -1},
		"address:", "username and", "auth:", "fingerprint:", "fingerprint and", "energy_decimals:", "max_watts:", "max_body:", "period and", "node:")
	for _, address := range []string{"http://bmc", "https://user:pw@bmc", "bmc:443", "https://bmc/redfish", "ftp://bmc"} {
		cfg := DefaultConfig()
		cfg.Address, cfg.Username, cfg.PasswordFile, cfg.Node = address, "reader", os.DevNull, "n1"
		f(cfg, "address:")
	}
	cfg := DefaultConfig()
	cfg.Address, cfg.Username, cfg.PasswordFile, cfg.Node, cfg.CAFile = "https://bmc", "reader", os.DevNull, "n1", os.DevNull
	f(cfg, "holds no certificate")
	if DefaultConfig().Enabled() || !cfg.Enabled() {
		t.Error("a BMC without an address is read")
	}
}
