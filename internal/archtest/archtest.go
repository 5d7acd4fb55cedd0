// Package archtest holds the architecture of this repository as rules that a test can run.
//
// It parses Go files (and looks into SQL and dashboard files for table names), judges each by the folder it lies in, and
// answers with sentences that tell a newcomer what to do instead. It promises to read every file whatever its build
// constraints, and to say nothing about folders that do not exist. What types and data flow would show is left to the
// compiler and the linters; what the folders mean is explained in docs/architecture.md.
package archtest

import (
	"cmp"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Module is the import path of the repository's root.
const Module = "github.com/wattledger/wattledger"

// Finding is one broken rule: where, and what to do about it.
type Finding struct {
	File string
	Line int
	Text string
}

func (f Finding) String() string { return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Text) }

// source is one file as the rules see it. Go files have syntax, others only text.
type source struct {
	name   string // slash-separated, from the root of the repository
	dir    string // "." for the root
	test   bool
	syntax *ast.File // nil when not Go
	text   string    // of files that are not Go
	fset   *token.FileSet
}

func (s source) line(p token.Pos) int { return s.fset.Position(p).Line }

// imports yields the file's imports as paths with their place.
func (s source) imports(yield func(importPath string, at token.Pos) bool) {
	for _, spec := range s.syntax.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // the parser has refused such a file already
		}
		if !yield(p, spec.Pos()) {
			return
		}
	}
}

// Check reads every file below the root of fsys and returns what breaks a rule, in order of file and line.
// An error means a file could not be read or parsed; the findings then are incomplete.
func Check(fsys fs.FS) ([]Finding, error) {
	sources, err := load(fsys)
	if err != nil {
		return nil, err
	}
	var found []Finding
	for _, s := range sources {
		report := func(line int, format string, args ...any) {
			found = append(found, Finding{File: s.name, Line: line, Text: fmt.Sprintf(format, args...)})
		}
		checkTables(s, report)
		if s.syntax == nil {
			continue
		}
		checkTrees(s, report)
		checkCore(s, report)
		checkProvers(s, report)
		checkClients(s, report)
		checkProcess(s, report)
	}
	found = append(found, checkPackages(sources)...)
	slices.SortStableFunc(found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return found, nil
}

// load collects the files the rules look at: ours and written by hand, so neither nested modules
// (the pinned tools), nor test data, nor anything hidden, built or generated.
func load(fsys fs.FS) ([]source, error) {
	var sources []source
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return enter(fsys, name, d)
		}
		s := source{name: name, dir: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), fset: token.NewFileSet()}
		switch path.Ext(name) {
		case ".go":
			body, err := fs.ReadFile(fsys, name)
			if err != nil {
				return err
			}
			if s.syntax, err = parser.ParseFile(s.fset, name, body, parser.ParseComments|parser.SkipObjectResolution); err != nil {
				return fmt.Errorf("parse %s: %w", name, err)
			}
			if ast.IsGenerated(s.syntax) {
				return nil
			}
		case ".sql", ".json":
			body, err := fs.ReadFile(fsys, name)
			if err != nil {
				return err
			}
			s.text = string(body)
		default:
			return nil
		}
		sources = append(sources, s)
		return nil
	})
	return sources, err
}

// enter says whether the walk goes into a folder.
func enter(fsys fs.FS, name string, d fs.DirEntry) error {
	if name == "." {
		return nil
	}
	base := d.Name()
	if strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") ||
		slices.Contains([]string{"testdata", "node_modules", "bin", "demo-out", "dist"}, base) {
		return fs.SkipDir
	}
	_, err := fs.Stat(fsys, path.Join(name, "go.mod"))
	switch {
	case err == nil:
		return fs.SkipDir
	case errors.Is(err, fs.ErrNotExist):
		return nil
	default:
		return err
	}
}

// within says whether dir is one of the folders or lies below one.
func within(dir string, folders ...string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return dir == f || strings.HasPrefix(dir, f+"/") })
}

// ours returns the folder of an import of this module.
func ours(importPath string) (dir string, ok bool) {
	if importPath == Module {
		return ".", true
	}
	return strings.CutPrefix(importPath, Module+"/")
}

// top returns the first element of a folder.
func top(dir string) string {
	first, _, _ := strings.Cut(dir, "/")
	return first
}
