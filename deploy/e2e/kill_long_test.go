//go:build long

package e2e

import (
	"path/filepath"
	"testing"
	"time"
)

// Many days, killed at many instants.
func TestKillsAtManyInstants(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	want := undisturbed(t)
	for i := range uint64(12) {
		t.Run("services", func(t *testing.T) { disturbed(t, short, want, seed+i, 400*time.Millisecond, 2) })
		t.Run("demo", func(t *testing.T) { completed(t, short, want, seed+i, 8*time.Second, 3) })
	}
	dir := t.TempDir()
	d := day{seed: 11, start: short.start, hours: 12}
	half := played{data: filepath.Join(dir, "data"), out: filepath.Join(dir, "out")}
	half.result = proven(t, d.once(t, half.data, half.out))
	for i := range uint64(4) {
		// Slow enough for a service to count as started in between, so that it may be killed as often as there is time for.
		t.Run("half a day of services", func(t *testing.T) { disturbed(t, d, half, seed+i, 8*time.Second, 100) })
		t.Run("half a day of demos", func(t *testing.T) { completed(t, d, half, seed+i, 30*time.Second, 3) })
	}
}
