// Package ledger gives entries their canonical bytes, ids and seals.
//
// The canonical form of an entry is its JSON as encoding/json writes record.Entry: fields in the order of the struct, no
// white space, integers in full, no HTML escapes. An id is the SHA-256 of it. A batch is sealed by the root of the
// Merkle tree over its entries' canonical bytes in order (RFC 6962, section 2.1). Nothing here reads a clock, a file or
// the network.
package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/wattledger/wattledger/schemas/record"
)

// Rules is the edition of the rules by which entries are made. It changes when the same inputs would give other entries.
const Rules = "2026-12"

// Line is an entry with its canonical bytes and id.
type Line struct {
	record.Entry
	ID        string
	Canonical []byte
}

// Lines gives entries their order and their identity: by node, device, account, start and allocation. It refuses an entry
// that breaks a rule of the ledger: what is sealed cannot be mended.
func Lines(entries []record.Entry) ([]Line, error) {
	sorted := slices.Clone(entries)
	slices.SortFunc(sorted, record.CompareEntries)
	lines := make([]Line, 0, len(sorted))
	for _, e := range sorted {
		if err := e.Validate(); err != nil {
			return nil, fmt.Errorf("entry of %s at %s: %w", e.Device, e.Hour, err)
		}
		canonical, err := Canonical(e)
		if err != nil {
			return nil, err
		}
		id := sha256.Sum256(canonical)
		lines = append(lines, Line{Entry: e, ID: hex.EncodeToString(id[:]), Canonical: canonical})
	}
	return lines, nil
}

// Canonical is the hashed form of an entry.
func Canonical(e record.Entry) ([]byte, error) {
	if e.Flags == nil {
		e.Flags = []string{}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return nil, fmt.Errorf("write the entry of %s at %s: %w", e.Device, e.Hour, err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Seal commits a batch: its root covers every line in order, and it names the seal before it.
func Seal(lines []Line, site string, batch uint64, previous string) record.Seal {
	leaves := make([][32]byte, len(lines))
	s := record.Seal{Site: site, Batch: batch, Previous: previous, Entries: len(lines), Rules: Rules}
	for i, l := range lines {
		leaves[i] = LeafHash(l.Canonical)
		s.Measured += l.Measured
		s.Estimated += l.Estimated
		s.Modelled += l.Modelled
		s.DeviceTime += l.DeviceTime
		s.Carbon += l.Carbon
		s.CarbonMarket += l.CarbonMarket
		s.CarbonEmbodied += l.CarbonEmbodied
		s.Water += l.Water
		if l.Kind == record.Adjustment {
			s.Adjustments++
		}
	}
	root := RootHash(leaves)
	s.Root = hex.EncodeToString(root[:])
	return s
}

// LeafHash is SHA-256(0x00 ‖ data) (RFC 6962, section 2.1).
func LeafHash(data []byte) [32]byte {
	return sha256.Sum256(append([]byte{0}, data...))
}

// RootHash is the Merkle tree hash over leaf hashes (RFC 6962, section 2.1); of nothing it is the hash of nothing.
func RootHash(leaves [][32]byte) [32]byte {
	switch n := len(leaves); n {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return leaves[0]
	default:
		k := 1
		for k*2 < n {
			k *= 2
		}
		left, right := RootHash(leaves[:k]), RootHash(leaves[k:])
		return sha256.Sum256(slices.Concat([]byte{1}, left[:], right[:]))
	}
}
