package simtest

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// day is a scenario with everything that moves, from t0.
const day = `seed %d
start 1735689600000000
node a hgx-b200
node b gb200
node m hgx-b200
mig m 0 3 2 1
series wave 1735689600000000 7000000 0.1 0.9 0.33 0
load a 0 1735689601234000 1735689661111000 training
load a 1 1735689600000000 1735689700000000 inference share=300
load a 1 1735689633333000 1735689700000000 const:0.5 share=700
load a 2 1735689600000000 1735689700000000 loop:wave
load a 3 1735689612345000 1735689690000000 const:1
load b 0 1735689603217000 1735689699999000 training
load b 3 1735689600000000 1735689655555000 inference
load m 0.0 1735689605005000 1735689650050000 training
load m 0.1 1735689600000000 1735689670000000 const:0.4
load m 0.2 1735689620000000 1735689671001000 inference
load m 1 1735689600000000 1735689700000000 idle
reset a 0 1735689640123000
missing a 1 155 1735689620000000 1735689630000000
stuck a 2 156 1735689630000000 1735689640000000
mark 1735689617171000
mark 1735689688888000
`

// The counter is the integral of power: the sum over milliseconds of field 157, which is constant within each.
func TestEnergyIsTheIntegralOfPower(t *testing.T) {
	start(t, fmt.Sprintf(day, 3))
	h := connect(t, "a:5555")
	watch(t, h, 1000, 156, 157)
	var total, atGrid, gridTS int64
	for ms := int64(0); ms < 60000; ms++ {
		now := t0 + ms*1000
		advance(t, "a", now)
		c := latest(t, h, 1, 3, 156)
		if c.ts > now || now-c.ts >= 100000 {
			t.Fatalf("at %d ms the counter is of %d µs", ms, c.ts-now)
		}
		if gridTS != 0 && c.ts != gridTS && c.ts != gridTS+100000 && c.ts-t0 >= 100000 {
			t.Fatalf("the counter moved from %d to %d", gridTS, c.ts)
		}
		if c.ts != gridTS {
			gridTS, atGrid = c.ts, total
		}
		if c.int() != atGrid/1000 {
			t.Fatalf("at %d ms the counter is %d mJ, the integral %d µJ", ms, c.int(), atGrid)
		}
		total += milliwatts(latest(t, h, 1, 3, 157)) // mW over the coming millisecond: µJ
	}
	if atGrid < 40e9 {
		t.Fatalf("only %d µJ in a minute", atGrid)
	}
}

// At a mark that lies on the grid of a device, the counter is the truth.
func TestCounterAgreesWithTruth(t *testing.T) {
	start(t, fmt.Sprintf(day, 3))
	h := connect(t, "a")
	watch(t, h, second, 156)
	advance(t, "a", t0+20*second)
	grid := latest(t, h, 1, 1, 156).ts % 100000
	text := fmt.Sprintf(day, 3)
	for k := range int64(50) {
		text += fmt.Sprintf("mark %d\n", t0+1000000+grid+k*1700000)
	}
	start(t, text)
	h = connect(t, "a")
	watch(t, h, 1000, 156)
	seen := map[int64]int64{}
	for k := range int64(50) {
		at := t0 + 1000000 + grid + k*1700000
		advance(t, "a", at)
		seen[at] = latest(t, h, 1, 1, 156).int()
	}
	real := truth(t)[gpuUUID(t, "a", 1)]
	for at, mj := range seen {
		if uj, have := real[at]; !have || uj/1000 != mj {
			t.Errorf("at %d: counter %d mJ, truth %d µJ (%v)", at, mj, uj, have)
		}
	}
}

