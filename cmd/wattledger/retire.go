package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/aggregator/clickhouse"
	"github.com/wattledger/wattledger/ingest/fault"
	"github.com/wattledger/wattledger/ingest/inventory"
	"github.com/wattledger/wattledger/ingest/kafka"
	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// retireCmd ends the stay of a node or device.
type retireCmd struct {
	Node   retireNodeCmd   `cmd:"" help:"Stop expecting a node: no hour waits for it any more."`
	Device retireDeviceCmd `cmd:"" help:"Stop expecting a device: it has no time and no energy in the accounts any more."`
}

// returnCmd begins another stay.
type returnCmd struct {
	Node   returnNodeCmd   `cmd:"" help:"Expect a node again."`
	Device returnDeviceCmd `cmd:"" help:"Expect a device again."`
}

// staying is what the four commands have in common.
type staying struct {
	services
	Name   string    `arg:"" help:"The name of the node, or the uuid of the device."`
	At     time.Time `help:"From when on, RFC 3339; now if absent." placeholder:"TIME"`
	Reason string    `help:"Why, for those who read it later." placeholder:"TEXT"`
	Site   string    `help:"The site, where several have a node of this name." placeholder:"ID"`
}

type retireNodeCmd struct {
	staying
	Drain bool `help:"From when on it has no longer declared its samples complete, for a node that is gone already."`
}

// Help shows examples.
func (retireNodeCmd) Help() string {
	return `Examples:
  wattledger retire node node-a --at 2026-02-01T12:00:00Z --reason sold
  wattledger retire node node-a --drain --config /etc/wattledger/wattledger.yaml`
}

// Run states the end.
func (c *retireNodeCmd) Run(ctx context.Context, env *process.Env) error {
	if c.Drain && !c.At.IsZero() {
		return process.Usagef("--drain finds the time by itself; leave out --at")
	}
	return c.state(ctx, env, change{what: "node", done: "retired", to: inventory.Retire, drain: c.Drain})
}

type retireDeviceCmd struct{ staying }

// Help shows examples.
func (retireDeviceCmd) Help() string {
	return `Example:
  wattledger retire device GPU-3f1c --at 2026-02-01T12:00:00Z --reason repair`
}

// Run states the end.
func (c *retireDeviceCmd) Run(ctx context.Context, env *process.Env) error {
	return c.state(ctx, env, change{what: "device", done: "retired", to: inventory.Retire})
}

type returnNodeCmd struct{ staying }

// Help shows examples.
func (returnNodeCmd) Help() string {
	return `Example:
  wattledger return node node-a --at 2026-02-03T08:00:00Z

With --at the time at which it was retired it goes on as if it had not been.`
}

// Run states the beginning.
func (c *returnNodeCmd) Run(ctx context.Context, env *process.Env) error {
	return c.state(ctx, env, change{what: "node", done: "returned", to: inventory.Return})
}

type returnDeviceCmd struct{ staying }

// Help shows examples.
func (returnDeviceCmd) Help() string {
	return `Example:
  wattledger return device GPU-3f1c --at 2026-02-03T08:00:00Z

With --at the time at which it was retired it goes on as if it had not been.`
}

// Run states the beginning.
func (c *returnDeviceCmd) Run(ctx context.Context, env *process.Env) error {
	return c.state(ctx, env, change{what: "device", done: "returned", to: inventory.Return})
}

// change is what is done to the stays of something.
type change struct {
	what, done string
	to         func(stays []record.Stay, at, open unit.Micros, reason string) (record.Stay, error)
	drain      bool
}

// changed is what the command prints with --json.
type changed struct {
	Done   string `json:"done"`
	What   string `json:"what"`
	Name   string `json:"name"`
	Site   string `json:"site"`
	At     string `json:"at"`
	Reason string `json:"reason"`
}

