package quarantine

import "strings"

// maxDetail bounds a reason that quotes what it found.
const maxDetail = 4 << 10

// valid makes a text that protobuf takes: whatever was found may stand in it, cut and with its broken bytes replaced.
func valid(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), maxDetail)], "\uFFFD")
}
