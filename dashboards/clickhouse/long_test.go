//go:build long

package clickhouse_test

// everyCross tries to cross tenants by every form of every metric, not by one of each.
const everyCross = true
