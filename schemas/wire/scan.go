package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

var order = binary.LittleEndian

// Read fills the sheet from the bytes of a message. It accepts exactly what proto.Unmarshal and ValidateSamples accept,
// and refuses with their words: it returns a *RefusedError, or the decoder's error.
//
// A message as our collectors write it is scanned once, and no value is copied. Any other is brought into that form by the
// decoder first: protobuf allows a packed column to come in pieces.
func (s *Sheet) Read(value []byte) error {
	if s.scan(value) && s.valid() {
		return s.readIncidents()
	}
	var m wl.SampleBatch
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(value, &m); err != nil {
		return fmt.Errorf("%d bytes are not a SampleBatch: %w", len(value), err)
	}
	if err := ValidateSamples(&m); err != nil {
		return err
	}
	var err error
	if s.canonical, err = (proto.MarshalOptions{}).MarshalAppend(s.canonical[:0], &m); err != nil {
		return fmt.Errorf("%d bytes of a SampleBatch cannot be written anew: %w", len(value), err)
	}
	if !s.scan(s.canonical) || !s.valid() {
		return errors.New("a valid SampleBatch cannot be scanned; this is a fault of this program: please report it with the message")
	}
	return s.readIncidents()
}

// scan notes where everything lies. It answers false for bytes that are no message, or one in a form that needs the decoder.
func (s *Sheet) scan(value []byte) bool {
	s.reset(value)
	for rest := value; len(rest) > 0; {
		num, typ, n := consumeTag(rest)
		if n < 0 {
			return false
		}
		rest = rest[n:]
		if num < 1<<7 && columnOf[num] != 0 && typ == protowire.BytesType {
			b, n := protowire.ConsumeBytes(rest)
			if n < 0 || !s.column(int(columnOf[num]-1), b) {
				return false
			}
			rest = rest[n:]
			continue
		}
		n = s.field(num, typ, rest)
		if n < 0 {
			return false
		}
		rest = rest[n:]
	}
	return true
}

// consumeTag is protowire.ConsumeTag with a short way for tags of one and two bytes.
func consumeTag(b []byte) (protowire.Number, protowire.Type, int) {
	switch {
	case b[0] >= 8 && b[0] < 0x80:
		return protowire.Number(b[0] >> 3), protowire.Type(b[0] & 7), 1
	case len(b) > 1 && b[0] >= 0x80 && b[1] < 0x80 && b[1] > 0:
		return protowire.Number(uint(b[0]&0x7f)>>3 | uint(b[1])<<4), protowire.Type(b[0] & 7), 2
	default:
		return protowire.ConsumeTag(b)
	}
}

func (s *Sheet) reset(value []byte) {
	if s.Columns == nil {
		s.Columns = make([][]byte, len(Columns))
	}
	clear(s.Columns)
	clear(s.incidents)
	*s = Sheet{
		value: value, Columns: s.Columns, Devices: s.Devices[:0], incidents: s.incidents[:0], canonical: s.canonical, uuids: s.uuids,
	}
}

// column takes a packed column. Empty is absent; twice needs the decoder.
func (s *Sheet) column(at int, b []byte) bool {
	if s.Columns[at] != nil || len(b)%Columns[at].Width != 0 {
		return false
	}
	if len(b) > 0 {
		s.Columns[at] = b
	}
	return true
}

// field takes a field of the header and returns its length, or a negative number where the decoder has to look.
// A field of another type than we know is one we do not know, and passed over.
func (s *Sheet) field(num protowire.Number, typ protowire.Type, rest []byte) int {
	switch {
	case typ == protowire.BytesType && num <= 14:
		b, n := protowire.ConsumeBytes(rest)
		if n < 0 || !s.bytes(num, b) {
			return -1
		}
		return n
	case typ == protowire.VarintType && num <= 14:
		v, n := protowire.ConsumeVarint(rest)
		switch num {
		case 1:
			s.SchemaVersion = uint32(v)
		case 5:
			s.Sequence = v
		case 8:
			s.PreviousSeq = v
		case 11:
			s.PeriodMS = uint32(v)
		}
		return n
	case typ == protowire.Fixed64Type && num == 10:
		v, n := protowire.ConsumeFixed64(rest)
		s.CompleteUpToUS = int64(v)
		return n
	case num < 1<<7 && columnOf[num] != 0 && typ != protowire.BytesType:
		return -1 // perhaps a column that is not packed
	default:
		return protowire.ConsumeFieldValue(num, typ, rest)
	}
}

