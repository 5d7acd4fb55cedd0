package ingest_test

import (
	"strings"
	"testing"

	"github.com/wattledger/wattledger/ingest"
	"github.com/wattledger/wattledger/ingest/allocations"
	"github.com/wattledger/wattledger/ingest/inventory"
	"github.com/wattledger/wattledger/ingest/kafka"
	"github.com/wattledger/wattledger/schemas/wire"
)

func TestAFileImportedTwiceAddsNothing(t *testing.T) {
	t.Parallel()
	conn, db := startKafka(t, 1), startDatabase(t)
	publisher := func(topic string) *kafka.Publisher {
		p, err := kafka.NewPublisher(conn, topic, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Close() })
		return p
	}
	toAllocations, toInventory := publisher(wire.TopicAllocation), publisher(wire.TopicInventory)
	allocate := func(csv string) {
		t.Helper()
		f, err := allocations.Parse([]byte(csv))
		if err != nil || len(f.Faults) > 0 {
			t.Fatal(err, f.Faults)
		}
		batches, err := allocations.Messages([]byte(csv), f.Allocations, allocations.Statement{Site: "paris-1", Source: "slurm", CompleteUpTo: 1_769_900_000_000_000})
		if err != nil {
			t.Fatal(err)
		}
		if err := allocations.Publish(t.Context(), toAllocations, batches); err != nil {
			t.Fatal(err)
		}
	}
	const csv = "allocation_id,device,start,end,tenant\na1,GPU-1,2026-01-31T10:00:00Z,2026-01-31T12:00:00Z,t1\na2,GPU-1,2026-01-31T12:00:00Z,,t2\n"
	allocate(csv)
	allocate(csv)
	allocate(strings.Replace(csv, "T12:00:00Z,t1", "T11:00:00Z,t1", 1)) // a correction
	f, err := inventory.Parse([]byte("sites: [{id: paris-1, country: FR, zone: FR, pue: 1.25}]\ntenants: [{id: t1}]\n"))
	if err != nil || len(f.Faults) > 0 {
		t.Fatal(err, f.Faults)
	}
	for range 2 {
		if err := inventory.Publish(t.Context(), toInventory, inventory.Messages(f)); err != nil {
			t.Fatal(err)
		}
	}
	in := start(t, quick(), conn, fixed(db))
	ch := open(t, db)
	until(t, "all messages", func() bool { return one[uint64](t, ch, "SELECT count() FROM messages") == 7 })
	until(t, "counting", func() bool {
		return in.counter(t, "wattledger_ingest_repeats_total", "topic", wire.TopicAllocation) == 1
	})
	for query, want := range map[string]uint64{
		"SELECT count() FROM allocations FINAL":                                               2,
		"SELECT count() FROM allocations FINAL WHERE id = 'a1' AND end_us = 1769857200000000": 1,
		"SELECT count() FROM sites FINAL":                                                     1,
		"SELECT count() FROM tenants FINAL":                                                   1,
		"SELECT count() FROM messages WHERE topic = 'wl.allocation.v1' AND toUnixTimestamp64Micro(complete_up_to) = 1769900000000000": 3,
	} {
		if got := one[uint64](t, ch, query); got != want {
			t.Errorf("%s: %d, want %d", query, got, want)
		}
	}
}

func TestConfigReportsEveryFault(t *testing.T) {
	if err := ingest.DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	c := ingest.DefaultConfig()
	c.Batch.BatchRows, c.Batch.BatchBytes, c.Batch.BatchAge, c.Inserts, c.BackoffMax, c.Consumer.Grace = 0, 0, 0, 0, 0, 0
	c.Consumer.Group.Group = ""
	err := c.Validate()
	if err == nil {
		t.Fatal("a bad configuration is taken")
	}
	for _, want := range []string{"batch_rows", "batch_bytes", "batch_age", "inserts", "backoff_max", "grace", "group"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
}
