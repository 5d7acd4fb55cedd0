package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// ErrVersion means that the program and the database are of different versions: migrate the one or upgrade the other. Trying again
// is no use.
var ErrVersion = errors.New("the database's schema is of another version")

// Row is the answer to a question with one row.
type Row interface {
	Scan(dest ...any) error
}

// Check says with ErrVersion whether the database that ask reaches has another schema than this program. On a server of a cluster
// that migrations did not run on nothing is known of the version, and nothing is said.
func Check(ctx context.Context, ask func(ctx context.Context, query string) Row) error {
	var versions, tables uint64
	if err := ask(ctx, "SELECT countIf(name = 'goose_db_version'), countIf(name = 'samples') FROM system.tables WHERE database = currentDatabase()").Scan(&versions, &tables); err != nil {
		return fmt.Errorf("look for the tables: %w", err)
	}
	want, err := Newest()
	switch {
	case err != nil:
		return err
	case versions == 0 && tables == 0:
		return fmt.Errorf("%w: it has no tables and this program needs version %d; run wattledger migrate", ErrVersion, want)
	case versions == 0:
		return nil
	}
	var have int64
	if err := ask(ctx, "SELECT max(version_id) FROM goose_db_version WHERE is_applied = 1").Scan(&have); err != nil {
		return fmt.Errorf("read the schema version: %w", err)
	}
	switch {
	case have < want:
		return fmt.Errorf("%w: it is at %d and this program needs %d; run wattledger migrate", ErrVersion, have, want)
	case have > want:
		return fmt.Errorf("%w: it is at %d and this program knows %d; run a newer wattledger", ErrVersion, have, want)
	}
	return nil
}

// Newest is the version that Migrate brings a database to.
func Newest() (int64, error) {
	names, err := fs.Glob(sources, "migrations/*.sql")
	if err != nil {
		return 0, fmt.Errorf("list migrations: %w", err)
	}
	var newest int64
	for _, name := range names {
		number, _, _ := strings.Cut(strings.TrimPrefix(name, "migrations/"), "_")
		v, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("migration %s does not begin with a number: %w", name, err)
		}
		newest = max(newest, v)
	}
	return newest, nil
}
