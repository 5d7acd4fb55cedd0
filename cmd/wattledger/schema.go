package main

import (
	"fmt"
	"io/fs"

	"github.com/wattledger/wattledger/internal/process"
	schema "github.com/wattledger/wattledger/schemas/clickhouse"
)

// schemaCmd prints migrations, for a database that somebody else looks after.
type schemaCmd struct {
	Cluster string `help:"Name of the ClickHouse cluster. Left out: a single server." placeholder:"NAME"`
}

// Help shows examples.
func (schemaCmd) Help() string {
	return `What migrate would apply to an empty database, in order. Reaches nothing.

Examples:
  wattledger schema
  wattledger schema --cluster main > schema.sql`
}

// Run prints them.
func (c schemaCmd) Run(env *process.Env) error {
	fsys, err := schema.Render(schema.Flavour{Cluster: c.Cluster})
	if err != nil {
		return err
	}
	names, err := fs.Glob(fsys, "*.sql")
	if err != nil {
		return fmt.Errorf("list migrations: %w", err)
	}
	type migration struct {
		Name string `json:"name"`
		SQL  string `json:"sql"`
	}
	var all []migration
	for _, name := range names {
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return fmt.Errorf("read migration: %w", err)
		}
		all = append(all, migration{Name: name, SQL: string(text)})
		if !env.Flags.JSON {
			if _, err := fmt.Fprintf(env.Stdout, "-- %s\n%s\n", name, text); err != nil {
				return fmt.Errorf("write the schema: %w", err)
			}
		}
	}
	if !env.Flags.JSON {
		return nil
	}
	return printJSON(env.Stdout, map[string]any{"cluster": c.Cluster, "migrations": all})
}
