package e2e

import (
	"math/rand/v2"
	"testing"
	"time"
)

// Ingest, broker and engine are killed under load, two times in three at the worst instant: after the engine has acknowledged an insert
// and before its offset is committed. In the end nobody can tell.
func TestKilledIngestBrokerAndEngineStoreOnce(t *testing.T) {
	t.Parallel() // it mostly waits
	killedIngest(t, 12, uint64(time.Now().UnixNano()), 5*time.Minute)
}

func killedIngest(t *testing.T, kills int, seed uint64, limit time.Duration) {
	t.Helper()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	p := newPlant(t, 4, limit)
	in := p.ingest()
	f := newFleet(p, 6, random)
	f.run(20 * time.Millisecond)

	between, killed := 0, map[string]int{}
	victims := []string{"ingest", "ingest", "broker", "engine"}
	for i := range kills {
		if i%len(victims) == 0 {
			random.Shuffle(len(victims), func(i, j int) { victims[i], victims[j] = victims[j], victims[i] })
		}
		victim := victims[i%len(victims)]
		killed[victim]++
		strike := func() {
			switch victim {
			case "ingest":
				in.kill()
			case "broker":
				p.broker.kill()
				p.startBroker()
			case "engine":
				p.engine.kill()
				p.startEngine()
			}
		}
		caught := false
		if i%3 < 2 {
			// The answer is held until the offset has been looked at, so that the count below is no guess.
			h := in.toll.hold([]string{"samples", "samples", "messages"}[random.IntN(3)], true)
			at := h.wait()
			strike()
			if caught = p.uncommitted(at); !caught { // on a slow machine the partition may have passed on before the blow
				t.Logf("%s was killed with the answer to %+v under way, which by then is committed", victim, at)
			}
			h.release(random.IntN(2) == 0)
		} else {
			time.Sleep(time.Duration(random.Int64N(int64(500 * time.Millisecond))))
			strike()
			caught = victim == "ingest" && p.ahead()
		}
		if caught {
			between++
		}
		if victim == "ingest" {
			in = p.ingest()
		}
	}
	t.Logf("seed %d: killed %v, %d of %d between the acknowledgement of an insert and its commit", seed, killed, between, kills)
	if 2*between < kills {
		t.Errorf("%d of %d kills fell between acknowledgement and commit, want at least half", between, kills)
	}
	p.storedOnce(f)
}
