package wattledger_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/wattledger/wattledger/internal/archtest"
)

// The rules are in internal/archtest, with the tests that show each of them can fail.
func TestArchitecture(t *testing.T) {
	findings, err := archtest.Check(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		t.Error(f)
	}
}

var (
	comment = regexp.MustCompile(`(?s)<!--.*?-->`)
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	inline  = regexp.MustCompile("`make [^`\\n]*`")
	fence   = regexp.MustCompile("(?s)\n```sh\n.*?\n```")
	command = regexp.MustCompile("(?m)(?:^|`)make ([a-z][a-z -]*)")
	target  = regexp.MustCompile(`(?m)^([a-z][a-z-]*):`)
)

// The pages lead somewhere: links within the repository point at what exists, and so do make commands.
func TestPages(t *testing.T) {
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	targets := map[string]bool{}
	for _, m := range target.FindAllStringSubmatch(string(makefile), -1) {
		targets[m[1]] = true
	}
	for _, page := range pages(t) {
		body, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		text := comment.ReplaceAllString(string(body), "")
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			to, _, _ := strings.Cut(m[1], "#")
			if to == "" || strings.Contains(to, ":") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), to)); err != nil {
				t.Errorf("%s links to %s, which does not exist", page, to)
			}
		}
		code := strings.Join(append(inline.FindAllString(text, -1), fence.FindAllString(text, -1)...), "\n")
		for _, m := range command.FindAllStringSubmatch(code, -1) {
			for _, name := range strings.Fields(m[1]) {
				if !targets[name] {
					t.Errorf("%s tells to run make %s, which the Makefile does not have", page, name)
				}
			}
		}
	}
}

// pages returns the Markdown files that are ours.
func pages(t *testing.T) []string {
	var found []string
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules" || d.Name() == "demo-out"):
			return filepath.SkipDir
		case filepath.Ext(name) == ".md":
			found = append(found, name)
		}
		return nil
	})
	if err != nil || len(found) == 0 {
		t.Fatalf("no pages found: %v", err)
	}
	return found
}
