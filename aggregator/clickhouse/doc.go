// Package clickhouse reads what closing needs from ClickHouse and writes what it makes.
//
// Set-based work runs in the database. The samples of an hour are too many to be kept: they are read in columns, some devices at a time
// and as bytes, and package series keeps the readings around every edge and every break of a counter, so that of a device-hour a handful
// remains. Exact arithmetic is done by the packages that Store serves.
package clickhouse

import (
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/wattledger/wattledger/aggregator/closing"
	"github.com/wattledger/wattledger/schemas/factor"
)

// Store is the ledger's database.
type Store struct {
	conn   driver.Conn
	models map[string]factor.Model
	// chains say which editions of factors count; without one a zone has factor.DefaultChain.
	chains []factor.Chain
	// supposed are allocations that Suppose has put over those that were stated.
	supposed supposed
	limits   closing.Limits
	// chunkRows is chunkRows, or less in tests.
	chunkRows int
}

// New makes a store over an open connection, which stays the caller's to close.
func New(conn driver.Conn) (*Store, error) {
	models, err := factor.Models()
	if err != nil {
		return nil, err
	}
	return &Store{conn: conn, models: models, limits: closing.DefaultLimits(), chunkRows: chunkRows}, nil
}
