// Package meter turns what a device reads into counters that only rise.
//
// It owns the integration on the node (activity, rates and power become totals, in integers, with the remainder
// carried) and the judgement of each value's own time stamp: a value whose stamp did not move is not new, since the
// latest value of DCGM never expires. It promises that a lost reading loses no hardware energy, that a repeated one
// adds nothing, and that a total does not depend on how time was cut. It knows neither clock nor library; epochs,
// estimates and everything that is a decision are left to the aggregator.
//
// After the first rounding (a ratio to 1e-4, power to a milliwatt) there are no floats. Gauges stay as read: no
// account is made from them.
//
// # Gaps
//
// DCGM's ratios and rates are means over one watch interval, which ends at the time stamp. Up to GapPeriods periods
// after the last reading such a mean stands for the whole interval; beyond that it is integrated over one period
// only, since nothing is known about the rest. Power is integrated across a gap of any length by its trapezoid: both
// ends are measured, and a counter that stood still would claim that the device drew nothing. The ticks_read counter
// and the distance of the readings show the gap to whoever accounts it.
package meter
