//go:build long

package simtest

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// The sanitizers find nothing in a run through most calls, with two threads on each of two nodes.
func TestSanitizers(t *testing.T) {
	for _, kind := range []string{"address,undefined", "thread"} {
		dir := t.TempDir()
		program := filepath.Join(dir, "check")
		args := append([]string{"-g", "-O1", "-fsanitize=" + kind, "-fno-sanitize-recover=all", "-pthread", "-o", program, "../check/check.c"}, sources()...)
		if out, err := exec.Command("cc", args...).CombinedOutput(); err != nil {
			t.Fatalf("compile with %s: %v\n%s", kind, err, out)
		}
		if out, err := exec.Command(program, dir).CombinedOutput(); err != nil {
			t.Errorf("with %s: %v\n%s", kind, err, out)
		}
	}
}
