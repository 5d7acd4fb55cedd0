package wire_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// compare reads the bytes as a sheet and by the decoder, and wants the same of both.
func compare(t interface {
	Helper()
	Fatalf(format string, args ...any)
}, s *wire.Sheet, value []byte,
) (accepted bool) {
	t.Helper()
	got := s.Read(value)
	var m wl.SampleBatch
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(value, &m); err != nil {
		if got == nil {
			t.Fatalf("the sheet accepts what the decoder refuses: %v", err)
		}
		return false
	}
	var want, refused *wire.RefusedError
	errors.As(wire.ValidateSamples(&m), &want)
	errors.As(got, &refused)
	if (want == nil) != (got == nil) || want != nil && (refused == nil || *refused != *want) {
		t.Fatalf("the sheet says %v, want %v", got, want)
	}
	if got != nil {
		return false
	}
	if string(s.Site) != m.Site || string(s.Node) != m.Node || string(s.Driver) != m.DriverVersion || !bytes.Equal(s.Run, m.Run) || !bytes.Equal(s.BootID, m.BootId) ||
		!bytes.Equal(s.PreviousRun, m.PreviousRun) || s.Sequence != m.Sequence || s.PreviousSeq != m.PreviousRunLastSequence ||
		s.CompleteUpToUS != m.CompleteUpToUs || s.PeriodMS != m.PeriodMs || s.SchemaVersion != m.SchemaVersion {
		t.Fatalf("the header is %+v, want that of %v", s, &m)
	}
	if len(s.Devices) != len(m.Devices) || len(s.Incidents) != len(m.Incidents) || s.Rows != len(m.TickUs) {
		t.Fatalf("%d devices, %d incidents, %d rows, want %d, %d, %d", len(s.Devices), len(s.Incidents), s.Rows, len(m.Devices), len(m.Incidents), len(m.TickUs))
	}
	for i, d := range m.Devices {
		if g := s.Devices[i]; string(g.UUID) != d.Uuid || g.Kind != d.Kind || g.Energy != d.EnergySource {
			t.Fatalf("device %d is %+v, want %v", i, g, d)
		}
	}
	for i, x := range m.Incidents {
		if !proto.Equal(s.Incidents[i], x) {
			t.Fatalf("incident %d is %v, want %v", i, s.Incidents[i], x)
		}
	}
	for i, want := range laidOut(&m) {
		if !bytes.Equal(s.Columns[i], want) {
			t.Fatalf("column %s is %x, want %x", wire.Columns[i].Name, s.Columns[i], want)
		}
	}
	return true
}

// laidOut are the columns of a decoded message as the wire has them.
func laidOut(m *wl.SampleBatch) [][]byte {
	var out [][]byte
	narrow := func(c []uint32) {
		var b []byte
		for _, v := range c {
			b = binary.LittleEndian.AppendUint32(b, v)
		}
		out = append(out, b)
	}
	wide := func(c []uint64) {
		var b []byte
		for _, v := range c {
			b = binary.LittleEndian.AppendUint64(b, v)
		}
		out = append(out, b)
	}
	narrow(m.Device)
	ticks := make([]uint64, len(m.TickUs))
	for i, t := range m.TickUs {
		ticks[i] = uint64(t)
	}
	wide(ticks)
	wide(m.EnergyTsUs)
	for _, c := range wire.Counters(m) {
		wide(*c)
	}
	for _, c := range wire.Gauges(m) {
		bits := make([]uint32, len(*c))
		for i, v := range *c {
			bits[i] = math.Float32bits(v)
		}
		narrow(bits)
	}
	for _, c := range wire.Codes(m) {
		narrow(*c)
	}
	return out
}

// pieces are the fields of a message with their tags.
func pieces(value []byte) (out [][]byte) {
	for len(value) > 0 {
		_, _, n := protowire.ConsumeField(value)
		out, value = append(out, value[:n]), value[n:]
	}
	return out
}