// play advances all nodes in the given steps and gives every value and the truth as text.
func play(t testing.TB, seed int, steps []int64) string {
	start(t, fmt.Sprintf(day, seed))
	ids := []uint16{155, 156, 157, 1001, 1002, 1004, 1005, 1009, 1011, 1201, 203, 150, 112, 240, 252, 1130, 1133}
	var out strings.Builder
	for _, node := range []string{"a", "b", "m"} {
		h := connect(t, node)
		f := fields(t, h, "all", ids...)
		var g uintptr
		ok(t, "group", dcgmGroupCreate(h, 5, "everything", &g))
		ok(t, "watch", dcgmWatchFields(h, g, f, 700000, 1000, 0))
		now := t0
		for _, d := range steps {
			now = min(now+d, t0+95*second)
			advance(t, node, now)
		}
		advance(t, node, t0+95*second+123)
		samples, next := since(t, h, g, f, 0)
		fmt.Fprintln(&out, node, next)
		for _, id := range []uint32{0, 1, 2, 3} {
			for _, field := range ids {
				fmt.Fprintln(&out, id, field, samples[pair{id, uint32(field)}])
			}
		}
	}
	fmt.Fprintln(&out, truth(t))
	return out.String()
}

func TestStepsChangeNothing(t *testing.T) {
	want := play(t, 5, nil)
	if want != play(t, 5, nil) {
		t.Fatal("the same scenario played differently")
	}
	if want == play(t, 6, nil) {
		t.Fatal("another seed played the same")
	}
	rapid.Check(t, func(r *rapid.T) {
		steps := rapid.SliceOfN(rapid.Int64Range(0, 9000000), 0, 40).Draw(r, "steps")
		if got := play(t, 5, steps); got != want {
			r.Fatalf("the steps changed what was played")
		}
	})
}

func TestNodesPlayConcurrently(t *testing.T) {
	want := play(t, 9, nil)
	start(t, fmt.Sprintf(day, 9))
	var wg sync.WaitGroup
	for _, node := range []string{"a", "b", "m", "a", "m"} {
		h := connect(t, node)
		watch(t, h, second, 155, 156, 1002)
		wg.Go(func() {
			for k := range int64(950) {
				wlsimAdvance(node, t0+k*100000) // refused where the other goroutine of the node is ahead
				latest(t, h, 1, 0, 156)
			}
			wlsimAdvance(node, t0+95*second+123)
		})
	}
	wg.Wait()
	lines := strings.Split(strings.TrimSpace(want), "\n")
	if got := fmt.Sprint(truth(t)); got != lines[len(lines)-1] {
		t.Errorf("the truth depends on who else plays:\n%s\n%s", got, lines[len(lines)-1])
	}
}

func TestActivityIsTheExactMean(t *testing.T) {
	start(t, fmt.Sprintf(day, 1))
	h := connect(t, "a")
	watch(t, h, 10*second, 1002)
	f := func(gpu uint32, to int64, want float64) {
		t.Helper()
		advance(t, "a", t0+to*second)
		if v := latest(t, h, 1, gpu, 1002); v.status != 0 || math.Abs(v.float()-want) > 1e-12 {
			t.Errorf("at %d s: %v (status %d), want %v", to, v.float(), v.status, want)
		}
	}
	if v := latest(t, h, 1, 2, 1002); v.float() != float64(int64(1)<<47) {
		t.Errorf("before two samples: %v", v.float())
	}
	f(2, 10, (7*0.1+3*0.9)/10)
	f(2, 20, wave(10, 20))
	f(3, 20, (20-12.345)/10)
	f(3, 27, (20-12.345)/10) // not sampled again yet
	f(2, 40, wave(30, 40))
	f(3, 40, 1)
}

// wave is the mean of the scenario's series over [from, to) seconds.
func wave(from, to int) float64 {
	u := []float64{0.1, 0.9, 0.33, 0}
	sum := 0.0
	for s := from; s < to; s++ {
		sum += u[s/7%4]
	}
	return sum / float64(to-from)
}

func TestPowerStaysInBounds(t *testing.T) {
	start(t, fmt.Sprintf(day, 2))
	a, b := connect(t, "a"), connect(t, "b")
	watch(t, a, second, 155, 157)
	watch(t, b, second, 155, 157)
	hot := 0
	for s := range int64(60) {
		advance(t, "a", t0+s*second)
		advance(t, "b", t0+s*second)
		for gpu := range uint32(8) {
			if mw := milliwatts(latest(t, a, 1, gpu, 157)); mw < 10000 || mw > 1000000 {
				t.Fatalf("%d mW", mw)
			}
		}
		if mw := milliwatts(latest(t, b, 1, 0, 157)); mw > 1000000 && mw <= 1200000 {
			hot++
		}
		if mw := milliwatts(latest(t, a, 1, 6, 157)); mw < 130000 || mw > 150000 {
			t.Fatalf("a resting B200 draws %d mW", mw)
		}
	}
	if hot < 40 {
		t.Errorf("a training GB200 was above 1 kW in %d of 60 seconds", hot)
	}
}

