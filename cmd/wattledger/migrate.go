package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/process"
	schema "github.com/wattledger/wattledger/schemas/clickhouse"
)

// migrateCmd applies migrations.
type migrateCmd struct {
	services
	DryRun bool `help:"Say which version the database has and which this program knows, and change nothing."`
}

// Help shows examples.
func (migrateCmd) Help() string {
	return `Examples:
  wattledger migrate --config /etc/wattledger/wattledger.yaml
  wattledger migrate --set cluster=main --dry-run
  wattledger migrate --set retention.samples_days=35`
}

// Run brings the database to the newest schema.
func (c *migrateCmd) Run(ctx context.Context, env *process.Env) error {
	cfg, err := c.load(ctx, env)
	if err != nil {
		return err
	}
	return once(ctx, env, func(ctx context.Context) error {
		v, err := migrate(ctx, cfg, c.DryRun)
		if err != nil {
			return err
		}
		if env.Flags.JSON {
			return printJSON(env.Stdout, v)
		}
		fmt.Fprintf(env.Stdout, "schema version %d of %d, %d migrations applied\n", v.Version, v.Newest, v.Applied)
		return nil
	})
}

// migrated says how far a database is.
type migrated struct {
	Applied int   `json:"applied"`
	Version int64 `json:"version"`
	Newest  int64 `json:"newest"`
}

// migrate creates the database if need be, applies what is missing and brings the tables to the configured retention.
func migrate(ctx context.Context, cfg config, dryRun bool) (migrated, error) {
	flavour := schema.Flavour{Cluster: cfg.Cluster}
	if !dryRun {
		if err := createDatabase(ctx, cfg.ClickHouse, flavour); err != nil {
			return migrated{}, err
		}
	}
	db, err := chconn.OpenDB(ctx, cfg.ClickHouse)
	if err != nil {
		return migrated{}, err
	}
	defer db.Close()
	var out migrated
	if !dryRun {
		applied, err := schema.Migrate(ctx, db, flavour)
		if err != nil {
			return migrated{}, err
		}
		out.Applied = len(applied)
		if _, err := schema.Retain(ctx, db, flavour, cfg.Retention); err != nil {
			return migrated{}, err
		}
	}
	out.Version, out.Newest, err = schema.Version(ctx, db, flavour)
	return out, err
}

func createDatabase(ctx context.Context, cfg chconn.Config, flavour schema.Flavour) error {
	name := cfg.Database
	cfg.Database = "default"
	db, err := chconn.OpenDB(ctx, cfg)
	if err != nil {
		return err
	}
	defer db.Close()
	quoted := "`" + strings.ReplaceAll(strings.ReplaceAll(name, `\`, `\\`), "`", "\\`") + "`"
	if _, err := db.ExecContext(ctx, "CREATE DATABASE IF NOT EXISTS "+quoted+" "+flavour.OnCluster()); err != nil {
		return fmt.Errorf("create database %s: %w", name, err)
	}
	return nil
}
