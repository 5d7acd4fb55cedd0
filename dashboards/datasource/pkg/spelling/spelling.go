// Package spelling decodes JSON that our fields share with somebody else's.
//
// Grafana puts fields of its own beside those of a query and of a data source's settings, and adds more with each release. So a field
// nobody knows is no fault by itself; one that reads like ours, spelt wrong, is: it would be dropped in silence, and a filter that is
// dropped shows too much. What lies below a field of ours is ours alone, and there every unknown field is refused.
package spelling

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Decode fills the struct that into points to. It answers the fields that are neither ours nor among theirs, in order, for the
// caller to mention; those that look like a misspelt one of ours are an error.
func Decode(raw []byte, into any, theirs ...string) (unknown []string, err error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, oneLine(err)
	}
	if fields == nil {
		return nil, errors.New("not a JSON object")
	}
	names := Names(reflect.TypeOf(into).Elem())
	ours := make(map[string]json.RawMessage, len(names))
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		switch {
		case slices.Contains(names, name):
			ours[name] = fields[name]
		case slices.Contains(theirs, name):
		default:
			if near := Nearest(name, names); near != "" {
				faults = append(faults, fmt.Errorf("unknown field %q: did you mean %q?", name, near))
				continue
			}
			unknown = append(unknown, name)
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, oneLine(err)
	}
	again, err := json.Marshal(ours)
	if err != nil {
		return nil, oneLine(err)
	}
	d := json.NewDecoder(bytes.NewReader(again))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return nil, oneLine(err)
	}
	return unknown, nil
}

// Names are the JSON names of a struct's fields, those of embedded ones among them.
func Names(t reflect.Type) (names []string) {
	for field := range fieldsOf(t) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case field.Anonymous && name == "":
			names = append(names, Names(field.Type)...)
		case field.IsExported() && name != "-" && name != "":
			names = append(names, name)
		}
	}
	return names
}

func fieldsOf(t reflect.Type) func(yield func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			if !yield(t.Field(i)) {
				return
			}
		}
	}
}

// Nearest is the name that was probably meant, or none: the same letters in another case or with other separators, one name with an
// ending more, or at most two letters away (one, in a short name).
func Nearest(name string, names []string) string {
	plain := plainly(name)
	best, distance := "", 3
	for _, n := range names {
		p := plainly(n)
		allowed := 2
		if len(p) < 5 {
			allowed = 1
		}
		d := edits(plain, p)
		if strings.TrimSuffix(plain, "s") == strings.TrimSuffix(p, "s") {
			d = 0
		}
		if d <= allowed && d < distance {
			best, distance = n, d
		}
	}
	return best
}

func plainly(name string) string {
	return strings.NewReplacer("_", "", "-", "", " ", "").Replace(strings.ToLower(name))
}

// edits is the Levenshtein distance. Names are short; a long one is far from all of them.
func edits(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

func oneLine(err error) error {
	return errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
}