// However a message is written, and whatever is wrong with it, the sheet reads what the decoder reads.
func TestASheetReadsWhatTheDecoderReads(t *testing.T) {
	base, err := proto.Marshal(golden()["sample"])
	if err != nil {
		t.Fatal(err)
	}
	var s wire.Sheet // of all, as ingest has it
	accepted, canonical := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		list := pieces(base)
		for range rapid.IntRange(0, 3).Draw(t, "changes") {
			i := rapid.IntRange(0, len(list)-1).Draw(t, "field")
			num, typ, n := protowire.ConsumeTag(list[i])
			switch rapid.IntRange(0, 7).Draw(t, "change") {
			case 0: // left out
				list[i] = nil
			case 1: // twice
				list = append(list, list[i])
			case 2: // elsewhere
				j := rapid.IntRange(0, len(list)-1).Draw(t, "with")
				list[i], list[j] = list[j], list[i]
			case 3: // a column in two pieces, or a text of which only the second counts
				if b, _ := protowire.ConsumeBytes(list[i][n:]); typ == protowire.BytesType && len(b) >= 8 {
					list[i] = protowire.AppendBytes(protowire.AppendTag(nil, num, typ), b[:len(b)/2])
					list = append(list, protowire.AppendBytes(protowire.AppendTag(nil, num, typ), b[len(b)/2:]))
				}
			case 4: // a column that is not packed
				if b, _ := protowire.ConsumeBytes(list[i][n:]); typ == protowire.BytesType && num > 18 && num < 55 && len(b) == 16 {
					list[i] = append(protowire.AppendTag(nil, num, protowire.Fixed64Type), b[:8]...)
					list = append(list, append(protowire.AppendTag(nil, num, protowire.Fixed64Type), b[8:]...))
				}
			case 5: // a field that we do not know, or one of a type that we do not expect
				list = append(list, protowire.AppendVarint(protowire.AppendTag(nil, protowire.Number(rapid.IntRange(1, 200).Draw(t, "number")), protowire.VarintType), 5))
			case 7: // a text at the most that it may have, or beyond
				if typ == protowire.BytesType && num <= 12 {
					text := bytes.Repeat([]byte("x"), wire.MaxNameBytes+rapid.IntRange(0, 1).Draw(t, "over"))
					list[i] = protowire.AppendBytes(protowire.AppendTag(nil, num, typ), text)
				}
			case 6: // a byte changed
				if len(list[i]) > 0 {
					changed := bytes.Clone(list[i])
					changed[rapid.IntRange(0, len(changed)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
					list[i] = changed
				}
			}
			if list[i] == nil && len(list) == 1 {
				break
			}
			list = clean(list)
		}
		value := bytes.Join(list, nil)
		if compare(t, &s, value) {
			accepted++
		}
		if bytes.Equal(value, base) {
			canonical++
		}
	})
	if accepted <= canonical {
		t.Errorf("%d messages were accepted, of which %d as they are written usually: the test shows nothing", accepted, canonical)
	}
}

func clean(list [][]byte) (out [][]byte) {
	for _, b := range list {
		if len(b) > 0 {
			out = append(out, b)
		}
	}
	return out
}

func FuzzSheet(f *testing.F) {
	base, err := proto.Marshal(golden()["sample"])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(base)
	for i := range pieces(base) {
		list := pieces(base)
		f.Add(bytes.Join(append(list[:i:i], list[i+1:]...), nil))
		f.Add(bytes.Join(append(list, list[i]), nil))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		var s wire.Sheet
		compare(t, &s, value)
		compare(t, &s, value) // what one reading leaves behind does not reach the next
	})
}

// A node of MIG instances has a long device table; a device that stands twice in it is found there too.
func TestALongDeviceTable(t *testing.T) {
	m := proto.CloneOf(golden()["sample"].(*wl.SampleBatch))
	for i := range 56 {
		m.Devices = append(m.Devices, &wl.DeviceRef{Uuid: fmt.Sprint("MIG-", i+2), Kind: wl.DeviceKind_DEVICE_KIND_MIG, EnergySource: wl.EnergySource_ENERGY_SOURCE_NONE})
	}
	var s wire.Sheet
	for twice, want := range []bool{true, false} {
		if twice == 1 {
			m.Devices[40].Uuid = m.Devices[7].Uuid
		}
		value, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if got := compare(t, &s, value); got != want {
			t.Errorf("accepted: %v, want %v", got, want)
		}
	}
}

// BenchmarkSheet reads a message of 8 devices by the sheet and by the decoder; ticks are 1 and 10 per message.
func BenchmarkSheet(b *testing.B) {
	for _, ticks := range []int{1, 10} {
		m := proto.CloneOf(golden()["sample"].(*wl.SampleBatch))
		m.Incidents, m.Devices, m.Device, m.TickUs, m.EnergyTsUs = nil, nil, nil, nil, nil
		for i := range 8 {
			m.Devices = append(m.Devices, &wl.DeviceRef{Uuid: fmt.Sprintf("GPU-%08x-0000-0000-0000-000000000000", i), Kind: wl.DeviceKind_DEVICE_KIND_GPU, EnergySource: wl.EnergySource_ENERGY_SOURCE_HARDWARE})
		}
		for i := range 8 * ticks {
			m.Device, m.TickUs, m.EnergyTsUs = append(m.Device, uint32(i%8)), append(m.TickUs, 1_767_268_800_000_000+int64(i/8)), append(m.EnergyTsUs, 1_767_268_800_000_000)
		}
		r := rand.New(rand.NewPCG(1, 1))
		for _, c := range wire.Counters(m) {
			*c = nil
			for range m.TickUs {
				*c = append(*c, r.Uint64N(1<<40))
			}
		}
		for _, c := range wire.Gauges(m) {
			*c = nil
			for range m.TickUs {
				*c = append(*c, r.Float32())
			}
		}
		for _, c := range wire.Codes(m) {
			*c = make([]uint32, len(m.TickUs))
		}
		value, err := proto.Marshal(m)
		if err != nil {
			b.Fatal(err)
		}
		rows := float64(len(m.TickUs))
		b.Run(fmt.Sprintf("sheet/%d", ticks), func(b *testing.B) {
			var s wire.Sheet
			for b.Loop() {
				if err := s.Read(value); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
		})
		b.Run(fmt.Sprintf("decoder/%d", ticks), func(b *testing.B) {
			for b.Loop() {
				var m wl.SampleBatch
				if err := proto.Unmarshal(value, &m); err != nil {
					b.Fatal(err)
				}
				if err := wire.ValidateSamples(&m); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
		})
	}
}
