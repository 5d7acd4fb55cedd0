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
	t.Parallel() // it mostly waits
	asleep(t, withAnswer("samples", true), strictly)
}

// asleep has one partition, so that an ingester whose answer is held has nothing else under way.
func asleep(t *testing.T, fallAsleep func(in *ingester, random *rand.Rand) (wake func()), check func(p *plant, f *fleet, sleeper *ingester)) {
	t.Helper()
	p, f, random := sleepers(t)
	first := p.ingest()
	f.run(20 * time.Millisecond)
	p.until("the first ingester stores", time.Minute, func() bool { return p.number("SELECT count() FROM messages") > 20 })
	wake := fallAsleep(first, random)
	p.overtake()
	wake()
	p.until("the sleeper is back in the group", time.Minute, func() bool { return first.metric("wattledger_kafka_generations_total") > 1 })
	check(p, f, first)
}

// strictly is for a sleeper that had no insert before it.
func strictly(p *plant, f *fleet, _ *ingester) { p.storedOnce(f) }

func sleepers(t *testing.T) (*plant, *fleet, *rand.Rand) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	p := newPlant(t, 1, 5*time.Minute)
	return p, newFleet(p, 4, random), random
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
