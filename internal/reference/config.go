package reference

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// Key is one configuration key.
type Key struct {
	// Path is section.key; Comment the field's, in one line; Default as YAML would have it.
	Path, Comment, Default string
}

// Source finds comments: Module is the module's path, Root the folder it lies in.
type Source struct {
	Module, Root string
	packages     map[string]map[string]string // folder to Type.Field to comment
}

// Keys lists the keys of a configuration, which holds the defaults, in the order of its fields. Those of a list's elements
// follow the list as list[].key. A key without a comment is an error: the comments are the manual.
func (s *Source) Keys(cfg any) ([]Key, error) {
	v := reflect.ValueOf(cfg)
	for v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	return s.keys(v, "")
}

func (s *Source) keys(v reflect.Value, path string) ([]Key, error) {
	var out []Key
	t := v.Type()
	comments, err := s.comments(t)
	if err != nil {
		return nil, err
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case !f.IsExported() || name == "-":
			continue
		case strings.Contains(options, "inline"):
			in, err := s.keys(v.Field(i), path)
			if err != nil {
				return nil, err
			}
			out = append(out, in...)
			continue
		}
		at := path + cmp.Or(name, strings.ToLower(f.Name))
		if f.Type.Kind() == reflect.Struct && strings.HasPrefix(f.Type.PkgPath(), s.Module) {
			in, err := s.keys(v.Field(i), at+".")
			if err != nil {
				return nil, err
			}
			out = append(out, in...)
			continue
		}
		comment := comments[t.Name()+"."+f.Name]
		if comment == "" {
			return nil, fmt.Errorf("%s.%s (%s) has no comment: it is the manual of the key", t, f.Name, at)
		}
		text, err := written(v.Field(i).Interface())
		if err != nil {
			return nil, fmt.Errorf("default of %s: %w", at, err)
		}
		out = append(out, Key{at, comment, text})
		if f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct && strings.HasPrefix(f.Type.Elem().PkgPath(), s.Module) {
			in, err := s.keys(reflect.Zero(f.Type.Elem()), at+"[].")
			if err != nil {
				return nil, err
			}
			for i := range in {
				in[i].Default = "" // an element has none
			}
			out = append(out, in...)
		}
	}
	return out, nil
}

// written is a value as a person would write it in YAML.
func written(v any) (string, error) {
	if d, ok := v.(time.Duration); ok {
		text := d.String()
		if short, ok := strings.CutSuffix(text, "m0s"); ok {
			text = short + "m"
		}
		if short, ok := strings.CutSuffix(text, "h0m"); ok {
			text = short + "h"
		}
		return text, nil
	}
	text, err := yaml.MarshalWithOptions(v, yaml.Flow(true))
	return strings.Join(strings.Fields(string(text)), " "), err
}

// comments are those of the fields of the structs in the type's package.
func (s *Source) comments(t reflect.Type) (map[string]string, error) {
	dir := filepath.Join(s.Root, strings.TrimPrefix(strings.TrimPrefix(t.PkgPath(), s.Module), "/"))
	if t.PkgPath() == "main" || !strings.HasPrefix(t.PkgPath(), s.Module) {
		dir = "." // the program's own
	}
	if c, ok := s.packages[dir]; ok {
		return c, nil
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if st, ok := spec.Type.(*ast.StructType); ok {
				fields(found, spec.Name.Name, st)
			}
			return true
		})
	}
	if s.packages == nil {
		s.packages = map[string]map[string]string{}
	}
	s.packages[dir] = found
	return found, nil
}

// fields takes each field's comment; one without takes that of the field above it, as "Node and Site are …" means both.
func fields(found map[string]string, of string, st *ast.StructType) {
	var above string
	for _, f := range st.Fields.List {
		text := strings.Join(strings.Fields(f.Doc.Text()), " ")
		if text == "" {
			text = cmp.Or(strings.Join(strings.Fields(f.Comment.Text()), " "), above)
		}
		above = text
		for _, name := range f.Names {
			found[of+"."+name.Name] = text
		}
	}
}
