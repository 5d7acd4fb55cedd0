package smilog

import (
	"context"
	"encoding/csv"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/wattledger/wattledger/schemas/wire"
)

// naive is the trapezoid over all rows of a log, in joules, from nothing but its text.
func naive(t *testing.T, file, column string) *big.Rat {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.TrimLeadingSpace = true
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	power := -1
	for i, name := range rows[0] {
		if name == column {
			power = i
		}
	}
	sum := new(big.Rat)
	var at time.Time
	var watts *big.Rat
	for i, row := range rows[1:] {
		next, err := time.Parse("2006/01/02 15:04:05.000", row[0])
		if err != nil {
			t.Fatal(err)
		}
		w, ok := new(big.Rat).SetString(row[power])
		if !ok {
			t.Fatalf("power %q", row[power])
		}
		if i > 0 {
			mean := new(big.Rat).Add(watts, w)
			mean.Mul(mean, big.NewRat(next.Sub(at).Nanoseconds(), 2_000_000_000))
			sum.Add(sum, mean)
		}
		at, watts = next, w
	}
	return sum
}

// Two logs of a real A100 come to the exact trapezoid over all their rows, whichever column is asked for and however
// the messages are cut.
func TestA100(t *testing.T) {
	files, err := filepath.Glob("../../../shared/data/a100/*.csv")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skip("the shared traces are not beside the repository: no ../shared/data/a100/*.csv")
	}
	for _, file := range files {
		for _, column := range []string{"power.draw", "power.draw.instant"} {
			joules := naive(t, file, column+" [W]")
			for _, rows := range []int{0, 100, 1} {
				f, err := os.Open(file)
				if err != nil {
					t.Fatal(err)
				}
				o := somewhere()
				o.Model, o.Power, o.BatchRows = "A100", column, rows
				l, err := Open(context.Background(), f, file, o)
				if err != nil {
					t.Fatal(err)
				}
				var k kept
				s, err := l.Replay(context.Background(), &k)
				f.Close()
				if err != nil {
					t.Fatal(err)
				}
				if msg := promises(k.batches, s); msg != "" {
					t.Fatal(msg)
				}
				g := s.GPUs[0]
				if got, want := g.EnergyExact(), new(big.Rat).Mul(joules, big.NewRat(1_000_000, 1)); got.Cmp(want) != 0 {
					t.Errorf("%s %s: %s µJ, want %s", file, column, got.RatString(), want.RatString())
				}
				mj := new(big.Rat).Mul(joules, big.NewRat(1000, 1))
				floor := new(big.Int).Quo(mj.Num(), mj.Denom())
				last := k.batches[len(k.batches)-1]
				if n := len(last.TickUs); n == 0 || last.EnergyMj[n-1] != floor.Uint64() || uint64(g.Energy) != floor.Uint64() {
					t.Errorf("%s %s: the counter ends at %v, want the floor %v", file, column, last.EnergyMj, floor)
				}
				if g.CoveragePPM != 1_000_000 || s.BadRows != 0 || g.Limit != 400_000 || wire.ValidateSamples(last) != nil {
					t.Errorf("%s: %+v", file, g)
				}
			}
			t.Logf("%s %s: %s J", filepath.Base(file), column, joules.FloatString(7))
		}
	}
}
