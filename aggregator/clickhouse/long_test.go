//go:build long

package clickhouse

// long has every case run (make test-long).
const long = true
