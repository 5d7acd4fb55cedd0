package process

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// DecodeYAML reads one YAML document into a struct. What the document leaves out keeps the value it
// has; unknown keys are refused, all of them at once, each with file:line:column and the nearest key
// that exists. name is only for the messages.
func DecodeYAML(name string, data []byte, into any) error {
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return positioned(name, err)
	}
	var body ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if body != nil {
			return fmt.Errorf("%s: a second YAML document begins; one is read", at(name, doc.Body.GetToken()))
		}
		body = doc.Body
	}
	if body == nil || body.Type() == ast.NullType || body.Type() == ast.CommentType {
		return nil
	}
	if err := errors.Join(misfits(name, body, reflect.TypeOf(into), "")...); err != nil {
		return err
	}
	if err := yaml.NodeToValue(body, into, yaml.Strict()); err != nil {
		return positioned(name, err)
	}
	return nil
}

func at(name string, t *token.Token) string {
	if t == nil || t.Position == nil {
		return name
	}
	return fmt.Sprintf("%s:%d:%d", name, t.Position.Line, t.Position.Column)
}

// positioned brings the library's error, which draws the source over several lines, into one.
func positioned(name string, err error) error {
	var e yaml.Error
	if errors.As(err, &e) {
		msg, _, _ := strings.Cut(e.GetMessage(), "\n")
		return fmt.Errorf("%s: %s", at(name, e.GetToken()), msg)
	}
	return fmt.Errorf("%s: %w", name, err)
}

var (
	nodeUnmarshaler  = reflect.TypeFor[yaml.NodeUnmarshaler]()
	bytesUnmarshaler = reflect.TypeFor[yaml.BytesUnmarshaler]()
	ifaceUnmarshaler = reflect.TypeFor[yaml.InterfaceUnmarshaler]()
	textUnmarshaler  = reflect.TypeFor[interface{ UnmarshalText(text []byte) error }]()
)

// opaque reports whether the type reads itself, so that its fields are nobody's business.
func opaque(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(nodeUnmarshaler) || p.Implements(bytesUnmarshaler) || p.Implements(ifaceUnmarshaler) || p.Implements(textUnmarshaler)
}

// misfits finds the keys that do not exist and the values that do not fit.
func misfits(name string, node ast.Node, t reflect.Type, path string) (faults []error) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if a, ok := node.(*ast.AnchorNode); ok {
		node = a.Value
	}
	if opaque(t) {
		return unreadable(name, node, t)
	}
	switch t.Kind() {
	case reflect.Bool, reflect.String, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Float32, reflect.Float64:
		return unreadable(name, node, t)
	case reflect.Struct:
		m, ok := node.(ast.MapNode)
		if !ok {
			return nil // the decoder says what is wrong
		}
		fields := map[string]reflect.Type{}
		yamlFields(t, func(key string, f reflect.StructField, _ []int) { fields[key] = f.Type })
		for it := m.MapRange(); it.Next(); {
			key := it.Key()
			if key.IsMergeKey() {
				continue // the decoder follows it, strictly
			}
			text := key.GetToken().Value
			ft, ok := fields[text]
			if !ok {
				faults = append(faults, fmt.Errorf("%s: unknown key %q%s", at(name, key.GetToken()), path+text, suggestion(text, path, fields)))
				continue
			}
			faults = append(faults, misfits(name, it.Value(), ft, path+text+".")...)
		}
	case reflect.Slice, reflect.Array:
		if s, ok := node.(*ast.SequenceNode); ok {
			for i, v := range s.Values {
				faults = append(faults, misfits(name, v, t.Elem(), fmt.Sprintf("%s[%d].", strings.TrimSuffix(path, "."), i))...)
			}
		}
	case reflect.Map:
		if m, ok := node.(ast.MapNode); ok {
			for it := m.MapRange(); it.Next(); {
				faults = append(faults, misfits(name, it.Value(), t.Elem(), path+it.Key().GetToken().Value+".")...)
			}
		}
	}
	return faults
}

// unreadable tries one value by itself: the library names no place for durations and for types that read
// themselves, and stops at the first fault.
func unreadable(name string, node ast.Node, t reflect.Type) []error {
	if node.Type() == ast.AliasType {
		return nil // it stands for a value that is looked at where it is written
	}
	err := yaml.NodeToValue(node, reflect.New(t).Interface(), yaml.Strict())
	if err == nil {
		return nil
	}
	msg, _, _ := strings.Cut(err.Error(), "\n")
	var e yaml.Error
	if errors.As(err, &e) {
		msg, _, _ = strings.Cut(e.GetMessage(), "\n")
	}
	return []error{fmt.Errorf("%s: %s", at(name, node.GetToken()), msg)}
}

func suggestion[V any](key, path string, known map[string]V) string {
	if near := nearest(key, known); near != "" {
		return fmt.Sprintf("; did you mean %q?", path+near)
	}
	return ""
}

// yamlFields calls f with each field a struct has in YAML, embedded ones included.
func yamlFields(t reflect.Type, f func(key string, field reflect.StructField, index []int)) {
	for i := range t.NumField() {
		field := t.Field(i)
		key, opts, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		if strings.Contains(","+opts+",", ",inline,") {
			ft := field.Type
			if ft.Kind() == reflect.Pointer {
				ft = ft.Elem()
			}
			if ft.Kind() == reflect.Struct {
				yamlFields(ft, func(key string, inner reflect.StructField, index []int) { f(key, inner, append([]int{i}, index...)) })
			}
			continue
		}
		if !field.IsExported() || key == "-" {
			continue
		}
		if key == "" {
			key = strings.ToLower(field.Name)
		}
		f(key, field, []int{i})
	}
}

// nearest finds the known key that a typing error would explain, or "".
func nearest[V any](key string, known map[string]V) string {
	best, bestDistance := "", max(2, len(key)/3)+1
	for k := range known {
		if d := distance(strings.ToLower(key), strings.ToLower(k)); d < bestDistance || d == bestDistance && best != "" && k < best {
			best, bestDistance = k, d
		}
	}
	return best
}

// distance is Levenshtein's: how many letters to add, drop or change.
func distance(a, b string) int {
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
