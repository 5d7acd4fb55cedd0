package redfish

import (
	"testing"

	"github.com/wattledger/wattledger/collector/nodemeter"
	"github.com/wattledger/wattledger/schemas/unit"
)

// sound reads a resource as each kind of point and checks what comes out of it.
func sound(t *testing.T, data []byte) {
	t.Helper()
	r, err := decode(data)
	if err != nil {
		return
	}
	for _, k := range []kind{inEnvironment, inPower, inSensor, inSupplies} {
		for _, counter := range []bool{false, true} {
			s := &Source{cfg: DefaultConfig(), meter: nodemeter.Meter{Counter: counter}}
			var m measures
			for n := range 2 {
				m.add(k, r, start+unit.Micros(n))
				s.meter.Counter = s.counts(m)
				v := s.value(m)
				limit := unit.Milliwatts(s.cfg.MaxWatts * 1000)
				switch {
				case v.At == 0 && v.Why == "", v.At != 0 && v.Why != "", v.At > start+1:
					t.Fatalf("%s is %+v", k, v)
				case s.meter.Counter && v.Power != 0, !s.meter.Counter && v.Count != 0, v.Power < 0, v.Power > limit, v.Count > 1<<63-1:
					t.Fatalf("%s is %+v", k, v)
				}
			}
		}
	}
}

// Whatever a BMC answers: no panic, and a value is either there with its time or missing with its reason.
func FuzzEnvironmentMetrics(f *testing.F) {
	for _, s := range []string{
		kilowatts(start), `{"PowerWatts": "5000", "EnergykWh": {"Reading": "12.345678901234"}}`, `{"PowerWatts": {"Reading": 1e308}, "EnergyJoules": -1}`,
		`{"EnergyJoules": {"Reading": 9223372036854775807}}`, `{"EnergykWh": 99999999999}`, `{"PowerWatts": []}`, `[]`, `null`, `{"ReadingType": "Power", "Reading": 5, "ReadingUnits": "kW"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(sound)
}

func FuzzPower(f *testing.F) {
	f.Add([]byte(olderTree(`"612.5"`)["/redfish/v1/Chassis/1/Power"]))
	f.Add([]byte(`{"PowerControl": {"PowerConsumedWatts": 5}}`))
	f.Add([]byte(`{"PowerControl": [null, {"PowerConsumedWatts": {}, "PhysicalContext": []}]}`))
	f.Fuzz(sound)
}

// Whatever the chassis and their collection are, every link stays on the BMC or is refused.
func FuzzLinks(f *testing.F) {
	for p, text := range trayTree(`{}`) {
		f.Add([]byte(text), p)
	}
	f.Add([]byte(`{"Members": ["//elsewhere/1", "/\\elsewhere", "https:elsewhere", "?x", "#y"], "Members@odata.nextLink": 5}`), "\x00")
	f.Fuzz(func(t *testing.T, data []byte, more string) {
		c, err := newClient(Config{Address: "https://bmc.example.org:8443", MaxBody: 1 << 20}, newMetrics())
		if err != nil {
			t.Fatal(err)
		}
		paths := []string{more}
		if r, err := decode(data); err == nil {
			for _, l := range append(r.Members, r.Chassis, r.Sensors, r.Power, r.EnvironmentMetrics, link(r.Next), r.Links.is.ContainedBy) {
				paths = append(paths, string(l), follow(l, "/redfish/v1/Chassis/1", "Power"))
			}
			_ = chassis{more, r}.is("1")
		}
		for _, p := range paths {
			if u, err := c.resolve(p); err == nil && (u.Host != "bmc.example.org:8443" || u.Scheme != "https" || u.User != nil) {
				t.Fatalf("%q leads to %s", p, u)
			}
		}
	})
}
