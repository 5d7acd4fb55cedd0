package e2e

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"time"
)

// An ingester is stopped, as happens on a machine that swaps or is moved, for so long that its partitions pass on, and wakes with
// what it had in its hands.
func TestAnIngesterThatSleepsThroughARebalanceStoresNothingTwice(t *testing.T) {
	t.Run("at any instant", func(t *testing.T) { asleep(t, atAnyInstant) })
	t.Run("with its rows stored and the answer on its way", func(t *testing.T) { asleep(t, withAnswer("samples", true)) })
}

func asleep(t *testing.T, fallAsleep func(in *ingester, random *rand.Rand) (wake func())) {
	t.Helper()
	p, f, random := sleepers(t)
	first := p.ingest()
	f.run(20 * time.Millisecond)
	p.until("the first ingester stores", time.Minute, func() bool { return p.number("SELECT count() FROM messages") > 20 })
	wake := fallAsleep(first, random)
	p.overtake()
	wake()
	p.until("the sleeper is back in the group", time.Minute, func() bool { return first.metric("wattledger_kafka_generations_total") > 1 })
	p.storedOnce(f)
}

func sleepers(t *testing.T) (*plant, *fleet, *rand.Rand) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	p := newPlant(t, 2, 5*time.Minute)
	return p, newFleet(p, 4, random), random
}

func atAnyInstant(in *ingester, random *rand.Rand) (wake func()) {
	time.Sleep(time.Duration(random.Int64N(int64(300 * time.Millisecond))))
	in.signal(syscall.SIGSTOP)
	return func() { in.signal(syscall.SIGCONT) }
}

// withAnswer puts the ingester to sleep when the engine has stored and the answer is on its way, where it arrives or is lost.
func withAnswer(table string, arrives bool) func(*ingester, *rand.Rand) func() {
	return func(in *ingester, _ *rand.Rand) func() {
		h := in.toll.hold(table, true)
		h.wait()
		in.signal(syscall.SIGSTOP)
		return func() {
			h.release(arrives)
			in.signal(syscall.SIGCONT)
		}
	}
}

// overtake starts a second ingester and waits until it has committed what a first one could not.
func (p *plant) overtake() {
	p.t.Helper()
	before := p.lag()
	p.ingest()
	p.until("the second ingester takes over", time.Minute, func() bool {
		now := p.lag()
		for partition, l := range before {
			if now[partition].Committed < max(l.End, 1) {
				return false
			}
		}
		return true
	})
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
