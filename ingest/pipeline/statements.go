package pipeline

import (
	"crypto/sha256"
	"fmt"

	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

func (p *Pipeline) takeAllocations(m Message) error {
	var msg wl.AllocationBatch
	if err := decode(m.Value, &msg); err != nil {
		return err
	}
	if err := wire.ValidateAllocations(&msg); err != nil {
		return err
	}
	e := Entry{
		Message: m, Run: Run{msg.Site, msg.Source, [wire.RunBytes]byte(msg.Run)}, Seq: msg.Sequence,
		SchemaVersion: msg.SchemaVersion, CompleteUpTo: unit.Micros(msg.CompleteUpToUs), Rows: len(msg.Allocations),
	}
	if e.CompleteUpTo != 0 && (e.CompleteUpTo < earliest || e.CompleteUpTo > latest) {
		return &wire.RefusedError{Reason: wire.ReasonTime, Detail: fmt.Sprintf("complete_up_to is %d µs, which is not between the years 2000 and 2100", e.CompleteUpTo)}
	}
	p.place(&e, nil, nil, func() {
		e.Allocations.From = len(p.batch.Allocations)
		for _, a := range msg.Allocations {
			p.batch.Allocations = append(p.batch.Allocations, revised(msg.Site, a.Revision, wire.AllocationOf(a)))
		}
		e.Allocations.To = len(p.batch.Allocations)
	})
	return nil
}

func (p *Pipeline) takeReadings(m Message) error {
	var msg wl.ReadingBatch
	if err := decode(m.Value, &msg); err != nil {
		return err
	}
	if err := wire.ValidateReadings(&msg); err != nil {
		return err
	}
	e := Entry{
		Message: m, Run: Run{msg.Site, msg.Source, [wire.RunBytes]byte(msg.Run)}, Seq: msg.Sequence,
		SchemaVersion: msg.SchemaVersion, CompleteUpTo: unit.Micros(msg.CompleteUpToUs), Rows: len(msg.Readings),
	}
	p.place(&e, nil, nil, func() { e.Readings = appendTold(&p.batch.Readings, &e, msg.Readings, wire.ReadingOf) })
	return nil
}

// inventorySource stands for the source of an inventory, which has none.
const inventorySource = "inventory"

func (p *Pipeline) takeInventory(m Message) error {
	var msg wl.Inventory
	if err := decode(m.Value, &msg); err != nil {
		return err
	}
	if err := wire.ValidateInventory(&msg); err != nil {
		return err
	}
	// An inventory has no run and no sequence: rows replace rows by revision. Its content is its identity.
	sum := sha256.Sum256(m.Value)
	site := wire.InventorySite(string(m.Key))
	e := Entry{
		Message: m, Run: Run{site, inventorySource, [wire.RunBytes]byte(sum[:])}, SchemaVersion: msg.SchemaVersion,
		Rows: len(msg.Sites) + len(msg.Nodes) + len(msg.Devices) + len(msg.Tenants) + len(msg.Stays),
	}
	b := &p.batch
	appendRevised(&b.Sites, &e.Sites, site, msg.Revision, msg.Sites, wire.SiteOf)
	appendRevised(&b.Nodes, &e.Nodes, site, msg.Revision, msg.Nodes, wire.NodeOf)
	appendRevised(&b.Devices, &e.Devices, site, msg.Revision, msg.Devices, wire.DeviceOf)
	appendRevised(&b.Tenants, &e.Tenants, site, msg.Revision, msg.Tenants, wire.TenantOf)
	appendRevised(&b.Stays, &e.Stays, site, msg.Revision, msg.Stays, wire.StayOf)
	for _, k := range p.stored[m.Offset] {
		if k.Run == e.Run {
			b.Redelivered++
			p.dropRows(&e)
			return nil
		}
	}
	b.Entries = append(b.Entries, e)
	return nil
}

// dropRows takes back the rows of an inventory that was stored already.
func (p *Pipeline) dropRows(e *Entry) {
	b := &p.batch
	b.Sites, b.Nodes, b.Devices, b.Tenants = b.Sites[:e.Sites.From], b.Nodes[:e.Nodes.From], b.Devices[:e.Devices.From], b.Tenants[:e.Tenants.From]
	b.Stays = b.Stays[:e.Stays.From]
}

func revised[T any](site string, revision uint64, v T) Revised[T] {
	return Revised[T]{Site: site, Revision: revision, Value: v}
}

func appendTold[M, T any](to *[]Told[T], e *Entry, list []M, of func(M) T) Range {
	from := len(*to)
	for _, v := range list {
		*to = append(*to, Told[T]{Run: e.Run, Seq: e.Seq, Received: e.Message.Received, Value: of(v)})
	}
	return Range{from, len(*to)}
}

func appendRevised[M, T any](to *[]Revised[T], at *Range, site string, revision uint64, list []M, of func(M) T) {
	at.From = len(*to)
	for _, v := range list {
		*to = append(*to, revised(site, revision, of(v)))
	}
	at.To = len(*to)
}
