package clickhouse

import (
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
)

// EngineLists tells on which lists a table or database engine stands.
func EngineLists(name string) (allowed, denied bool) {
	return allowedEngines[strings.ToLower(name)], deniedEngines[strings.ToLower(name)]
}

func columnType(name string) column.Type { return column.Type(name) }