func (c staying) state(ctx context.Context, env *process.Env, do change) error {
	cfg, err := c.load(ctx, env)
	if err != nil {
		return err
	}
	return once(ctx, env, func(ctx context.Context) error {
		db, err := chconn.Open(ctx, cfg.ClickHouse)
		if err != nil {
			return err
		}
		defer db.Close()
		store, err := clickhouse.New(db)
		if err != nil {
			return err
		}
		stay, at, revision, err := c.plan(ctx, store, do, unit.MicrosOf(time.Now()))
		if err != nil {
			return err
		}
		to, err := kafka.NewPublisher(cfg.Kafka, wire.TopicInventory, prometheus.NewRegistry())
		if err != nil {
			return err
		}
		defer to.Close()
		inv := &wl.Inventory{SchemaVersion: wire.SchemaVersion, Revision: revision, Stays: []*wl.Stay{wire.StayTo(stay)}}
		if err := inventory.Publish(ctx, to, []inventory.Message{{Site: stay.Site, Inventory: inv}}); err != nil {
			return err
		}
		r := changed{Done: do.done, What: do.what, Name: c.Name, Site: stay.Site, At: at.Time().Format(time.RFC3339Nano), Reason: c.Reason}
		if env.Flags.JSON {
			return printJSON(env.Stdout, r)
		}
		_, err = fmt.Fprintf(env.Stdout, "%s %s of site %s is %s from %s on, as soon as ingest has stored it\n", do.what, c.Name, stay.Site, do.done, r.At)
		return err
	})
}

// plan is the stay to state, from when on it changes something, and its revision.
func (c staying) plan(ctx context.Context, store *clickhouse.Store, do change, now unit.Micros) (stay record.Stay, at unit.Micros, revision uint64, err error) {
	all, err := store.NodesExpected(ctx)
	if do.what == "device" {
		all, err = store.DevicesExpected(ctx)
	}
	if err != nil {
		return stay, 0, 0, err
	}
	e, err := c.find(all, do.what)
	if err != nil {
		return stay, 0, 0, err
	}
	site, node := e.Stays[0].Site, e.Stays[0].Node
	open, err := store.OpenHour(ctx, site)
	if err != nil {
		return stay, 0, 0, err
	}
	at = now
	if !c.At.IsZero() {
		at = unit.MicrosOf(c.At)
	}
	if do.drain {
		if at, err = store.CompleteUpTo(ctx, site, node); err != nil {
			return stay, 0, 0, err
		}
		if at == 0 {
			return stay, 0, 0, fmt.Errorf("node %s has never declared its samples complete; say with --at from when on it is not expected", node)
		}
		at = max(at, open) // of the hours that are closed it was part, with what was known of it
	}
	stay, err = do.to(e.Stays, at, open, c.Reason)
	return stay, at, max(uint64(now), e.Revision+1), err
}

// find is the one of the name; the error names what may have been meant.
func (c staying) find(all []clickhouse.Expected, what string) (clickhouse.Expected, error) {
	var found []clickhouse.Expected
	var names, sites []string
	for _, e := range all {
		s := e.Stays[0]
		name := s.Node
		if what == "device" {
			name = s.Device
		}
		names = append(names, name)
		if name == c.Name && (c.Site == "" || c.Site == s.Site) {
			found, sites = append(found, e), append(sites, s.Site)
		}
	}
	if len(found) == 1 {
		return found[0], nil
	}
	if len(found) > 1 {
		return clickhouse.Expected{}, fmt.Errorf("%s %s is at the sites %s; say with --site which one is meant", what, c.Name, strings.Join(sites, ", "))
	}
	where := "the inventory"
	if c.Site != "" {
		where = "the inventory of site " + c.Site
	}
	if near := fault.Nearest(c.Name, names); near != "" && near != c.Name {
		return clickhouse.Expected{}, fmt.Errorf("%s %q is not in %s; did you mean %s?", what, c.Name, where, near)
	}
	return clickhouse.Expected{}, fmt.Errorf("%s %q is not in %s; `wattledger status` names the sites, and what was stated lately may still be on its way", what, c.Name, where)
}
