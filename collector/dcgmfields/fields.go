// Package dcgmfields is the vocabulary of DCGM's fields: id, names, type and what kind of thing has a value of its own.
//
// It owns the table and how a name is found. Ids never change; names did in DCGM 4.6. What dcgm-exporter prints, and what
// dashboards ask for, is the old name; both are understood. Whether a device supports a field is for the source to find out.
package dcgmfields

import (
	"slices"
	"strings"
)

// Type is how a value of a field is written.
type Type byte

// The types.
const (
	Int    Type = 'i'
	Double Type = 'd'
	Text   Type = 's'
)

// Level is the deepest kind of thing that has a value of its own. Asked of something deeper, DCGM answers with the value of
// what it is part of: the power of a MIG instance is its GPU's.
type Level uint8

// The levels.
const (
	Node Level = iota + 1
	GPU
	Instance
	CPU
	Core
	Switch
	Link
)

// prefix is common to all names.
const prefix = "DCGM_FI_"

// Field is one field.
type Field struct {
	ID       uint16
	old, new string
	Type     Type
	Level    Level
}

// Name is what dcgm-exporter and dashboards call the field.
func (f Field) Name() string { return prefix + f.old }

// NewName is the name that DCGM 4.6 gave it; most have kept theirs.
func (f Field) NewName() string {
	if f.new == "" {
		return f.Name()
	}
	return prefix + f.new
}

var (
	byName = names()
	byID   = ids()
)

func names() map[string]int {
	out := make(map[string]int, 2*len(table))
	for i, f := range table {
		out[f.NewName()] = i
	}
	for i, f := range table { // where an old name was given to another field, the old meaning stands
		out[f.Name()] = i
	}
	return out
}

func ids() map[uint16]int {
	out := make(map[uint16]int, len(table))
	for i, f := range table {
		out[f.ID] = i
	}
	return out
}

// All lists the fields by id.
func All() []Field { return slices.Clone(table) }

// ByName finds a field by its old or its new name.
func ByName(name string) (Field, bool) {
	i, ok := byName[name]
	if !ok {
		return Field{}, false
	}
	return table[i], true
}

// ByID finds a field by its id.
func ByID(id uint16) (Field, bool) {
	i, ok := byID[id]
	if !ok {
		return Field{}, false
	}
	return table[i], true
}

// Nearest is the name that looks most like the one given, empty when none does.
func Nearest(name string) string {
	const tooLong = 80 // longer than any name, and the work grows with the length
	if len(name) > tooLong {
		return ""
	}
	name = strings.ToUpper(name)
	best, at := "", len(name)/3+1
	for _, f := range table {
		for _, known := range []string{f.Name(), f.NewName()} {
			if d := distance(name, known, at); d < at {
				best, at = known, d
			}
		}
	}
	return best
}

// distance is the number of letters to add, drop or change, or limit when it is not less.
func distance(a, b string, limit int) int {
	if max(len(a)-len(b), len(b)-len(a)) >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return min(row[len(b)], limit)
}
