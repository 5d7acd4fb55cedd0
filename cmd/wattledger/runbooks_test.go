package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

var typed = regexp.MustCompile("`(wattledger [^`]*)`")

// What a runbook tells to type at night can be typed.
func TestRunbooksCommandsParse(t *testing.T) {
	pages, err := filepath.Glob("../../docs/runbooks/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("no runbooks: %v", err)
	}
	places := strings.NewReplacer("TIME", "2026-01-01T00:00:00Z", "POSITION", "0:12", "ENTRY", "0123456789abcdef", "PROVIDER", "rte")
	seen := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range typed.FindAllStringSubmatch(string(text), -1) {
			seen++
			parser, err := kong.New(&commands{}, kong.Name("wattledger"), kong.Vars{"version": ""})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := parser.Parse(strings.Fields(places.Replace(m[1]))[1:]); err != nil && !strings.Contains(err.Error(), "no such file") {
				t.Errorf("%s: %s: %v", filepath.Base(page), m[1], err)
			}
		}
	}
	if seen < 50 {
		t.Errorf("only %d commands are found", seen)
	}
}
