// Package nodemeter reads the meters of a node: its power supply, its CPUs, its memory, its superchip modules, its switches.
//
// It owns the loop that asks each source at its own pace, the counters that come of it, and the rule that says which meters
// together are the node. It promises that
//
//   - energy is exact: hardware counters are passed on as read, power is integrated by trapezoid in integers over time that
//     no clock step moves, and the remainder is carried;
//   - nothing is invented: power is not integrated across more than GapPeriods periods, a counter that wraps is unwrapped only
//     where it cannot have wrapped twice, and everything else that breaks a counter ends its epoch;
//   - within an epoch a counter never falls, and epochs of different runs are never the same unless the meter itself says so;
//   - no source waits for another: each has its goroutine and its deadline, and one that does not come back is left alone and
//     counted until it does;
//   - every reading that could not be had is counted by reason and told as a gap with bounds.
//
// The sources are adapters of their own. What the readings are worth to an account is the aggregator's to decide.
package nodemeter
