package nvml_test

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/collector/nvml"
	"github.com/wattledger/wattledger/schemas/record"
)

// TestRealGPU compares the energy counter with the integral of power over ten seconds, on whatever the GPUs do meanwhile.
func TestRealGPU(t *testing.T) {
	const variable = "WATTLEDGER_TEST_NVML"
	path := os.Getenv(variable)
	if path == "" {
		t.Skipf("%s is not set: on a machine with an NVIDIA GPU set it to 1, or to the path of %s, and put load on the GPU", variable, nvml.Soname)
	}
	if path == "1" {
		path = ""
	}
	lib, err := nvml.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	cfg := nvml.DefaultConfig()
	cfg.Node = "here"
	source, err := nvml.Open(lib, cfg, slog.New(slog.NewTextHandler(os.Stderr, nil)), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	devices := source.Devices()
	t.Logf("%s: %d devices; unsupported: %v; withheld: %+v", lib.Path(), len(devices), source.Unsupported(), source.Status())

	type sums struct {
		first, last, power meter.Value
		joules, instant    float64
		before             meter.Value
		steps              int // times the counter moved
	}
	seen := make([]sums, len(devices))
	r := meter.NewReadings(len(devices))
	trapezoid := func(a, b meter.Value) float64 {
		if a.At == 0 || b.At <= a.At {
			return 0
		}
		return (a.Float + b.Float) / 2 * float64(b.At-a.At) / 1e6
	}
	var spent time.Duration
	reads := 0
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		r.Reset()
		began := time.Now()
		if err := source.Read(context.Background(), cfg.Now(), r); err != nil {
			t.Fatal(err)
		}
		spent += time.Since(began)
		reads++
		for i := range devices {
			x, row := &seen[i], r.Row(i)
			if e := row[meter.SlotEnergy]; e.At != 0 {
				if x.first.At == 0 {
					x.first = e
				} else if e.Int != x.last.Int {
					x.steps++
				}
				x.last = e
			}
			x.joules += trapezoid(x.power, row[meter.SlotPower])
			x.power = row[meter.SlotPower]
			x.instant += trapezoid(x.before, row[slot(t, 157)])
			x.before = row[slot(t, 157)]
		}
	}
	t.Logf("%d readings, %v each", reads, spent/time.Duration(reads))
	for i, d := range devices {
		x := seen[i]
		if d.Energy != record.EnergyHardware {
			t.Logf("%s %s (%s): energy is %s", d.Kind, d.UUID, d.Model, d.Energy)
			continue
		}
		counter := float64(x.last.Int-x.first.Int) / 1000
		t.Logf("%s (%s, %s): counter %.1f J, which moved %d times; mean power integrated %.1f J, instantaneous %.1f J", d.UUID, d.Model, d.File,
			counter, x.steps, x.joules, x.instant)
		if counter <= 0 {
			t.Errorf("the counter of %s did not rise in ten seconds", d.UUID)
		}
		// Idle GPUs are known to differ widely; what is beyond this is a wrong unit or a wrong field.
		if ratio := counter / x.joules; x.joules > 0 && (ratio < 0.4 || ratio > 2.5) {
			t.Errorf("counter over integral of %s is %.3f", d.UUID, ratio)
		}
	}
}
