package attribution

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/schemas/unit"
)

func TestSplitByLargestRemainder(t *testing.T) {
	f := func(e unit.Millijoules, weights []uint64, want ...unit.Millijoules) {
		t.Helper()
		if got, err := Split(e, weights); err != nil || !slices.Equal(got, want) {
			t.Errorf("Split(%d, %v) = %v, %v; want %v", e, weights, got, err, want)
		}
	}
	f(101, []uint64{1, 2, 1}, 25, 51, 25)     // the millijoule left over goes to the largest remainder
	f(-101, []uint64{1, 2, 1}, -25, -51, -25) // a correction splits like the charge it cancels
	f(1, []uint64{1, 1}, 1, 0)                // ties go to the lower slot
	f(7, []uint64{0, 3}, 0, 7)
	f(0, []uint64{0, 0}, 0, 0)
	if _, err := Split(unit.Millijoules(1), []uint64{0}); err == nil {
		t.Error("energy was split over nobody")
	}
}

func TestSplitConserves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weights := rapid.SliceOfN(rapid.Uint64Range(0, 1<<40), 1, 50).Draw(t, "weights")
		amount := unit.Millijoules(rapid.Int64().Draw(t, "amount"))
		parts, err := Split(amount, weights)
		if err != nil {
			if amount != 0 && !slices.ContainsFunc(weights, func(w uint64) bool { return w > 0 }) {
				return
			}
			t.Fatal(err)
		}
		var sum unit.Millijoules
		for i, p := range parts {
			sum += p
			if weights[i] == 0 && p != 0 {
				t.Fatalf("weight 0 got %d", p)
			}
		}
		if sum != amount {
			t.Fatalf("parts sum to %d, want %d", sum, amount)
		}
	})
}

func TestWhatRemainsIsBoundedCrosswise(t *testing.T) {
	whole := Part{Measured: 100, Low: 1, High: 2}
	held := Part{Measured: 60, Low: 10, High: 30}
	// Where the holder really had 30 more, 30 less remains.
	if got, want := whole.Sub(held), (Part{Measured: 40, Low: 31, High: 12}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
