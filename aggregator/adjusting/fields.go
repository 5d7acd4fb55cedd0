package adjusting

import "github.com/wattledger/wattledger/schemas/record"

// additive calls f with each field of an entry that sums over entries. All else are names and attributes. A test holds it to
// record.Entry, so that a field that is added there cannot be forgotten here.
func additive(f func(get func(*record.Entry) *int64)) {
	for _, get := range []func(*record.Entry) *int64{
		func(e *record.Entry) *int64 { return (*int64)(&e.DeviceTime) },
		func(e *record.Entry) *int64 { return (*int64)(&e.Unavailable) },
		func(e *record.Entry) *int64 { return (*int64)(&e.GPU) },
		func(e *record.Entry) *int64 { return (*int64)(&e.CPU) },
		func(e *record.Entry) *int64 { return (*int64)(&e.NodeRest) },
		func(e *record.Entry) *int64 { return (*int64)(&e.ITShared) },
		func(e *record.Entry) *int64 { return (*int64)(&e.Facility) },
		func(e *record.Entry) *int64 { return (*int64)(&e.Measured) },
		func(e *record.Entry) *int64 { return (*int64)(&e.Estimated) },
		func(e *record.Entry) *int64 { return (*int64)(&e.Modelled) },
		func(e *record.Entry) *int64 { return (*int64)(&e.Interpolated) },
		func(e *record.Entry) *int64 { return (*int64)(&e.BoundLow) },
		func(e *record.Entry) *int64 { return (*int64)(&e.BoundHigh) },
		func(e *record.Entry) *int64 { return (*int64)(&e.Uncertainty) },
		func(e *record.Entry) *int64 { return (*int64)(&e.SMActive) },
		func(e *record.Entry) *int64 { return &e.TicksExpected },
		func(e *record.Entry) *int64 { return &e.TicksRead },
		func(e *record.Entry) *int64 { return (*int64)(&e.Carbon) },
		func(e *record.Entry) *int64 { return (*int64)(&e.CarbonMarket) },
		func(e *record.Entry) *int64 { return (*int64)(&e.CarbonEmbodied) },
		func(e *record.Entry) *int64 { return (*int64)(&e.Water) },
		func(e *record.Entry) *int64 { return (*int64)(&e.HeatReused) },
	} {
		f(get)
	}
}

// Sum is a with what b adds to each of its sums; names and attributes are those of a.
func Sum(a, b record.Entry) record.Entry {
	additive(func(get func(*record.Entry) *int64) { *get(&a) += *get(&b) })
	return a
}

// minus is a less b.
func minus(a, b record.Entry) record.Entry {
	additive(func(get func(*record.Entry) *int64) { *get(&a) -= *get(&b) })
	return a
}

// Zero is e with every sum at nought.
func Zero(e record.Entry) record.Entry { return minus(e, e) }

// Same says that two entries agree in every sum.
func Same(a, b record.Entry) bool { return nothing(minus(a, b)) }

// nothing says that every sum is nought.
func nothing(e record.Entry) bool {
	is := true
	additive(func(get func(*record.Entry) *int64) { is = is && *get(&e) == 0 })
	return is
}
