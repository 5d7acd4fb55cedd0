package clickhouse

import (
	"context"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// changedByFactors finds closed hours that an edition with a higher sequence than the last batch knew says something about, and says
// which sequence is the highest now.
func (s *Store) changedByFactors(_ context.Context, _ record.Site, since uint64, _, _ unit.Micros, _ found) (uint64, error) {
	return since, nil
}
