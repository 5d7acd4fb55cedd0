package channel_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/live"
	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/dashboards/datasource/pkg/channel"
	"github.com/wattledger/wattledger/dashboards/query"
)

func TestParse(t *testing.T) {
	f := func(path string, sealed, valid bool, want channel.Path) {
		t.Helper()
		got, err := channel.Parse(path, sealed)
		if (err == nil) != valid || valid && got != want {
			t.Errorf("Parse(%q) = %+v, %v, want %+v", path, got, err, want)
		}
	}
	device := channel.Path{Kind: query.KindDevice, ID: "GPU-1", Metric: "power", Every: time.Second}
	f("device/GPU-1", false, true, device)
	f("fleet/par-1/sm_active/5", false, true, channel.Path{Kind: query.KindFleet, ID: "par-1", Metric: "sm_active", Every: 5 * time.Second})
	device.Seal = "x"
	f("x/device/GPU-1/power/1", true, true, device)
	f("device/GPU-1", true, false, channel.Path{})
	f("device/GPU-1/power/0", false, false, channel.Path{})
	f("device/GPU-1/power/61", false, false, channel.Path{})
	f("device/GPU-1/wishes", false, false, channel.Path{})
	f("energy/GPU-1/total", false, false, channel.Path{})
	f("device/a' OR 1=1", false, false, channel.Path{})
	f("device", false, false, channel.Path{})
	f("", true, false, channel.Path{})
}

func TestSealsOpenToTheScopeTheyWereMadeOf(t *testing.T) {
	s, of := channel.NewSealer("uid", "secret"), channel.NewSealer("other", "secret")
	rapid.Check(t, func(t *rapid.T) {
		scope := query.Scope{All: true}
		if rapid.Bool().Draw(t, "tenant") {
			scope = query.Scope{Tenant: rapid.StringN(1, 20, 40).Draw(t, "id")}
		}
		seal := s.Seal(scope)
		if got, ok := s.Open(seal); !ok || got != scope {
			t.Fatalf("Open(Seal(%+v)) = %+v, %v", scope, got, ok)
		}
		if c := (live.Channel{Scope: "ds", Namespace: "uid", Path: seal + "/device/GPU-1"}); !c.IsValid() {
			t.Fatalf("%q cannot stand in a channel", seal)
		}
		i := rapid.IntRange(0, len(seal)-1).Draw(t, "at")
		forged := seal[:i] + string("AB"[btoi(seal[i] == 'A')]) + seal[i+1:]
		if got, ok := s.Open(forged); ok {
			t.Fatalf("a forged seal opens to %+v", got)
		}
		if got, ok := of.Open(seal); ok {
			t.Fatalf("another data source's seal opens to %+v", got)
		}
	})
	if again := channel.NewSealer("uid", "secret"); again.Seal(query.Scope{All: true}) != s.Seal(query.Scope{All: true}) {
		t.Error("a server after a restart does not know its seals")
	}
	mac := func(key []byte, text string) []byte {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(text))
		return m.Sum(nil)
	}
	raw, err := base64.RawURLEncoding.DecodeString(s.Seal(query.Scope{Tenant: "a"}))
	if quick := mac(mac([]byte("secret"), "wattledger live channels of data source uid"), "ta"); err != nil || bytes.HasPrefix(raw, quick[:16]) {
		t.Errorf("who holds a seal can try a million passwords a second on it: %v", err)
	}
	one, other := channel.NewSealer("uid", ""), channel.NewSealer("uid", "")
	if one.Seal(query.Scope{All: true}) == other.Seal(query.Scope{All: true}) {
		t.Error("without a secret, seals can be guessed")
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func FuzzParse(f *testing.F) {
	f.Add("device/GPU-1/power/5", false)
	f.Add("b3B-/fleet/par-1", true)
	s := channel.NewSealer("uid", "secret")
	f.Fuzz(func(t *testing.T, path string, sealed bool) {
		p, err := channel.Parse(path, sealed)
		if err != nil {
			return
		}
		if scope, ok := s.Open(p.Seal); ok {
			t.Errorf("%q opens to %+v", p.Seal, scope)
		}
	})
}
