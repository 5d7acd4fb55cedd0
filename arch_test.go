package wattledger_test

import (
	"os"
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
