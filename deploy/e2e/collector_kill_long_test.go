//go:build long

package e2e

import (
	"testing"
	"time"
)

func TestACollectorKilledFiftyTimesLosesNothing(t *testing.T) {
	killedCollector(t, 50, uint64(time.Now().UnixNano()))
}
