// Package workload says who holds which device of this node: it turns what schedulers say into allocations.
//
// It owns the words for that (Hold, Source), the rules from a scheduler's attributes to tenant and project, and the Tracker,
// which compares one full statement of a source with the last and states the difference at once and everything again from
// time to time. It promises that a lost, late or repeated word heals, that no device is ever stated above 1000 thousandths,
// that an allocation's id never changes, and that what no rule names is counted and named instead of left out. How a
// scheduler is asked is left to its source, how messages leave to the publisher, and what a share costs to the aggregator.
package workload
