package clickhouse

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/pressly/goose/v3"
)

// Applied is one migration and how it went.
type Applied struct {
	Version int64
	Name    string
}

// Migrate brings the database to the newest schema and says what it applied, in order. It is idempotent.
func Migrate(ctx context.Context, db *sql.DB, f Flavour) ([]Applied, error) {
	provider, err := newProvider(db, f)
	if err != nil {
		return nil, err
	}
	results, err := provider.Up(ctx)
	if err != nil {
		return nil, fmt.Errorf("migrate the database: %w", err)
	}
	var out []Applied
	for _, r := range results {
		out = append(out, Applied{Version: r.Source.Version, Name: r.Source.Path})
	}
	return out, unmeasured(ctx, db, f)
}

// Version is the schema version of the database, and the newest one this program knows.
func Version(ctx context.Context, db *sql.DB, f Flavour) (have, want int64, err error) {
	provider, err := newProvider(db, f)
	if err != nil {
		return 0, 0, err
	}
	have, want, err = provider.GetVersions(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("read the schema version: %w", err)
	}
	return have, want, nil
}

func newProvider(db *sql.DB, f Flavour) (*goose.Provider, error) {
	fsys, err := Render(f)
	if err != nil {
		return nil, err
	}
	provider, err := goose.NewProvider(goose.DialectClickHouse, db, fsys, goose.WithVerbose(false))
	if err != nil {
		return nil, fmt.Errorf("prepare migrations: %w", err)
	}
	return provider, nil
}
