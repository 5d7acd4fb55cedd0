package query

// EstimateOf is what a figure has for each unit of GPUs' energy and of devices' time.
func EstimateOf(name string, l LastHour) (energy, time float64, ok bool) {
	return estimates[name].per(l)
}
