package wire

import (
	"math"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/wattledger/wattledger/schemas/record"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// Column is a packed column of a sample message. On the wire, and in ClickHouse's Native format, it is an array of
// little-endian values of equal width.
type Column struct {
	Name string
	// Width is the bytes of a value: 4 or 8.
	Width int
	// Absent is the value that stands in a row of a device that has none, when the whole column is not in the message.
	Absent []byte
}

// The columns that every message has; those of record.Metrics follow from ColumnMetrics on, in that order.
const (
	ColumnDevice = iota
	ColumnTick
	ColumnEnergyTS
	ColumnMetrics
)

// Columns are all columns of a sample message.
var Columns = allColumns()

// columnOf gives the index into Columns, plus one, of a protobuf field's number.
var columnOf = fieldColumns()

func allColumns() []Column {
	ones := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	nan := order.AppendUint32(nil, math.Float32bits(float32(math.NaN())))
	out := []Column{{"device", 4, ones[:4]}, {"tick_us", 8, ones}, {"energy_ts_us", 8, ones}}
	for _, m := range record.Metrics {
		switch m.Kind {
		case record.Counter:
			out = append(out, Column{m.Name, 8, ones})
		case record.Gauge:
			out = append(out, Column{m.Name, 4, nan})
		case record.Code:
			out = append(out, Column{m.Name, 4, ones[:4]})
		}
	}
	return out
}

func fieldColumns() (out [128]uint8) {
	fields := (&wl.SampleBatch{}).ProtoReflect().Descriptor().Fields()
	for i, c := range Columns {
		out[fields.ByName(protoreflect.Name(c.Name)).Number()] = uint8(i + 1)
	}
	return out
}

// Sheet is a valid sample message whose columns stay where they lie in the message's bytes. All that it holds aliases the
// bytes it was read from, and is good until the next Read.
type Sheet struct {
	SchemaVersion, PeriodMS  uint32
	Site, Node, Driver       []byte
	Run, BootID, PreviousRun []byte
	Sequence, PreviousSeq    uint64
	CompleteUpToUS           int64
	Devices                  []SheetDevice
	Incidents                []*wl.Incident
	// Rows is how many values each column has that is there.
	Rows int
	// Columns are in the order of the package's Columns; nil is a column that the message does not have.
	Columns [][]byte

	value     []byte // of the message, or its canonical form
	canonical []byte // room for that form
	incidents [][]byte
	uuids     map[string]struct{}
}

// SheetDevice is a line of the device table.
type SheetDevice struct {
	UUID   []byte
	Kind   wl.DeviceKind
	Energy wl.EnergySource
}

// Device is the place in the device table that row i names.
func (s *Sheet) Device(i int) uint32 { return order.Uint32(s.Columns[ColumnDevice][4*i:]) }

// Tick is the time of row i in microseconds since 1970.
func (s *Sheet) Tick(i int) int64 { return int64(order.Uint64(s.Columns[ColumnTick][8*i:])) }

func (s *Sheet) energyTS(i int) uint64 { return order.Uint64(s.Columns[ColumnEnergyTS][8*i:]) }
