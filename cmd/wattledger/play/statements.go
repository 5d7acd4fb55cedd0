package play

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/wattledger/wattledger/cmd/wattledger/fleet"
	"github.com/wattledger/wattledger/ingest/kafka"
	"github.com/wattledger/wattledger/internal/kafkaconn"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// Office states a fleet's inventory, allocations and meters over Kafka, as an operator, the sites' schedulers and their building
// management would.
type Office struct {
	inventory, allocations, readings *kafka.Publisher
	// sequence counts the messages of each source.
	sequence map[string]uint64
}

// NewOffice prepares an office; nothing is dialled before the first statement. Close it when done.
func NewOffice(conn kafkaconn.Config) (*Office, error) {
	inventory, err := kafka.NewPublisher(conn, wire.TopicInventory, prometheus.NewRegistry())
	if err != nil {
		return nil, err
	}
	allocations, err := kafka.NewPublisher(conn, wire.TopicAllocation, prometheus.NewRegistry())
	if err != nil {
		return nil, errors.Join(err, inventory.Close())
	}
	readings, err := kafka.NewPublisher(conn, wire.TopicReading, prometheus.NewRegistry())
	if err != nil {
		return nil, errors.Join(err, inventory.Close(), allocations.Close())
	}
	return &Office{inventory: inventory, allocations: allocations, readings: readings, sequence: map[string]uint64{}}, nil
}

// Close waits for what is under way.
func (o *Office) Close() error {
	return errors.Join(o.inventory.Close(), o.allocations.Close(), o.readings.Close())
}

// Fleet states sites, nodes and tenants. A later play's statement replaces an earlier one's.
func (o *Office) Fleet(ctx context.Context, f *fleet.Fleet) error {
	o.sequence = map[string]uint64{} // each fleet is a run of its own
	inv := &wl.Inventory{SchemaVersion: wire.SchemaVersion, Revision: uint64(f.Start)}
	for _, s := range f.Sites {
		inv.Sites = append(inv.Sites, wire.SiteTo(s))
	}
	for _, n := range f.Nodes {
		inv.Nodes = append(inv.Nodes, wire.NodeTo(n.Node))
	}
	for _, t := range f.Tenants {
		inv.Tenants = append(inv.Tenants, wire.TenantTo(t))
	}
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(inv)
	if err != nil {
		return fmt.Errorf("encode inventory: %w", err)
	}
	return o.inventory.Publish(ctx, []byte(f.Name), value)
}

// Allocations states what begins and ends in [from, to): a beginning without its end, which comes when it comes.
func (o *Office) Allocations(ctx context.Context, f *fleet.Fleet, from, to unit.Micros) error {
	sites := map[string]string{}
	for _, n := range f.Nodes {
		sites[n.ID] = n.Site
	}
	within := func(t unit.Micros) bool { return t >= from && t < to }
	for _, s := range f.Sites {
		b := &wl.AllocationBatch{
			SchemaVersion: wire.SchemaVersion, Site: s.ID, Source: s.AllocationSource, Sequence: o.sequence[s.ID], CompleteUpToUs: int64(to),
		}
		run := f.Identity("scheduler", s.ID)
		b.Run = run[:]
		state := func(a record.Allocation) { b.Allocations = append(b.Allocations, wire.AllocationTo(a)) }
		for _, l := range f.Loads {
			if sites[l.Node] != s.ID {
				continue
			}
			if within(l.Start) {
				begun := l.Allocation
				begun.End, begun.Revision = 0, 1
				state(begun)
			}
			if l.End != 0 && within(l.End) {
				ended := l.Allocation
				ended.Revision = 2
				state(ended)
			}
		}
		value, err := proto.MarshalOptions{Deterministic: true}.Marshal(b)
		if err != nil {
			return fmt.Errorf("encode allocations of %s: %w", s.ID, err)
		}
		if err := o.allocations.Publish(ctx, []byte(s.ID), value); err != nil {
			return err
		}
		o.sequence[s.ID]++
	}
	return nil
}

// Readings states what the meters of a site read, and that there is nothing more to come before to.
func (o *Office) Readings(ctx context.Context, f *fleet.Fleet, site string, readings []record.Reading, to unit.Micros) error {
	source := ""
	for _, s := range f.Sites {
		if s.ID == site {
			source = s.ReadingSource
		}
	}
	run := f.Identity("meters", site)
	b := &wl.ReadingBatch{
		SchemaVersion: wire.SchemaVersion, Site: site, Source: source, Run: run[:], Sequence: o.sequence[source], CompleteUpToUs: int64(to),
	}
	for _, r := range readings {
		b.Readings = append(b.Readings, wire.ReadingTo(r))
	}
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(b)
	if err != nil {
		return fmt.Errorf("encode readings of %s: %w", site, err)
	}
	if err := o.readings.Publish(ctx, []byte(site), value); err != nil {
		return err
	}
	o.sequence[source]++
	return nil
}
