package quarantine

import (
	"encoding/hex"
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// Field is one field of a message: a value, a list of records, or a column with a value per row.
type Field struct {
	Name string `json:"name"`
	// Column says that it has a value per row, List that it is a list of records.
	Column bool `json:"column,omitempty"`
	List   bool `json:"list,omitempty"`
	// Count is how many values there are; 1 for a value.
	Count int `json:"count"`
	// Values are the first of them, as text.
	Values []string `json:"values"`
}

// Description is a message taken apart as far as it goes.
type Description struct {
	// Kind is the message's name; empty when the topic is none of ours.
	Kind string `json:"kind"`
	// Fields are in the order in which they first stand in the bytes.
	Fields []Field `json:"fields"`
	// Fault is what ended the reading or what is no value of its field; empty when the bytes are a message of the kind.
	Fault string `json:"fault,omitempty"`
	// Read is how many bytes were read before it; the rest could not be.
	Read int `json:"read"`
	// Rest is a hex dump of the first bytes of the rest.
	Rest string `json:"rest,omitempty"`
}

// maxRest is how much of what cannot be read is dumped.
const maxRest = 512

// kinds are the messages of the topics.
var kinds = map[string]proto.Message{
	wire.TopicSample: &wl.SampleBatch{}, wire.TopicAllocation: &wl.AllocationBatch{}, wire.TopicReading: &wl.ReadingBatch{},
	wire.TopicInventory: &wl.Inventory{}, wire.TopicRefused: &wl.Refused{},
}

// Describe takes the bytes of a message of the topic apart, with the first values of each column and list. It reads as a
// decoder does, only that what stands before a fault is not lost.
func Describe(topic string, value []byte, first int) Description {
	kind := kinds[topic]
	if kind == nil {
		return Description{Fault: fmt.Sprintf("topic %q is none of ours", topic), Rest: dump(value)}
	}
	md := kind.ProtoReflect().Descriptor()
	d := describer{first: first, at: map[protowire.Number]int{}, out: Description{Kind: string(md.Name())}}
	total := len(value)
	for len(value) > 0 {
		n, err := d.field(md, value)
		if err != nil {
			d.fault("byte %d: %v", total-len(value), err)
			d.out.Rest = dump(value)
			break
		}
		value = value[n:]
	}
	d.out.Read = total - len(value)
	return d.out
}

func dump(b []byte) string {
	if len(b) > maxRest {
		return hex.Dump(b[:maxRest]) + fmt.Sprintf("… and %d bytes more\n", len(b)-maxRest)
	}
	return hex.Dump(b)
}

type describer struct {
	first int
	at    map[protowire.Number]int // where a field is in out.Fields
	out   Description
}

// fault notes the first.
func (d *describer) fault(format string, args ...any) {
	if d.out.Fault == "" {
		d.out.Fault = fmt.Sprintf(format, args...)
	}
}

// field reads one field off the front and says how many bytes it takes.
func (d *describer) field(md protoreflect.MessageDescriptor, b []byte) (int, error) {
	num, typ, tag := protowire.ConsumeTag(b)
	if tag < 0 {
		return 0, protowire.ParseError(tag)
	}
	if num > protowire.MaxValidNumber {
		return 0, fmt.Errorf("there is no field %d", num)
	}
	size := protowire.ConsumeFieldValue(num, typ, b[tag:])
	if size < 0 {
		err := protowire.ParseError(size)
		if fd := md.Fields().ByNumber(num); fd != nil {
			return 0, fmt.Errorf("in %s: %w", fd.Name(), err)
		}
		return 0, fmt.Errorf("in field %d: %w", num, err)
	}
	fd, body := md.Fields().ByNumber(num), b[tag:tag+size]
	if fd == nil || !d.known(fd, typ, body) {
		f := d.of(-num, fmt.Sprintf("field %d (unknown here)", num)) // apart from the field of that number with its own type
		d.add(f, fmt.Sprintf("%d bytes", size))
	}
	return tag + size, nil
}

// known reads a field we have a name for; false when its bytes are of another type, which a decoder passes over as well.
func (d *describer) known(fd protoreflect.FieldDescriptor, typ protowire.Type, body []byte) bool {
	want, packed := wireType(fd.Kind()), fd.IsList() && fd.IsPacked()
	switch {
	case typ == want:
	case packed && typ == protowire.BytesType:
		inner, _ := protowire.ConsumeBytes(body)
		f := d.of(fd.Number(), string(fd.Name()))
		f.Column = true
		for len(inner) > 0 {
			text, n := d.scalar(fd, inner)
			if n < 0 {
				d.fault("%s: %v after %d values", fd.Name(), protowire.ParseError(n), f.Count)
				break
			}
			inner = inner[n:]
			d.add(f, text)
		}
		return true
	default:
		return false
	}
	text, _ := d.scalar(fd, body)
	f := d.of(fd.Number(), string(fd.Name()))
	switch {
	case packed:
		f.Column = true
		d.add(f, text)
	case fd.IsList():
		f.List = true
		d.add(f, text)
	default:
		f.Count, f.Values = 1, []string{text} // the last one counts
	}
	return true
}

// scalar reads one value as text, with how many bytes it took.
func (d *describer) scalar(fd protoreflect.FieldDescriptor, b []byte) (string, int) {
	switch wireType(fd.Kind()) {
	case protowire.VarintType:
		v, n := protowire.ConsumeVarint(b)
		return varint(fd, v), n
	case protowire.Fixed32Type:
		v, n := protowire.ConsumeFixed32(b)
		return fixed32(fd, v), n
	case protowire.Fixed64Type:
		v, n := protowire.ConsumeFixed64(b)
		return fixed64(fd, v), n
	default:
		v, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return "", n
		}
		switch fd.Kind() {
		case protoreflect.StringKind:
			if !utf8.Valid(v) {
				d.fault("%s: %q is not UTF-8", fd.Name(), v)
			}
			return quoted(string(v)), n
		case protoreflect.MessageKind:
			return d.record(fd, v), n
		default:
			return hex.EncodeToString(v), n
		}
	}
}

// record is a message within the message, in one line.
func (d *describer) record(fd protoreflect.FieldDescriptor, b []byte) string {
	m := dynamicpb.NewMessage(fd.Message())
	if err := proto.Unmarshal(b, m); err != nil {
		d.fault("%s: record %d: %v", fd.Name(), d.of(fd.Number(), string(fd.Name())).Count, err)
		return fmt.Sprintf("%d bytes that are no %s", len(b), fd.Message().Name())
	}
	return line(m)
}

// of is the field of the number, made when it is met first.
func (d *describer) of(num protowire.Number, name string) *Field {
	i, ok := d.at[num]
	if !ok {
		i = len(d.out.Fields)
		d.at[num] = i
		d.out.Fields = append(d.out.Fields, Field{Name: name, Values: []string{}})
	}
	return &d.out.Fields[i]
}

func (d *describer) add(f *Field, text string) {
	if f.Count < d.first {
		f.Values = append(f.Values, text)
	}
	f.Count++
}

func wireType(k protoreflect.Kind) protowire.Type {
	switch k {
	case protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind, protoreflect.FloatKind:
		return protowire.Fixed32Type
	case protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind, protoreflect.DoubleKind:
		return protowire.Fixed64Type
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.MessageKind:
		return protowire.BytesType
	default:
		return protowire.VarintType
	}
}
