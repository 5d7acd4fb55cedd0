// Package agent is the collector's loop: it reads at its own pace, meters, stamps, queues and publishes.
//
// It owns the run of one node: its identity, the ticks, the sequence of messages and what it declares complete. It
// promises that messages of a run leave in order without a hole in their sequence, that every tick shows in the
// expected and read counters whether it could be read or not, and that whatever is dropped is counted. It is handed
// its clock, its source and its publisher, and does no I/O of its own; what the numbers mean for an account is left
// to the aggregator.
package agent
