// Package ledger gives what is booked its canonical bytes, its identity and its seal.
//
// Everything that is stored of a batch (entries, their subtotals, cuts, device-hours and the header) has one form in bytes:
// canonical JSON (RFC 8785). Entries hang in salted Merkle trees, so that a tenant's lines can be proved without showing
// another's, and a seal's root covers all of it. docs/ledger-format.md is the specification, with vectors; what is sealed is
// kept for ever, so these bytes do not move. Nothing here reads a clock, a file or the network.
package ledger

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
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

// Lines gives entries their order and their identity. It refuses an entry that breaks a rule of the ledger, and one that is
// there twice: what is sealed cannot be mended.
func Lines(entries []record.Entry) ([]Line, error) {
	lines := make([]Line, 0, len(entries))
	for _, e := range entries {
		if err := e.Validate(); err != nil {
			return nil, fmt.Errorf("entry of %s at %s: %w", e.Device, e.Hour, err)
		}
		canonical, err := Canonical(e)
		if err != nil {
			return nil, err
		}
		lines = append(lines, Line{Entry: e, ID: ID(canonical), Canonical: canonical})
	}
	slices.SortFunc(lines, CompareLines)
	for i := 1; i < len(lines); i++ {
		if lines[i].ID == lines[i-1].ID {
			return nil, fmt.Errorf("entry of %s at %s stands in its batch twice", lines[i].Device, lines[i].Hour)
		}
	}
	return lines, nil
}

// CompareLines is the order of a batch: adjustments before closings, by hour, then as record.CompareEntries, then by their bytes.
func CompareLines(a, b Line) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Hour, b.Hour), record.CompareEntries(a.Entry, b.Entry),
		bytes.Compare(a.Canonical, b.Canonical))
}

// Canonical is the hashed form of an entry.
func Canonical(e record.Entry) ([]byte, error) {
	if e.Flags == nil {
		e.Flags = []string{}
	}
	b, err := entryForm.append(make([]byte, 0, 1536), e)
	if err != nil {
		return nil, fmt.Errorf("write the entry of %s at %s: %w", e.Device, e.Hour, err)
	}
	return b, nil
}

// ID names an entry, or whatever has canonical bytes: their SHA-256, hex.
func ID(canonical []byte) string {
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:])
}
