package fleettest

import (
	"github.com/wattledger/wattledger/aggregator/verify"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Late says what came after its time.
type Late struct {
	// Outages are stretches whose samples, by device, or readings, by meter, came in one go afterwards.
	Outages map[string][]Outage
	// Allocations are when those were stated, by id.
	Allocations map[string]unit.Micros
}

// Outage is a stretch of what was read of which nothing was known before Until.
type Outage struct{ From, To, Until unit.Micros }

// Revision is a factor that counts for the hours from From on, but was published at Known.
type Revision struct {
	From, Known unit.Micros
	verify.Factors
}

// NewLate is that nothing came late.
func NewLate() Late {
	return Late{Outages: map[string][]Outage{}, Allocations: map[string]unit.Micros{}}
}

// Outage adds one of a device or a meter.
func (l Late) Outage(of string, o Outage) {
	l.Outages[of] = append(l.Outages[of], o)
}

// Known is when what was read of a device or a meter at t was known.
func (l Late) Known(of string, t unit.Micros) unit.Micros {
	known := t
	for _, o := range l.Outages[of] {
		if t >= o.From && t < o.To {
			known = max(known, o.Until)
		}
	}
	return known
}

// within draws an outage in the fleet's time.
func (f *Fleet) within() Outage {
	var o Outage
	o.From = Begin + unit.Micros(f.rng.Int64N(int64(f.Hours)*int64(unit.Hour)))
	o.To = o.From + unit.Micros(f.rng.Int64N(int64(90*60*unit.Second)))
	o.Until = f.afterwards(o.To)
	return o
}

// afterwards is some time after t, often when hours have closed since.
func (f *Fleet) afterwards(t unit.Micros) unit.Micros {
	return t + unit.Micros(f.rng.Int64N(3*int64(unit.Hour)))
}

// Factors are the editions that count for an hour by what was known at an instant.
func (f *Fleet) Factors(hour, known unit.Micros) verify.Factors {
	var out verify.Factors
	for _, r := range f.Revisions {
		if r.From <= hour && r.Known <= known {
			out = r.Factors
		}
	}
	return out
}
