package inventory

import (
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/wattledger/wattledger/ingest/fault"
	"github.com/wattledger/wattledger/schemas/unit"
)

// entry is one mapping of the file while it is read: its values by key, and what is wrong with it.
type entry struct {
	at     ast.Node
	values map[string]ast.Node
	keys   map[string]ast.Node
	faults []fault.Fault
}

func faultAt(n ast.Node, format string, args ...any) fault.Fault {
	f := fault.Fault{Text: fmt.Sprintf(format, args...)}
	if n != nil {
		f.Line, f.Column = position(n.GetToken())
	}
	return f
}

func position(t *token.Token) (line, column int) {
	if t == nil || t.Position == nil {
		return 0, 0
	}
	return t.Position.Line, t.Position.Column
}

// pairs are the keys and values of a mapping, in order.
func pairs(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	default:
		return nil, false
	}
}

// read takes a mapping apart. Keys that are not allowed, or there twice, are faults.
func read(n ast.Node, allowed []string) *entry {
	e := &entry{at: n, values: map[string]ast.Node{}, keys: map[string]ast.Node{}}
	list, ok := pairs(n)
	if !ok {
		e.faults = append(e.faults, faultAt(n, "here stands %s; write key: value, with the keys %s", nameOf(n), strings.Join(allowed, ", ")))
		return e
	}
	if len(list) > 0 {
		e.at = list[0].Key
	}
	for _, p := range list {
		name := ""
		if p.Key != nil && p.Key.GetToken() != nil {
			name = p.Key.GetToken().Value
		}
		switch {
		case !slices.Contains(allowed, name):
			hint := "the keys are " + strings.Join(allowed, ", ")
			if near := fault.Nearest(name, allowed); near != "" {
				hint = fmt.Sprintf("did you mean %s?", near)
			}
			e.faults = append(e.faults, faultAt(p.Key, "key %q is unknown; %s", name, hint))
		case e.keys[name] != nil:
			e.faults = append(e.faults, faultAt(p.Key, "key %s is there twice; remove one", name))
		default:
			e.values[name], e.keys[name] = p.Value, p.Key
		}
	}
	return e
}

func nameOf(n ast.Node) string {
	switch n.(type) {
	case nil, *ast.NullNode:
		return "nothing"
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	default:
		return "a single value"
	}
}

func (e *entry) bad(key, format string, args ...any) {
	n := e.values[key]
	if n == nil {
		n = e.keys[key]
	}
	if n == nil {
		n = e.at
	}
	e.faults = append(e.faults, faultAt(n, format, args...))
}

// text is a value as it is written: a number or a date is not turned into something else. "" is an absent one.
func (e *entry) text(key string) string {
	n := e.values[key]
	switch n := n.(type) {
	case nil, *ast.NullNode:
		return ""
	case *ast.StringNode:
		return strings.TrimSpace(n.Value)
	case *ast.LiteralNode:
		return strings.TrimSpace(n.Value.Value)
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NanNode, *ast.InfinityNode:
		return strings.TrimSpace(n.GetToken().Value)
	default:
		e.bad(key, "%s is %s; write one plain value", key, nameOf(n))
		return ""
	}
}

func (e *entry) required(key string) string {
	s := e.text(key)
	if s == "" {
		e.bad(key, "%s is missing", key)
	}
	return s
}

// country is an ISO 3166-1 alpha-2 code. A bare NO would be a boolean in older YAML; here it is Norway.
func (e *entry) country(key string, must bool) string {
	s := e.text(key)
	if s == "" && !must {
		return ""
	}
	if !isCountry(s) {
		e.bad(key, "%s is %q; write the two capital letters of ISO 3166-1, such as FR", key, s)
	}
	return s
}

func isCountry(s string) bool {
	return len(s) == 2 && s[0] >= 'A' && s[0] <= 'Z' && s[1] >= 'A' && s[1] <= 'Z'
}

func (e *entry) countries(key string) []string {
	n := e.values[key]
	switch n := n.(type) {
	case nil, *ast.NullNode:
		return nil
	case *ast.SequenceNode:
		var out []string
		for _, v := range n.Values {
			item := &entry{at: v, values: map[string]ast.Node{key: v}}
			out = append(out, item.country(key, true))
			e.faults = append(e.faults, item.faults...)
		}
		return out
	default:
		e.bad(key, "%s is %s; write a list, such as [FR, SE]", key, nameOf(n))
		return nil
	}
}

// thousandths is a decimal number × 1000, exactly.
func (e *entry) thousandths(key, unitName string, otherwise int64) int64 {
	s := e.text(key)
	if s == "" {
		return otherwise
	}
	r, ok := new(big.Rat).SetString(s)
	if !ok || len(s) > 20 || strings.ContainsAny(s, "/eEpPxX_") {
		e.bad(key, "%s is %q; write a decimal number%s", key, s, unitName)
		return otherwise
	}
	r.Mul(r, big.NewRat(1000, 1))
	if !r.IsInt() || !r.Num().IsInt64() {
		e.bad(key, "%s is %q; three digits after the point are kept, no more", key, s)
		return otherwise
	}
	return r.Num().Int64()
}

func (e *entry) whole(key string, otherwise uint64, bits int) uint64 {
	s := e.text(key)
	if s == "" {
		return otherwise
	}
	v, err := strconv.ParseUint(s, 10, bits)
	if err != nil {
		what := "a whole number"
		if errors.Is(err, strconv.ErrRange) {
			what = "a smaller whole number"
		}
		e.bad(key, "%s is %q; write %s", key, s, what)
		return otherwise
	}
	return v
}

func (e *entry) instant(key string) unit.Micros {
	s := e.text(key)
	if s == "" {
		return 0
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.Year() < 2000 || t.Year() >= 2100 || t.Nanosecond()%1000 != 0 {
		e.bad(key, "%s is %q; write an instant with its time zone, such as 2026-01-31T10:00:00Z", key, s)
		return 0
	}
	return unit.Micros(t.UnixMicro())
}

// one picks the number of a word.
func one[T any](e *entry, key string, words []string, values []T, otherwise T) T {
	s := e.text(key)
	if s == "" {
		return otherwise
	}
	if i := slices.Index(words, s); i >= 0 {
		return values[i]
	}
	e.bad(key, "%s is %q; write one of %s", key, s, strings.Join(words, ", "))
	return otherwise
}
