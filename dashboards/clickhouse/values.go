package clickhouse

import (
	"context"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/wattledger/wattledger/dashboards/query"
)

// Values are the choices of a variable: values of a dimension that the scope may see, whose text holds match, in order of text.
func (s *Store) Values(ctx context.Context, scope query.Scope, d query.Dimension, filters []query.Filter, match string, limit int) ([]query.Value, error) {
	st, err := query.Choices(scope, d, filters, match, limit)
	if err != nil {
		return nil, err
	}
	out := []query.Value{}
	err = s.rows(ctx, st.SQL, st.Args, false, func(rows driver.Rows) error {
		for rows.Next() {
			var v query.Value
			if err := rows.Scan(&v.Text, &v.Value); err != nil {
				return err
			}
			out = append(out, v)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the values of %s: %w", d, err)
	}
	return out, nil
}
