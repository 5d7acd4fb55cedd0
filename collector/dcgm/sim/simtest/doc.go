// Package simtest tries the simulated libdcgm from the outside, as a collector and a demo would use it.
//
// It compiles the C sources beside it with the machine's C compiler and loads the result; where there is no compiler the
// tests say so and are skipped. It owns no code that runs in production, and it does not use the collector's binding, so
// that a misreading of the ABI cannot hide on both sides.
package simtest
