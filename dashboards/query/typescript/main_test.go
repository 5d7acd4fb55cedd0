package main

import (
	"bytes"
	"os"
	"testing"
)

// The types in the browser are those of the source. make generate makes them so.
func TestTheTypesAreCurrent(t *testing.T) {
	want, err := generate("..")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../datasource/src/query.gen.ts")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("dashboards/datasource/src/query.gen.ts is old: make generate")
	}
}
