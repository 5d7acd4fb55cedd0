// Package rapl reads the energy counters of CPU packages and their memory that Linux shows under /sys/class/powercap.
//
// Intel's and AMD's counters have the same files. It owns which zones there are and what they measure, and the size at which
// a counter begins anew. It promises that no zone is inside another that it lists: cores and graphics are parts of their
// package and are left out, and so is the platform zone (psys), which board makers wire as they like. A node is more than
// the sum of these zones, so none of them is called one. Unwrapping and epochs are nodemeter's business.
package rapl
