package wire

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// keyHex is how many hexadecimal digits of a digest end the key of an inventory.
const keyHex = 16

// InventoryKey is the key of an inventory message: the site, a slash, and a digest of what it speaks of. Kafka keeps the last
// message of each key in this topic, so two messages have one key only when the later one states all that the earlier one
// did. Were it the site alone, the list of one node would remove that of all others.
func InventoryKey(site string, m *wl.Inventory) string {
	var names []string
	add := func(parts ...string) { names = append(names, strings.Join(parts, "\x00")) }
	for _, s := range m.GetSites() {
		add("site", s.GetId())
	}
	for _, n := range m.GetNodes() {
		add("node", n.GetSite(), n.GetId())
	}
	for _, d := range m.GetDevices() {
		add("device", d.GetNode(), d.GetUuid())
	}
	for _, t := range m.GetTenants() {
		add("tenant", t.GetId())
	}
	for _, s := range m.GetStays() {
		add("stay", s.GetSite(), s.GetNode(), s.GetDeviceUuid(), strconv.FormatInt(s.GetFromUs(), 10))
	}
	slices.Sort(names)
	sum := sha256.Sum256([]byte(strings.Join(slices.Compact(names), "\x01")))
	return site + "/" + hex.EncodeToString(sum[:])[:keyHex]
}

// InventorySite is the site in the key of an inventory message. A key of another form is the site itself.
func InventorySite(key string) string {
	i := len(key) - keyHex - 1
	if i < 0 || key[i] != '/' || strings.Trim(key[i+1:], "0123456789abcdef") != "" {
		return key
	}
	return key[:i]
}
