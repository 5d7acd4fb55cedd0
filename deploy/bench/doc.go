// Package bench measures the programs as they are shipped, against a peer or a limit of the same run.
//
// It owns the figures of docs/benchmarks.md that need a whole process: its CPU, its memory, what leaves it. It promises that a
// figure comes from this run, and that what the simulator costs is told apart from what the collector costs. It holds
// nothing but tests with the build tag bench; `make bench-collector`, `make soak`, `make bench-ingest`, `make bench-fleet`, `make bench-ledger` and `make bench-grafana` run them.
package bench
