package wire_test

import (
	"bytes"
	"flag"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

var update = flag.Bool("update", false, "write the golden messages anew; a change of theirs is a new major version of the topic")

func id(b byte) []byte { return bytes.Repeat([]byte{b}, wire.RunBytes) }

// golden is one message of each topic with every field set, so that no number or type can move unseen.
func golden() map[string]proto.Message {
	s := &wl.SampleBatch{
		SchemaVersion: 1, Site: "site-1", Node: "node-a", Run: id(1), Sequence: 7, BootId: id(2), PreviousRun: id(3), PreviousRunLastSequence: 41,
		DriverVersion: "580.95.05", CompleteUpToUs: 1_767_268_800_000_000, PeriodMs: 1000, Source: "dcgm",
		Devices: []*wl.DeviceRef{
			{Uuid: "GPU-1", Kind: wl.DeviceKind_DEVICE_KIND_GPU, EnergySource: wl.EnergySource_ENERGY_SOURCE_HARDWARE},
			{Uuid: "MIG-1", Kind: wl.DeviceKind_DEVICE_KIND_MIG, EnergySource: wl.EnergySource_ENERGY_SOURCE_NONE, ParentUuid: "GPU-1"},
		},
		Incidents: []*wl.Incident{{
			Kind: "loss", Reason: "spool_full", DeviceUuid: "GPU-1", FromUs: 1_767_268_700_000_000, ToUs: 1_767_268_800_000_000, Amount: -5, Run: id(6),
			FirstSequence: 12, LastSequence: 13,
		}},
		Device: []uint32{0, 1}, TickUs: []int64{1_767_268_800_000_000, 1_767_268_800_000_000}, EnergyTsUs: []uint64{1_767_268_799_900_000, wire.AbsentTime},
	}
	for i, c := range wire.Counters(s) {
		*c = []uint64{uint64(i+1) << 40, record.AbsentCounter}
	}
	for i, c := range wire.Gauges(s) {
		*c = []float32{float32(i) + 0.5, float32(math.NaN())}
	}
	for i, c := range wire.Codes(s) {
		*c = []uint32{uint32(i + 1), record.AbsentCode}
	}
	return map[string]proto.Message{
		"sample": s,
		"allocation": &wl.AllocationBatch{
			SchemaVersion: 1, Site: "site-1", Source: "slurm", Run: id(4), Sequence: 8, CompleteUpToUs: 1_767_268_800_000_000,
			Allocations: []*wl.Allocation{{
				AllocationId: "a1", DeviceUuid: "GPU-1", Thousandths: 250, StartUs: 1_767_268_800_000_000, EndUs: 1_767_268_800_000_001, Tenant: "tenant-a",
				Project: "p", Workload: "w", ModelId: "m", Purpose: "fine-tuning", SchedulerRef: "job 1", Revision: 2,
			}},
		},
		"reading": &wl.ReadingBatch{
			SchemaVersion: 1, Site: "site-1", Source: "meter", Run: id(5), Sequence: 9, CompleteUpToUs: 1_767_268_800_000_000,
			Readings: []*wl.Reading{{Meter: "m1", Quantity: "site_energy", Unit: "mJ", FromUs: 1, ToUs: 2, Value: -3, Counter: true, Node: "node-a", Method: "counter", Epoch: "e1"}},
		},
		"inventory": &wl.Inventory{
			SchemaVersion: 1, Revision: 3,
			Sites: []*wl.Site{{Id: "site-1", Country: "FR", Zone: "FR", Operator: "Example Cloud SAS", OperatorCountry: "FR", PueThousandths: 1250, AllocationSource: "slurm"}},
			Nodes: []*wl.Node{{Id: "node-a", Site: "site-1", Rack: "r1", Model: "HGX B200", RestMw: 1_200_000, FromUs: 1, ToUs: 2}},
			Devices: []*wl.Device{{
				Uuid: "MIG-1", ParentUuid: "GPU-1", Node: "node-a", Kind: wl.DeviceKind_DEVICE_KIND_MIG, Model: "B200", Serial: "s", Driver: "d", Vbios: "v", Index: 3,
				Slices: 2, EnergySource: wl.EnergySource_ENERGY_SOURCE_NONE, LimitMw: 1_000_000, IdleMw: 140_000, FromUs: 4, ToUs: 5,
			}},
			Tenants: []*wl.Tenant{{Id: "tenant-a", Name: "Tenant A", Sector: "rail", SizeClass: "large", Country: "FR", VatId: "FR00", AllowedCountries: []string{"FR", "SE"}}},
			Stays:   []*wl.Stay{{Site: "site-1", Node: "node-a", DeviceUuid: "MIG-1", FromUs: 6, ToUs: 7, Reason: "sold"}},
		},
		"refused": &wl.Refused{
			SchemaVersion: 1, Topic: wire.TopicSample, Partition: 2, Offset: 11, Reason: string(wire.ReasonShape), Detail: "columns", Key: []byte("node-a"),
			Value: []byte{0xff}, ReceivedUs: 1_767_268_800_000_000, KeyBytes: 6, ValueBytes: 1_000_000,
		},
	}
}

// Messages lie in Kafka for days and in quarantine for longer: what was written by one version is read by the next.
func TestMessagesKeepTheirBytes(t *testing.T) {
	for name, m := range golden() {
		file := filepath.Join("testdata", name+".binpb")
		got, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(file, got, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is written as\n%x, and was as\n%x", name, got, want)
		}
		back := m.ProtoReflect().New().Interface()
		if err := proto.Unmarshal(want, back); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !proto.Equal(back, m) {
			t.Errorf("%s is read back as %v, want %v", name, back, m)
		}
		fields := m.ProtoReflect().Descriptor().Fields()
		for i := range fields.Len() {
			if !m.ProtoReflect().Has(fields.Get(i)) {
				t.Errorf("the golden %s leaves %s out; a field that is not in it may move unseen", name, fields.Get(i).Name())
			}
		}
	}
}

func TestGoldenMessagesAreValid(t *testing.T) {
	g := golden()
	for name, err := range map[string]error{
		"sample":     wire.ValidateSamples(g["sample"].(*wl.SampleBatch)),
		"allocation": wire.ValidateAllocations(g["allocation"].(*wl.AllocationBatch)),
		"inventory":  wire.ValidateInventory(g["inventory"].(*wl.Inventory)),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Column i of the accessors is metric i: ingest and collector rely on the order alone.
func TestColumnsAreInTheOrderOfMetrics(t *testing.T) {
	f := func(metrics []record.Metric, n int, set func(m *wl.SampleBatch, i int)) {
		t.Helper()
		if n != len(metrics) {
			t.Fatalf("%d columns for %d metrics", n, len(metrics))
		}
		for i, metric := range metrics {
			m := &wl.SampleBatch{}
			set(m, i)
			var names []string
			fields := m.ProtoReflect().Descriptor().Fields()
			for k := range fields.Len() {
				if m.ProtoReflect().Has(fields.Get(k)) {
					names = append(names, string(fields.Get(k).Name()))
				}
			}
			if !reflect.DeepEqual(names, []string{metric.Name}) {
				t.Errorf("column %d is %s, want %s", i, strings.Join(names, ", "), metric.Name)
			}
		}
	}
	none := &wl.SampleBatch{}
	f(record.Counters, len(wire.Counters(none)), func(m *wl.SampleBatch, i int) { *wire.Counters(m)[i] = []uint64{1} })
	f(record.Gauges, len(wire.Gauges(none)), func(m *wl.SampleBatch, i int) { *wire.Gauges(m)[i] = []float32{1} })
	f(record.Codes, len(wire.Codes(none)), func(m *wl.SampleBatch, i int) { *wire.Codes(m)[i] = []uint32{1} })
}

func TestRecordsSurviveTheWire(t *testing.T) {
	inventory := golden()["inventory"].(*wl.Inventory)
	f := func(got, want proto.Message) {
		t.Helper()
		if !proto.Equal(got, want) {
			t.Errorf("came back as %v, want %v", got, want)
		}
	}
	f(wire.SiteTo(wire.SiteOf(inventory.Sites[0])), inventory.Sites[0])
	f(wire.NodeTo(wire.NodeOf(inventory.Nodes[0])), inventory.Nodes[0])
	f(wire.DeviceTo(wire.DeviceOf(inventory.Devices[0])), inventory.Devices[0])
	f(wire.TenantTo(wire.TenantOf(inventory.Tenants[0])), inventory.Tenants[0])
	allocation := golden()["allocation"].(*wl.AllocationBatch).Allocations[0]
	f(wire.AllocationTo(wire.AllocationOf(allocation)), allocation)
}
