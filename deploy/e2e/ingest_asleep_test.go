package e2e

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"time"
)

// An ingester is stopped, as a machine does that swaps or is moved, for so long that its partitions pass on, and wakes with what it had
// in its hands.
func TestAnIngesterThatSleepsThroughARebalanceStoresNothingTwice(t *testing.T) {
	f := func(name string, fallAsleep func(in *ingester) (wake func())) {
		t.Run(name, func(t *testing.T) {
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			random := rand.New(rand.NewPCG(seed, 0))
			p := newPlant(t, 2, 5*time.Minute)
			fleet := newFleet(p, 4, random)
			sleeper := p.ingest()
			fleet.run(20 * time.Millisecond)
			p.until("the first ingester stores", time.Minute, func() bool { return p.number("SELECT count() FROM messages") > 20 })
			wake := fallAsleep(sleeper)
			p.overtaken(sleeper)
			wake()
			p.until("the sleeper is back in the group", time.Minute, func() bool { return sleeper.metric("wattledger_kafka_generations_total") > 1 })
			p.storedOnce(fleet)
		})
	}
	f("at any instant", func(in *ingester) func() {
		time.Sleep(time.Duration(rand.Int64N(int64(300 * time.Millisecond))))
		in.signal(syscall.SIGSTOP)
		return func() { in.signal(syscall.SIGCONT) }
	})
	held := func(table string, pass bool) func(*ingester) func() {
		return func(in *ingester) func() {
			h := in.toll.hold(table, true)
			h.wait()
			in.signal(syscall.SIGSTOP)
			return func() {
				h.release(pass)
				in.signal(syscall.SIGCONT)
			}
		}
	}
	f("with its rows stored and the answer on its way", held("samples", true))
	f("with its rows stored and the answer lost", held("samples", false))
	f("with its lines stored and the answer on its way", held("messages", true))
}

// overtaken starts a second ingester and waits until it has committed what the first one could not.
func (p *plant) overtaken(sleeper *ingester) (second *ingester) {
	p.t.Helper()
	before := p.lag()
	second = p.ingest()
	p.until("the second ingester takes over", time.Minute, func() bool {
		now := p.lag()
		for partition, l := range before {
			if now[partition].Committed < max(l.End, 1) {
				return false
			}
		}
		return true
	})
	return second
}
