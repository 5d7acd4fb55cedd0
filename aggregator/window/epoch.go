package window

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/wattledger/wattledger/schemas/unit"
)

// Point is one reading of an energy counter: the counter's own time stamp and its value.
type Point struct {
	T unit.Micros
	C unit.Millijoules
	// Boot and Driver: a counter never runs on across a change of the kernel's boot id or the driver's version.
	Boot, Driver string
	// Run is the collector's run and Integral its integral of power: a second opinion that runs on across a reset of the
	// device, but not across runs. NoIntegral when it was not read.
	Run      string
	Integral unit.Millijoules
	// Seen is how often the collector had seen the counter begin anew within its run; UnknownEpoch when it does not say.
	Seen int64
}

// UnknownEpoch is the Seen of a point whose collector does not say. It matches any other.
const UnknownEpoch int64 = -1

// NoIntegral is the Integral of a point at which power could not be read.
const NoIntegral unit.Millijoules = -1

// Epoch is a stretch of readings in which the counter only rises. Points are in order of time and of value.
type Epoch struct {
	ID     unit.Micros // time stamp of the first point
	Points []Point
	// Estimated says that no counter saw this stretch: its two points are the integral of power between two epochs.
	Estimated bool
}

// First and Last are the epoch's outer readings.
func (e Epoch) First() Point { return e.Points[0] }

// Last is the epoch's last reading.
func (e Epoch) Last() Point { return e.Points[len(e.Points)-1] }

// Step says what the readings of one device did besides rising.
type Step struct {
	// ClockSteps counts readings left out of cutting because their time does not rise with their value.
	ClockSteps int
	// Resets counts epochs begun because the counter fell, rose faster than the device can draw, or was seen to begin anew.
	Resets int
}

// headroomPercent is how far above the power limit the mean between two readings may lie before the rise is taken for a
// new epoch: sensors read a little above the limit for short times (design §3: 1.05).
const headroomPercent = 105

// Epochs orders the readings of one device and splits them where the counter cannot have run on: the boot or driver
// changed, the counter fell, it rose faster than limit allows, or the collector saw it begin anew. A gap alone ends no epoch. Repeated readings count
// once, and the order of arrival does not matter. limit 0 means that the limit is not known.
func Epochs(points []Point, limit unit.Milliwatts) ([]Epoch, Step) {
	ps := slices.Clone(points)
	slices.SortFunc(ps, func(a, b Point) int {
		return cmp.Or(cmp.Compare(a.T, b.T), cmp.Compare(a.Boot, b.Boot), cmp.Compare(a.Driver, b.Driver), cmp.Compare(a.C, b.C),
			cmp.Compare(a.Integral, b.Integral), cmp.Compare(a.Run, b.Run), cmp.Compare(a.Seen, b.Seen))
	})
	var out []Epoch
	var step Step
	kept := ps[:0] // what is kept moves to the front; epochs are stretches of it
	begin := 0
	for _, p := range ps {
		if n := len(kept); n > 0 {
			last := kept[n-1]
			switch {
			case last.Boot != p.Boot, last.Driver != p.Driver:
			case p.T == last.T && p.C == last.C:
				continue // the same reading again
			case p.T == last.T:
				step.ClockSteps++ // two values at one instant: the first is used
				continue
			case p.C < last.C, tooFast(last, p, limit), seenAnew(last, p):
				step.Resets++
			default:
				kept = append(kept, p)
				continue
			}
			out = append(out, Epoch{ID: kept[begin].T, Points: kept[begin:n:n]})
			begin = n
		}
		kept = append(kept, p)
	}
	if n := len(kept); n > 0 {
		out = append(out, Epoch{ID: kept[begin].T, Points: kept[begin:n:n]})
	}
	return out, step
}

// Bridge puts an estimated epoch between two epochs of one boot where the collector saw power all along: the energy no
// counter saw. Across a reboot, or where the collector itself was away, nothing is estimated: that is a gap.
func Bridge(epochs []Epoch) []Epoch {
	var out []Epoch
	for i, e := range epochs {
		if i > 0 {
			a, b := epochs[i-1].Last(), e.First()
			if a.Boot == b.Boot && a.Run == b.Run && a.Integral != NoIntegral && b.Integral != NoIntegral &&
				b.Integral > a.Integral && b.T > a.T {
				out = append(out, Epoch{ID: a.T, Estimated: true, Points: []Point{
					{T: a.T, Boot: a.Boot, Driver: b.Driver},
					{T: b.T, C: b.Integral - a.Integral, Boot: a.Boot, Driver: b.Driver},
				}})
			}
		}
		out = append(out, e)
	}
	return out
}

// seenAnew says that the collector saw the counter begin anew between two readings of one run: it stood still for minutes and
// went on from there, say, which its values do not show.
func seenAnew(a, b Point) bool {
	return a.Run == b.Run && a.Seen != b.Seen && a.Seen != UnknownEpoch && b.Seen != UnknownEpoch
}

func tooFast(a, b Point, limit unit.Milliwatts) bool {
	if limit <= 0 {
		return false
	}
	// mJ·10⁸ > mW·µs·105  ⇔  ΔC > 1.05·limit·Δt, in 128 bits.
	lh, ll := bits.Mul64(uint64(b.C-a.C), 100_000_000)
	rh, rl := bits.Mul64(uint64(limit)*headroomPercent, uint64(b.T-a.T))
	return lh > rh || (lh == rh && ll > rl)
}
