package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/ingest/allocations"
	"github.com/wattledger/wattledger/ingest/fault"
	"github.com/wattledger/wattledger/ingest/inventory"
	"github.com/wattledger/wattledger/ingest/kafka"
	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
)

// importCmd states what a file says.
type importCmd struct {
	Allocations importAllocationsCmd `cmd:"" help:"State who held which device, from a CSV file."`
	Inventory   importInventoryCmd   `cmd:"" help:"State sites, nodes, devices and tenants, from a YAML file."`
}

type importAllocationsCmd struct {
	services
	File         string    `arg:"" type:"existingfile" help:"The CSV file; docs/allocations-csv.md describes it."`
	Site         string    `required:"" help:"The site that the devices are at." placeholder:"ID"`
	Source       string    `help:"The scheduler that the file comes from, as the inventory's site names it; import if absent." default:"import" placeholder:"NAME"`
	CompleteUpTo time.Time `help:"The source will state nothing more that bears on an instant before this, RFC 3339." placeholder:"TIME"`
}

// Help shows examples.
func (importAllocationsCmd) Help() string {
	return `Examples:
  wattledger import allocations jobs.csv --site fr-1 --source slurm --complete-up-to 2026-02-01T00:00:00Z
  wattledger import allocations jobs.csv --embedded --site fr-demo --json`
}

// imported is what the command prints with --json.
type imported struct {
	File   string        `json:"file"`
	Stated int           `json:"stated"`
	Faults []fault.Fault `json:"faults"`
}

// Run publishes the good rows and names the bad ones.
func (c *importAllocationsCmd) Run(ctx context.Context, env *process.Env) error {
	cfg, err := c.load(ctx, env)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(c.File)
	if err != nil {
		return fmt.Errorf("allocations: %w", err)
	}
	file, err := allocations.Parse(data)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	statement := allocations.Statement{Site: c.Site, Source: c.Source}
	if !c.CompleteUpTo.IsZero() {
		statement.CompleteUpTo = unit.MicrosOf(c.CompleteUpTo)
	}
	batches, err := allocations.Messages(data, file.Allocations, statement)
	if err != nil {
		return process.Usage(err)
	}
	return once(ctx, env, func(ctx context.Context) error {
		to, err := kafka.NewPublisher(cfg.Kafka, wire.TopicAllocation, prometheus.NewRegistry())
		if err != nil {
			return err
		}
		defer to.Close()
		if err := allocations.Publish(ctx, to, batches); err != nil {
			return err
		}
		return told(env, imported{File: c.File, Stated: len(file.Allocations), Faults: file.Faults}, "allocations")
	})
}

type importInventoryCmd struct {
	services
	File string `arg:"" type:"existingfile" help:"The YAML file; docs/inventory-yaml.md describes it."`
}

// Help shows examples.
func (importInventoryCmd) Help() string {
	return `Example:
  wattledger import inventory fleet.yaml --config /etc/wattledger/wattledger.yaml`
}

// Run publishes the good records and names the bad ones.
func (c *importInventoryCmd) Run(ctx context.Context, env *process.Env) error {
	cfg, err := c.load(ctx, env)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(c.File)
	if err != nil {
		return fmt.Errorf("inventory: %w", err)
	}
	file, err := inventory.Parse(data)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	return once(ctx, env, func(ctx context.Context) error {
		to, err := kafka.NewPublisher(cfg.Kafka, wire.TopicInventory, prometheus.NewRegistry())
		if err != nil {
			return err
		}
		defer to.Close()
		if err := inventory.Publish(ctx, to, inventory.Messages(file)); err != nil {
			return err
		}
		stated := len(file.Sites) + len(file.Nodes) + len(file.Devices) + len(file.Tenants)
		return told(env, imported{File: c.File, Stated: stated, Faults: file.Faults}, "records")
	})
}

// told prints what was stated and what was left out; faults are an error after that.
func told(env *process.Env, r imported, what string) error {
	if env.Flags.JSON {
		if r.Faults == nil {
			r.Faults = []fault.Fault{}
		}
		if len(r.Faults) > 0 {
			return &foundError{fmt.Sprintf("%d rows of %s are left out", len(r.Faults), r.File), r}
		}
		return printJSON(env.Stdout, r)
	}
	for _, f := range r.Faults {
		fmt.Fprintf(env.Stderr, "%s: %s\n", r.File, f.Error())
	}
	fmt.Fprintf(env.Stdout, "%d %s stated from %s\n", r.Stated, what, r.File)
	if len(r.Faults) > 0 {
		return fmt.Errorf("%d rows of %s are left out: mend them and import the file again", len(r.Faults), r.File)
	}
	return nil
}

// foundError is an error that has a result beside it: with --json the result is the last line.
type foundError struct {
	text   string
	result any
}

func (e *foundError) Error() string { return e.text }

// Result is what --json prints.
func (e *foundError) Result() any { return e.result }
