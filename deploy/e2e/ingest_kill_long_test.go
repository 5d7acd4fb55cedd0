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
		t.Run("at any instant", func(t *testing.T) { asleep(t, atAnyInstant, inAccounts) })
		t.Run("with its rows stored and the answer on its way", func(t *testing.T) { asleep(t, withAnswer("samples", true), strictly) })
		t.Run("with its rows stored and the answer lost", func(t *testing.T) { asleep(t, withAnswer("samples", false), strictly) })
		t.Run("with its lines stored and the answer on its way", func(t *testing.T) { asleep(t, withAnswer("messages", true), strictly) })
		t.Run("with its lines stored and the answer lost", func(t *testing.T) { asleep(t, withAnswer("messages", false), strictly) })
	}
}

func atAnyInstant(in *ingester, random *rand.Rand) (wake func()) {
	time.Sleep(time.Duration(random.Int64N(int64(300 * time.Millisecond))))
	in.signal(syscall.SIGSTOP)
	return func() { in.signal(syscall.SIGCONT) }
}

// The one thing that no ingester can prevent: its insert lies in the network, or in its own hands, while it loses the partition, and
// reaches the engine after its successor has looked. Rows may stand twice then. Accounts do not change by it, and the repeats
// can be counted.
func TestAnInsertThatComesLateChangesNoAccount(t *testing.T) {
	var late *hold
	asleep(t, func(in *ingester, _ *rand.Rand) func() {
		late = in.toll.hold("samples", false)
		late.wait()
		in.signal(syscall.SIGSTOP)
		return func() {
			late.release(true)
			time.Sleep(200 * time.Millisecond) // it is stored, or found to be stored
			in.signal(syscall.SIGCONT)
		}
	}, inAccounts)
}

// inAccounts is for a sleeper that may have had an insert before it: that one may repeat rows, and no other, until they are
// compacted.
func inAccounts(p *plant, f *fleet, sleeper *ingester) {
	p.t.Helper()
	f.stop()
	p.caughtUp()
	repeated, distinct := p.number("SELECT count() - uniqExact(run, seq, device, tick) FROM samples"), p.number("SELECT uniqExact(run, seq, device, tick) FROM samples")
	p.t.Logf("%d rows are repeated", repeated)
	if want := f.sent() * fleetTicks * fleetDevices; distinct != want {
		p.t.Errorf("%d distinct rows stored, want %d", distinct, want)
	}
	if most := sleeper.toll.widest() * fleetTicks * fleetDevices; repeated > most {
		p.t.Errorf("%d rows stand twice, and one insert of the sleeper had %d at most", repeated, most)
	}
	p.accounted(f)
	if code := p.run("compact").wait(); code != 0 {
		p.t.Errorf("compact ended with %d", code)
	}
	if rows, lines := p.number("SELECT count() - uniqExact(run, seq, device, tick) FROM samples"), p.number("SELECT count() - uniqExact(topic, run, seq, kafka_offset) FROM messages"); rows != 0 || lines != 0 {
		p.t.Errorf("compacted, %d rows and %d lines stand twice", rows, lines)
	}
	p.accounted(f)
}
