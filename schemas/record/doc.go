// Package record names what travels and what is kept: metrics, devices, allocations, entries.
//
// Each record that comes from outside, and each entry, has a Validate that reports every fault at once. Records hold
// integers; the only floats are gauges, which no account is made from.
package record
