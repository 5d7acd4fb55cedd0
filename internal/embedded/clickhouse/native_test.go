package clickhouse

import (
	"bytes"
	"encoding/binary"
	"testing"

	chproto "github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2/lib/proto"
	"pgregory.net/rapid"
)

// The client's own encoder says what both revisions look like: turning its revision 0 into 54460 must give what it
// writes as 54460, byte for byte.
func TestNativeIsWhatTheClientWouldWrite(t *testing.T) {
	types := []string{
		"UInt8", "Int64", "Float32", "String", "FixedString(5)", "Nullable(String)", "Array(UInt16)", "Array(Array(Nullable(String)))",
		"Map(String, Int32)", "Array(Map(String, Array(UInt8)))", "Bool",
	}
	rapid.Check(t, func(t *rapid.T) {
		var src, want []byte
		for range rapid.IntRange(0, 3).Draw(t, "blocks") {
			block := proto.NewBlock()
			chosen := rapid.SliceOfN(rapid.SampledFrom(types), 1, 5).Draw(t, "types")
			for _, typ := range chosen {
				if err := block.AddColumn(rapid.StringN(0, 10, 20).Draw(t, "name"), columnType(typ)); err != nil {
					t.Fatal(err)
				}
			}
			for range rapid.IntRange(0, 5).Draw(t, "rows") {
				row := make([]any, len(chosen))
				for i, typ := range chosen {
					row[i] = nativeValue(t, typ)
				}
				if err := block.Append(row...); err != nil {
					t.Fatal(err)
				}
			}
			var old, current chproto.Buffer
			if err := block.Encode(&old, 0); err != nil {
				t.Fatal(err)
			}
			if err := block.Encode(&current, 54460); err != nil {
				t.Fatal(err)
			}
			src, want = append(src, old.Buf...), append(want, current.Buf...)
		}
		got, err := appendNative(nil, src, 54460)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("got  %x\nwant %x\nfrom %x", got, want, src)
		}
	})
}

func nativeValue(t *rapid.T, typ string) any {
	strs, bytesGen := rapid.StringN(0, 8, 300), rapid.SliceOfN(rapid.Byte(), 0, 4)
	switch typ {
	case "UInt8":
		return rapid.Uint8().Draw(t, "v")
	case "Int64":
		return rapid.Int64().Draw(t, "v")
	case "Float32":
		return rapid.Float32().Draw(t, "v")
	case "String":
		return strs.Draw(t, "v")
	case "FixedString(5)":
		return "12345"
	case "Nullable(String)":
		return rapid.Ptr(strs, true).Draw(t, "v")
	case "Array(UInt16)":
		return rapid.SliceOfN(rapid.Uint16(), 0, 4).Draw(t, "v")
	case "Array(Array(Nullable(String)))":
		return rapid.SliceOfN(rapid.SliceOfN(rapid.Ptr(strs, true), 0, 3), 0, 3).Draw(t, "v")
	case "Map(String, Int32)":
		return rapid.MapOfN(strs, rapid.Int32(), 0, 3).Draw(t, "v")
	case "Array(Map(String, Array(UInt8)))":
		return rapid.SliceOfN(rapid.MapOfN(strs, bytesGen, 0, 1), 0, 3).Draw(t, "v")
	default:
		return rapid.Bool().Draw(t, "v")
	}
}

func TestTypeNamesAreParsed(t *testing.T) {
	f := func(name string, shape nativeShape, size uint64, inner int) {
		t.Helper()
		got, err := parseType(name)
		if err != nil || got.shape != shape || got.size != size || len(got.inner) != inner {
			t.Errorf("%s = %+v, %v; want shape %d, size %d, %d inner", name, got, err, shape, size, inner)
		}
	}
	f("DateTime64(6, 'Europe/Paris')", shapeFixed, 8, 0)
	f("Decimal(9, 2)", shapeFixed, 4, 0)
	f("Decimal(10, 2)", shapeFixed, 8, 0)
	f("Decimal(38, 2)", shapeFixed, 16, 0)
	f("Decimal(76, 2)", shapeFixed, 32, 0)
	f("Enum16('it\\'s, (' = 1, 'b)' = 2)", shapeFixed, 2, 0)
	f("Tuple(UInt8, `a ) b` Array(String), c Enum8('x y' = 1), d Tuple(e String))", shapeTuple, 0, 4)
	f("SimpleAggregateFunction(groupUniqArrayArray, Array(String))", shapeArray, 0, 1)
	f("LowCardinality(Nullable(String))", shapeLowCardinality, 0, 1)
	f("Nested(a UInt8, b String)", shapeArray, 0, 1)
	f("MultiPolygon", shapeArray, 0, 1)
	for _, name := range []string{"", "JSON", "Dynamic", "Variant(UInt8, String)", "AggregateFunction(sum, UInt64)", "Array(JSON)", "Array(", "Decimal(x, 2)", "FixedString(-1)", "Array()"} {
		if got, err := parseType(name); err == nil {
			t.Errorf("%q = %+v, want it refused", name, got)
		}
	}
}

func FuzzNative(f *testing.F) {
	f.Add([]byte("\x01\x02\x01a\x06String\x01x\x02yz"))
	f.Add([]byte("\x01\x01\x01c\x1dArray(LowCardinality(String))\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add(append([]byte("\x01\x01\x01c\x0dArray(String)"), binary.LittleEndian.AppendUint64(nil, 1<<62)...))
	f.Fuzz(func(t *testing.T, src []byte) {
		got, err := appendNative(nil, src, 54460)
		if err != nil {
			if e := asException(err); e.Reason != "native" {
				t.Fatalf("%v is no refusal", err)
			}
			return
		}
		if len(got) < len(src) {
			t.Fatalf("%d bytes from %d", len(got), len(src))
		}
		if same, err := appendNative(nil, src, 0); err != nil || !bytes.Equal(same, src) {
			t.Fatalf("revision 0 changes the block: %v", err)
		}
	})
}
