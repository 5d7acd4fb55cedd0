package quarantine

import (
	"encoding/binary"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/wattledger/wattledger/ingest/pipeline"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

const noon = 1_767_268_800_000_000 // 2026-01-01T12:00:00Z

func samples() *wl.SampleBatch {
	return &wl.SampleBatch{
		SchemaVersion: 1, Site: "paris-1", Node: "node-a", Run: []byte("0123456789abcdef"), Sequence: 7, BootId: []byte("fedcba9876543210"),
		Devices:    []*wl.DeviceRef{{Uuid: "GPU-1", Kind: wl.DeviceKind_DEVICE_KIND_GPU, EnergySource: wl.EnergySource_ENERGY_SOURCE_HARDWARE}, {Uuid: "GPU 2", Kind: 9}},
		Device:     []uint32{0, 1, 0, 1},
		TickUs:     []int64{noon, noon, noon + 1e6, noon + 1e6},
		EnergyTsUs: []uint64{noon, wire.AbsentTime, noon, noon},
		EnergyMj:   []uint64{5, record.AbsentCounter, 6, 9},
		PowerW:     []float32{1.5, float32(math.NaN()), 2, 3},
		Xid:        []uint32{0, record.AbsentCode, 79, 0},
	}
}

func encode(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDescribe(t *testing.T) {
	d := Describe(wire.TopicSample, encode(t, samples()), 3)
	if d.Kind != "SampleBatch" || d.Fault != "" || d.Rest != "" {
		t.Errorf("%s, fault %q", d.Kind, d.Fault)
	}
	f := func(name string, count int, values ...string) {
		t.Helper()
		i := slices.IndexFunc(d.Fields, func(f Field) bool { return f.Name == name })
		if i < 0 {
			t.Errorf("%s is not there", name)
		} else if got := d.Fields[i]; got.Count != count || !slices.Equal(got.Values, values) {
			t.Errorf("%s has %d values, first %q; want %d, %q", name, got.Count, got.Values, count, values)
		}
	}
	f("node", 1, "node-a")
	f("run", 1, "30313233343536373839616263646566")
	f("sequence", 1, "7")
	f("devices", 2, "uuid=GPU-1 kind=DEVICE_KIND_GPU energy_source=ENERGY_SOURCE_HARDWARE", `uuid="GPU 2" kind=9 (unknown here)`)
	f("tick_us", 4, "1767268800000000 (2026-01-01T12:00:00Z)", "1767268800000000 (2026-01-01T12:00:00Z)", "1767268801000000 (2026-01-01T12:00:01Z)")
	f("energy_ts_us", 4, "1767268800000000 (2026-01-01T12:00:00Z)", "-", "1767268800000000 (2026-01-01T12:00:00Z)")
	f("energy_mj", 4, "5", "-", "6")
	f("power_w", 4, "1.5", "-", "2")
	f("xid", 4, "0", "-", "79")
}

// What stands before a fault is shown, and the rest as bytes.
func TestDescribeShowsWhatStandsBeforeTheFault(t *testing.T) {
	f := func(topic string, value []byte, fault string, fields ...string) {
		t.Helper()
		d := Describe(topic, value, 3)
		var names []string
		for _, f := range d.Fields {
			names = append(names, f.Name)
		}
		if !strings.Contains(d.Fault, fault) || !slices.Equal(names, fields) {
			t.Errorf("%x on %s: fault %q, fields %q; want %q, %q", value, topic, d.Fault, names, fault, fields)
		}
		if d.Read < len(value) && d.Rest == "" {
			t.Errorf("%d of %d bytes are read, and the rest is not shown", d.Read, len(value))
		}
	}
	head := encode(t, &wl.SampleBatch{Site: "s", Node: "n"})
	f(wire.TopicSample, append(slices.Clone(head), 0x22, 0x10, 'x'), "byte 6: in run: ", "site", "node")
	f(wire.TopicSample, append(slices.Clone(head), 0x82, 0x02, 3, 1, 2, 3), "energy_mj: ", "site", "node", "energy_mj")
	f(wire.TopicSample, append(slices.Clone(head), 0x12, 1, 0xff), `site: "\xff" is not UTF-8`, "site", "node")
	f(wire.TopicSample, append(slices.Clone(head), 0x6a, 1, 0xff), "devices: record 0: ", "site", "node", "devices")
	f(wire.TopicSample, append(slices.Clone(head), 0x78, 5, 0x10, 5), "", "site", "node", "field 15 (unknown here)", "field 2 (unknown here)")
	f(wire.TopicSample, []byte("no protobuf at all"), "byte 0: ")
	f("elsewhere", []byte{1}, "is none of ours")
}

func TestDecodeIsTheInverseOfEncode(t *testing.T) {
	r := pipeline.Refusal{
		Message: pipeline.Message{Topic: wire.TopicSample, Partition: 3, Offset: 9, Key: []byte("k"), Value: []byte("v"), Received: noon},
		Reason:  wire.ReasonTime, Detail: "late",
	}
	b, err := Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	want := Kept{
		Position: Position{1, 2}, At: noon + 1, Received: noon, Topic: wire.TopicSample, Partition: 3, Offset: 9, Reason: "time", Detail: "late",
		Key: []byte("k"), Value: []byte("v"), KeyBytes: 1, ValueBytes: 1,
	}
	if got := Decode(Position{1, 2}, noon+1, []byte("k"), b); !reflect.DeepEqual(got, want) || got.Cut() {
		t.Errorf("decoded is %+v, want %+v", got, want)
	}
	r.Message.Value = make([]byte, 1<<20)
	if b, err = Encode(r); err != nil {
		t.Fatal(err)
	}
	if got := Decode(Position{}, 0, nil, b); !got.Cut() || got.ValueBytes != 1<<20 || got.KeyBytes != 1 {
		t.Errorf("of a message that was cut %d and %d bytes are stated, cut: %v", got.KeyBytes, got.ValueBytes, got.Cut())
	}
	if got := Decode(Position{}, 0, nil, []byte("garbage")); got.Reason != ReasonUnreadable || string(got.Value) != "garbage" {
		t.Errorf("garbage is decoded as %+v", got)
	}
}

func TestPositions(t *testing.T) {
	f := func(s string, want Position, ok bool) {
		t.Helper()
		got, err := ParsePosition(s)
		if got != want || (err == nil) != ok || ok && got.String() != s {
			t.Errorf("%q is read as %v, %v", s, got, err)
		}
	}
	f("0:12", Position{0, 12}, true)
	f("3:9223372036854775807", Position{3, math.MaxInt64}, true)
	f("12", Position{}, false)
	f("0:-1", Position{}, false)
	f("0:1:2", Position{}, false)
	f("", Position{}, false)
}

func TestFilterPicks(t *testing.T) {
	k := Kept{At: 10, Topic: wire.TopicSample, Reason: "shape"}
	f := func(filter Filter, want bool) {
		t.Helper()
		if got := filter.Picks(k); got != want {
			t.Errorf("%+v picks: %v", filter, got)
		}
	}
	f(Filter{}, true)
	f(Filter{Reason: "shape", Topic: wire.TopicSample, Since: 10}, true)
	f(Filter{Reason: "time"}, false)
	f(Filter{Topic: wire.TopicReading}, false)
	f(Filter{Since: 11}, false)
}

func TestStates(t *testing.T) {
	run := pipeline.Run{Site: "paris-1", Source: "node-a", ID: [16]byte([]byte("0123456789abcdef"))}
	other := samples()
	other.Sequence = 8
	kept := []Kept{
		{Topic: wire.TopicSample, Value: encode(t, samples())},
		{Topic: wire.TopicSample, Value: encode(t, other)},
		{Topic: wire.TopicSample, Value: []byte("garbage")},
		{Topic: "elsewhere", Value: encode(t, samples())},
	}
	asked := 0
	got, err := States(kept, func(topic string, questions []pipeline.Question) ([]pipeline.Answer, error) {
		if asked++; topic != wire.TopicSample || !reflect.DeepEqual(questions, []pipeline.Question{{Run: run, Seqs: []uint64{7, 8}}}) {
			t.Errorf("asked for %v of %s", questions, topic)
		}
		return []pipeline.Answer{{Run: run, Highest: 9, Stored: []uint64{7}}}, nil
	})
	if want := []State{Stored, Open, Unknown, Unknown}; err != nil || asked != 1 || !slices.Equal(got, want) {
		t.Errorf("states %v, %v, asked %d times; want %v", got, err, asked, want)
	}
}

// Describing says no fault of exactly what a decoder takes, and counts the values that a decoder finds.
func FuzzDescribe(f *testing.F) {
	f.Add(0, encode(f, samples()))
	f.Add(1, encode(f, &wl.AllocationBatch{Site: "s", Source: "x", Run: []byte("0123456789abcdef"), Allocations: []*wl.Allocation{{AllocationId: "a", StartUs: noon}}}))
	f.Add(2, encode(f, &wl.ReadingBatch{Site: "s", Readings: []*wl.Reading{{Meter: "m", Value: -3, Counter: true}}}))
	f.Add(3, encode(f, &wl.Inventory{Revision: 1, Tenants: []*wl.Tenant{{Id: "t", AllowedCountries: []string{"FR", ""}}}}))
	f.Add(0, append(encode(f, samples()), 0x82, 0x02, 3, 1, 2, 3))
	f.Add(0, binary.LittleEndian.AppendUint64([]byte{0x81, 0x02}, 1)) // a column that is not packed
	f.Fuzz(func(t *testing.T, topic int, data []byte) {
		name := pipeline.Topics[uint(topic)%uint(len(pipeline.Topics))]
		d := Describe(name, data, 2)
		m := proto.Clone(kinds[name])
		if err := proto.Unmarshal(data, m); (err == nil) != (d.Fault == "") {
			t.Fatalf("a decoder says %v, and the fault is %q", err, d.Fault)
		} else if err != nil {
			return
		}
		m.ProtoReflect().Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			want := 1
			if fd.IsList() {
				want = v.List().Len()
			}
			i := slices.IndexFunc(d.Fields, func(f Field) bool { return f.Name == string(fd.Name()) })
			if i < 0 || d.Fields[i].Count != want || len(d.Fields[i].Values) > 2 {
				t.Fatalf("%s has %d values; described are %+v", fd.Name(), want, d.Fields)
			}
			return true
		})
	})
}

// Whatever lies in the topic is listed.
func FuzzDecode(f *testing.F) {
	b, err := Encode(pipeline.Refusal{Message: pipeline.Message{Topic: "t", Value: []byte("v")}, Reason: wire.ReasonShape})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		k := Decode(Position{}, unit.Micros(noon), nil, data)
		if k.Reason == ReasonUnreadable && k.Topic == "" && string(k.Value) != string(data) {
			t.Fatal("what cannot be read is not kept")
		}
		if k.KeyBytes < len(k.Key) || k.ValueBytes < len(k.Value) {
			t.Fatalf("a message of %d and %d bytes has %d and %d", k.KeyBytes, k.ValueBytes, len(k.Key), len(k.Value))
		}
	})
}