func (s *Sheet) bytes(num protowire.Number, b []byte) bool {
	text := func(to *[]byte) bool {
		*to = b
		return utf8.Valid(b)
	}
	switch num {
	case 2:
		return text(&s.Site)
	case 3:
		return text(&s.Node)
	case 4:
		s.Run = b
	case 6:
		s.BootID = b
	case 7:
		s.PreviousRun = b
	case 9:
		return text(&s.Driver)
	case 12:
		return utf8.Valid(b)
	case 13:
		return s.device(b)
	case 14:
		s.incidents = append(s.incidents, b)
	}
	return true
}

// device takes a line of the device table.
func (s *Sheet) device(rest []byte) bool {
	var d SheetDevice
	for len(rest) > 0 {
		num, typ, n := protowire.ConsumeTag(rest)
		if n < 0 {
			return false
		}
		rest = rest[n:]
		switch {
		case typ == protowire.BytesType && (num == 1 || num == 4):
			var b []byte
			if b, n = protowire.ConsumeBytes(rest); !utf8.Valid(b) {
				return false
			}
			if num == 1 {
				d.UUID = b
			}
		case typ == protowire.VarintType && (num == 2 || num == 3):
			var v uint64
			v, n = protowire.ConsumeVarint(rest)
			if num == 2 {
				d.Kind = wl.DeviceKind(int32(v))
			} else {
				d.Energy = wl.EnergySource(int32(v))
			}
		default:
			n = protowire.ConsumeFieldValue(num, typ, rest)
		}
		if n < 0 {
			return false
		}
		rest = rest[n:]
	}
	s.Devices = append(s.Devices, d)
	return true
}

// readIncidents decodes the incidents, which are few. They have been validated unless the message was scanned at once.
func (s *Sheet) readIncidents() error {
	for i, b := range s.incidents {
		m := &wl.Incident{}
		if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(b, m); err != nil {
			return fmt.Errorf("%d bytes are not a SampleBatch: %w", len(s.value), err)
		}
		if err := checkIncident(i, m); err != nil {
			return err
		}
		s.Incidents = append(s.Incidents, m)
	}
	return nil
}

// valid says whether ValidateSamples has nothing against the message; the incidents are left to readIncidents.
func (s *Sheet) valid() bool {
	if len(s.Node) == 0 || len(s.Node) > MaxNameBytes || len(s.Site) == 0 || len(s.Site) > MaxNameBytes ||
		len(s.Run) != RunBytes || len(s.BootID) != RunBytes {
		return false
	}
	s.Rows = len(s.Columns[ColumnTick]) / 8
	for i, c := range s.Columns {
		if c == nil && (i >= ColumnMetrics || s.Rows == 0) {
			continue
		}
		if len(c) != s.Rows*Columns[i].Width {
			return false
		}
	}
	return s.validDevices() && s.validRows() && completeUpTo(s.CompleteUpToUS) == nil
}

func (s *Sheet) validDevices() bool {
	for i := range s.Devices {
		if d := &s.Devices[i]; len(d.UUID) == 0 || d.Kind == 0 || d.Energy == 0 || !knownKind(d.Kind) || !knownSource(d.Energy) {
			return false
		}
	}
	if len(s.Devices) > 16 { // a node of MIG instances
		return s.manyDevicesOnce()
	}
	for i := range s.Devices {
		for j := range i {
			if bytes.Equal(s.Devices[i].UUID, s.Devices[j].UUID) {
				return false
			}
		}
	}
	return true
}

func (s *Sheet) manyDevicesOnce() bool {
	if s.uuids == nil {
		s.uuids = map[string]struct{}{}
	}
	clear(s.uuids)
	for i := range s.Devices {
		s.uuids[string(s.Devices[i].UUID)] = struct{}{}
	}
	return len(s.uuids) == len(s.Devices)
}

func (s *Sheet) validRows() bool {
	var last int64
	var lastDevice uint32
	for i := range s.Rows {
		device, tick := s.Device(i), s.Tick(i)
		if int(device) >= len(s.Devices) || tick < earliest || tick > latest ||
			tick < last || tick == last && device <= lastDevice && i > 0 {
			return false
		}
		if ts := s.energyTS(i); ts != AbsentTime && (ts < earliest || ts > latest) {
			return false
		}
		last, lastDevice = tick, device
	}
	return true
}
