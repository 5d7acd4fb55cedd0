//go:build long

package e2e

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"time"
)

func TestTwoHundredKillsStoreOnce(t *testing.T) {
	killedIngest(t, 200, uint64(time.Now().UnixNano()), time.Hour)
}

func TestIngestersComeAndGoForLong(t *testing.T) {
	comeAndGo(t, 100, uint64(time.Now().UnixNano()), time.Hour)
}

func TestClickHouseIsAwayForTenMinutes(t *testing.T) {
	troubles(t, 10*time.Minute, time.Minute, time.Hour)
}

func TestADiskIsFullForAMinute(t *testing.T) { fullDisk(t, time.Minute, time.Hour) }

func TestIngestersThatSleepThroughManyRebalances(t *testing.T) {
	for range 5 {
		t.Run("at any instant", func(t *testing.T) { asleep(t, atAnyInstant) })
		t.Run("with its rows stored and the answer on its way", func(t *testing.T) { asleep(t, withAnswer("samples", true)) })
		t.Run("with its rows stored and the answer lost", func(t *testing.T) { asleep(t, withAnswer("samples", false)) })
		t.Run("with its lines stored and the answer on its way", func(t *testing.T) { asleep(t, withAnswer("messages", true)) })
		t.Run("with its lines stored and the answer lost", func(t *testing.T) { asleep(t, withAnswer("messages", false)) })
	}
}

func atAnyInstant(in *ingester, random *rand.Rand) (wake func()) {
	time.Sleep(time.Duration(random.Int64N(int64(300 * time.Millisecond))))
	in.signal(syscall.SIGSTOP)
	return func() { in.signal(syscall.SIGCONT) }
}

// The one thing that no ingester can prevent: its insert lies in the network while it loses the partition, and reaches the engine after
// its successor has looked. Rows may stand twice then. Accounts do not change by it, and the repeats can be counted.
func TestAnInsertThatComesLateChangesNoAccount(t *testing.T) {
	p, f, _ := sleepers(t)
	first := p.ingest()
	f.run(20 * time.Millisecond)
	p.until("the first ingester stores", time.Minute, func() bool { return p.number("SELECT count() FROM messages") > 20 })
	h := first.toll.hold("samples", false)
	at := h.wait()
	first.signal(syscall.SIGSTOP)
	p.overtake()
	h.release(true)
	time.Sleep(200 * time.Millisecond) // the insert is stored, or found to be stored
	first.signal(syscall.SIGCONT)
	p.until("the sleeper is back in the group", time.Minute, func() bool { return first.metric("wattledger_kafka_generations_total") > 1 })
	f.stop()
	p.caughtUp()
	repeated, distinct := p.number("SELECT count() - uniqExact(run, seq, device, tick) FROM samples"), p.number("SELECT uniqExact(run, seq, device, tick) FROM samples")
	t.Logf("%d rows repeated by the late insert of offsets %d to %d", repeated, at.first, at.last)
	if want := f.sent() * fleetTicks * fleetDevices; distinct != want {
		t.Errorf("%d distinct rows stored, want %d", distinct, want)
	}
	if most := (at.last - at.first + 1) * fleetTicks * fleetDevices; repeated > most {
		t.Errorf("%d rows stand twice, though the late insert had %d at most", repeated, most)
	}
	p.accounted(f)
}
