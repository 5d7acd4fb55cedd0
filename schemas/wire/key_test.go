package wire_test

import (
	"strings"
	"testing"

	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

func TestTheKeyOfAnInventorySaysWhatItSpeaksOf(t *testing.T) {
	devices := func(node string, uuids ...string) *wl.Inventory {
		m := &wl.Inventory{}
		for _, u := range uuids {
			m.Devices = append(m.Devices, &wl.Device{Node: node, Uuid: u})
		}
		return m
	}
	f := func(same bool, a, b *wl.Inventory) {
		t.Helper()
		if x, y := wire.InventoryKey("fr-1", a), wire.InventoryKey("fr-1", b); (x == y) != same {
			t.Errorf("%s and %s for %v and %v", x, y, a, b)
		}
	}
	later := devices("n1", "GPU-2", "GPU-1")
	later.Revision, later.Devices[0].Driver = 9, "new"
	f(true, devices("n1", "GPU-1", "GPU-2"), later) // the same devices, stated anew
	f(false, devices("n1", "GPU-1"), devices("n2", "GPU-1"))
	f(false, devices("n1", "GPU-1", "GPU-2"), devices("n1", "GPU-1")) // one device gone: what was said of it stays
	f(false, devices("n1", "GPU-1"), &wl.Inventory{Nodes: []*wl.Node{{Site: "n1", Id: "GPU-1"}}})
	f(false, &wl.Inventory{Tenants: []*wl.Tenant{{Id: "a"}}}, &wl.Inventory{Tenants: []*wl.Tenant{{Id: "b"}}})
	f(false, &wl.Inventory{Stays: []*wl.Stay{{Site: "s", Node: "n", FromUs: 1}}}, &wl.Inventory{Stays: []*wl.Stay{{Site: "s", Node: "n", FromUs: 2}}})
	if key := wire.InventoryKey("fr-1", later); !strings.HasPrefix(key, "fr-1/") {
		t.Errorf("%s does not begin with the site", key)
	}
}

func TestTheSiteIsReadBackFromTheKey(t *testing.T) {
	f := func(key, want string) {
		t.Helper()
		if got := wire.InventorySite(key); got != want {
			t.Errorf("%q: got %q, want %q", key, got, want)
		}
	}
	f(wire.InventoryKey("fr-1", &wl.Inventory{}), "fr-1")
	f(wire.InventoryKey("a/b", &wl.Inventory{}), "a/b")
	f("fr-1", "fr-1") // as it was before the key said what the message speaks of
	f("", "")
	f("fr-1/0123456789abcdeg", "fr-1/0123456789abcdeg")
	f("0123456789abcdef", "0123456789abcdef")
}
