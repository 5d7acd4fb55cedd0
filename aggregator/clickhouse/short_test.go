//go:build !long

package clickhouse

// long is off: the cases that say most run.
const long = false
