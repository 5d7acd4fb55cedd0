package clickhouse_test

import ch "github.com/ClickHouse/clickhouse-go/v2"

func chNamed(name string, v any) any { return ch.Named(name, v) }
