package verify

import (
	"fmt"
	"slices"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// CompareCuts holds stored cuts against the samples that they name: both must have been read, and the value must be the one on the line
// between them (design §3). Devices without samples are held to the line alone. Of a device the newest editions are handed over.
func CompareCuts(series map[string]Series, cuts []record.Cut) Comparison {
	type reading struct {
		t unit.Micros
		c unit.Millijoules
	}
	read := map[string]map[reading]bool{}
	for device, s := range series {
		if len(s.Samples) == 0 {
			continue
		}
		read[device] = make(map[reading]bool, len(s.Samples))
		for _, r := range s.Samples {
			if r.At != Absent && r.Energy != Absent {
				read[device][reading{r.At, r.Energy}] = true
			}
		}
	}
	var out Comparison
	x := &exact{}
	for _, c := range cuts {
		fault := ""
		known := func(t unit.Micros, v unit.Millijoules) bool {
			of, any := read[c.Device]
			return !any || of[reading{t, v}]
		}
		switch {
		case !known(c.T0, c.C0):
			fault = fmt.Sprintf("nothing was read of %d mJ at %d", c.C0, c.T0)
		case c.C < c.Low || c.C > c.High:
			fault = fmt.Sprintf("%d mJ is not between its bounds %d and %d", c.C, c.Low, c.High)
		case c.Open && (c.T1 != 0 || c.C != c.C0):
			fault = "it is open, and yet not held at the last reading"
		case c.Open:
		case c.T0 == c.T1 && (c.C != c.C0 || c.C0 != c.C1):
			fault = "it lies at a reading and has another value"
		case c.T0 == c.T1:
		case c.T < c.T0 || c.T > c.T1:
			fault = "it does not lie between the samples that it names"
		case c.C1 != c.C0 && !known(c.T1, c.C1): // an epoch that ended unseen has no sample on the right, and the value of its last
			fault = fmt.Sprintf("nothing was read of %d mJ at %d", c.C1, c.T1)
		case int64(c.C) != x.line(int64(c.T0), int64(c.C0), int64(c.T1), int64(c.C1), int64(c.T)):
			fault = fmt.Sprintf("%d mJ is not on the line between %d at %d and %d at %d", c.C, c.C0, c.T0, c.C1, c.T1)
		}
		if fault != "" {
			out.Cuts++
			out.First = append(out.First, fmt.Sprintf("cut of device %s at %d: %s", c.Device, c.T, fault))
		}
	}
	slices.Sort(out.First)
	out.First = out.First[:min(len(out.First), named)]
	return out
}