func TestInstancesShareTheirGPU(t *testing.T) {
	start(t, fmt.Sprintf(day, 4))
	h := connect(t, "m")
	f := fields(t, h, "f", 155, 156, 203, 1002, 250, 54, 50)
	var g uintptr
	ok(t, "group", dcgmGroupCreate(h, 5, "everything", &g))
	ok(t, "watch", dcgmWatchFields(h, g, f, second, 10, 0))
	advance(t, "m", t0+95*second)
	for _, field := range []uint16{155, 156} {
		if latest(t, h, 1, 0, field).bits() != latest(t, h, 4, 1, field).bits() {
			t.Errorf("field %d of an instance is not the GPU's", field)
		}
	}
	if v := latest(t, h, 1, 0, 203); v.status != 0 || v.int() != 0x7ffffffffffffff2 {
		t.Errorf("203 in MIG mode: %d, %x", v.status, v.int())
	}
	if got := latest(t, h, 4, 0, 50).text(); got != "NVIDIA B200 MIG 3g.90gb" {
		t.Errorf("name of the instance: %q", got)
	}
	if got, want := latest(t, h, 5, 2, 54).text(), migUUID(t, "m", 0, 2); got != want {
		t.Errorf("UUID of the instance: %q, want %q", got, want)
	}
	all := truth(t)
	whole := all[gpuUUID(t, "m", 0)]
	for at, uj := range whole {
		var sum int64
		for i := range int32(3) {
			sum += all[migUUID(t, "m", 0, i)][at]
		}
		// One of seven slices has no instance: its part of the base, at most 20 W, is nobody's.
		left, most := uj-sum, (at-t0)*20
		if left < 0 || left > most+1000 || (at > t0 && left < most/2) {
			t.Errorf("at %d: %d µJ of %d are with no instance, at most %d can be", at, left, uj, most)
		}
	}
}

// The truth of instances is the rule of SCENARIO.md, here from power read at every millisecond.
func TestTruthOfInstancesFollowsTheRule(t *testing.T) {
	start(t, fmt.Sprintf("start %d\nmodel M base=hgx-b200 mig_idle_w=141\nnode n M\nmig n 0 2 3 1\nload n 0.0 %d %d const:0.4\nload n 0.1 %d %d const:0.8\nmark %d\nmark %d\n",
		t0, t0+5*second, t0+25*second, t0+15*second, t0+25*second, t0+14321000, t0+29*second))
	h := connect(t, "n")
	watch(t, h, 1000, 157)
	got := map[int64][3]float64{}
	var part [3]float64
	slices := [3]float64{2, 3, 1}
	for ms := range int64(29001) {
		got[ms] = part
		advance(t, "n", t0+ms*1000)
		p := float64(milliwatts(latest(t, h, 1, 0, 157)))
		weight := slices
		if ms >= 5000 && ms < 15000 {
			weight = [3]float64{1, 0, 0}
		} else if ms >= 15000 && ms < 25000 {
			weight = [3]float64{0.8, 2.4, 0}
		}
		base := min(p, 141000)
		for i := range part {
			part[i] += base*slices[i]/7 + (p-base)*weight[i]/(weight[0]+weight[1]+weight[2])
		}
	}
	all := truth(t)
	for i := range 3 {
		rows := all[migUUID(t, "n", 0, int32(i))]
		for _, ms := range []int64{0, 5000, 14321, 15000, 25000, 29000} {
			if uj, have := rows[t0+ms*1000]; !have || math.Abs(float64(uj)-got[ms][i]) > 20 {
				t.Errorf("instance %d at %d ms: %d µJ (%v), want %.0f", i, ms, uj, have, got[ms][i])
			}
		}
	}
}
