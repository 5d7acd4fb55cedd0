//go:build long

package e2e

import (
	"testing"
	"time"
)

func TestTwoHundredKillsStoreOnce(t *testing.T) {
	killedIngest(t, 200, uint64(time.Now().UnixNano()), time.Hour)
}
