package ledger

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// form is how a struct is written as canonical JSON (RFC 8785): its fields by their json tags, sorted. It knows strings,
// booleans, integers and lists of strings, which is all that is ever hashed.
type form struct{ fields []formField }

type formField struct {
	index int
	key   string // as it is written: quoted, with what goes before and after it
	name  string
	text  bool // an integer written as a string, because it may need 64 bits
}

// formOf reads the form off a struct type. A field without a tag, or of a type that has no form, is a mistake of ours.
func formOf[T any]() form {
	t := reflect.TypeFor[T]()
	var f form
	for i := range t.NumField() {
		name, option, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if name == "" {
			panic(t.String() + "." + t.Field(i).Name + " has no name in canonical JSON")
		}
		f.fields = append(f.fields, formField{index: i, name: name, text: option == "string"})
	}
	// Names are ASCII, for which the order by UTF-16 code units (RFC 8785, section 3.2.3) is that of bytes.
	slices.SortFunc(f.fields, func(a, b formField) int { return strings.Compare(a.name, b.name) })
	for i := range f.fields {
		before := byte(',')
		if i == 0 {
			before = '{'
		}
		f.fields[i].key = string(before) + `"` + f.fields[i].name + `":`
	}
	return f
}

// maxInteger is the largest that every reader of JSON keeps exact (RFC 8785, section 3.2.2.3).
const maxInteger = 1<<53 - 1

var errInteger = errors.New("is beyond ±(2^53 − 1), which JSON cannot carry exactly")

func (f form) append(b []byte, v any) ([]byte, error) {
	s := reflect.ValueOf(v)
	var err error
	for i := range f.fields {
		field := &f.fields[i]
		b = append(b, field.key...)
		if field.text {
			b = append(b, '"')
		}
		switch v := s.Field(field.index); v.Kind() {
		case reflect.String:
			b, err = appendString(b, v.String())
		case reflect.Bool:
			b = strconv.AppendBool(b, v.Bool())
		case reflect.Int, reflect.Int64:
			if n := v.Int(); !field.text && (n > maxInteger || n < -maxInteger) {
				err = fmt.Errorf("%d %w", n, errInteger)
			}
			b = strconv.AppendInt(b, v.Int(), 10)
		case reflect.Uint32, reflect.Uint64:
			if n := v.Uint(); n > maxInteger {
				err = fmt.Errorf("%d %w", n, errInteger)
			}
			b = strconv.AppendUint(b, v.Uint(), 10)
		case reflect.Slice:
			b, err = appendStrings(b, v.Interface().([]string))
		default:
			panic("canonical JSON has no form for a " + v.Kind().String())
		}
		if field.text {
			b = append(b, '"')
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", field.name, err)
		}
	}
	return append(b, '}'), nil
}

func appendStrings(b []byte, list []string) ([]byte, error) {
	b = append(b, '[')
	var err error
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = appendString(b, s); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

const hexDigits = "0123456789abcdef"

// appendString writes a string as RFC 8785, section 3.2.2.2 wants it: escaped is only what JSON does not allow as it is.
func appendString(b []byte, s string) ([]byte, error) {
	if !utf8.ValidString(s) {
		return nil, fmt.Errorf("%q is not UTF-8", s)
	}
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= 0x20:
			b = append(b, c)
		case c == '\b':
			b = append(b, `\b`...)
		case c == '\t':
			b = append(b, `\t`...)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\f':
			b = append(b, `\f`...)
		case c == '\r':
			b = append(b, `\r`...)
		default:
			b = append(b, `\u00`...)
			b = append(b, hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(b, '"'), nil
}
