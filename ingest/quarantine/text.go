package quarantine

import (
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/wattledger/wattledger/schemas/record"
)

// maxDetail bounds a reason that quotes what it found.
const maxDetail = 4 << 10

// valid makes a text that protobuf takes: whatever was found may stand in it, cut and with its broken bytes replaced.
func valid(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), maxDetail)], "\uFFFD")
}

// absent stands for a sentinel.
const absent = "-"

func varint(fd protoreflect.FieldDescriptor, v uint64) string {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return strconv.FormatBool(v != 0)
	case protoreflect.EnumKind:
		return enum(fd, protoreflect.EnumNumber(int32(v)))
	case protoreflect.Sint32Kind, protoreflect.Sint64Kind:
		return strconv.FormatInt(protowire.DecodeZigZag(v), 10)
	case protoreflect.Int32Kind:
		return strconv.FormatInt(int64(int32(v)), 10)
	case protoreflect.Int64Kind:
		return instantOr(fd, int64(v))
	case protoreflect.Uint32Kind:
		return strconv.FormatUint(uint64(uint32(v)), 10)
	default:
		return strconv.FormatUint(v, 10)
	}
}

func fixed32(fd protoreflect.FieldDescriptor, v uint32) string {
	switch fd.Kind() {
	case protoreflect.FloatKind:
		if f := float64(math.Float32frombits(v)); !math.IsNaN(f) {
			return strconv.FormatFloat(f, 'g', -1, 32)
		}
		return absent
	case protoreflect.Sfixed32Kind:
		return strconv.FormatInt(int64(int32(v)), 10)
	default:
		if v == record.AbsentCode {
			return absent
		}
		return strconv.FormatUint(uint64(v), 10)
	}
}

func fixed64(fd protoreflect.FieldDescriptor, v uint64) string {
	switch {
	case fd.Kind() == protoreflect.DoubleKind:
		return strconv.FormatFloat(math.Float64frombits(v), 'g', -1, 64)
	case fd.Kind() == protoreflect.Sfixed64Kind || fd.Name() == "energy_ts_us" && v != record.AbsentCounter:
		return instantOr(fd, int64(v))
	case v == record.AbsentCounter:
		return absent
	default:
		return strconv.FormatUint(v, 10)
	}
}

// instants are the endings of fields that hold an instant; other numbers of microseconds are spans.
var instants = []string{"tick_us", "up_to_us", "_ts_us", "from_us", "to_us", "start_us", "end_us", "received_us"}

// instantOr is the number, and for an instant within the years that can be printed the time beside it.
func instantOr(fd protoreflect.FieldDescriptor, v int64) string {
	text := strconv.FormatInt(v, 10)
	for _, ending := range instants {
		if t := time.UnixMicro(v).UTC(); v != 0 && strings.HasSuffix(string(fd.Name()), ending) && t.Year() >= 1970 && t.Year() <= 9999 {
			return text + " (" + t.Format(time.RFC3339Nano) + ")"
		}
	}
	return text
}

func enum(fd protoreflect.FieldDescriptor, n protoreflect.EnumNumber) string {
	if v := fd.Enum().Values().ByNumber(n); v != nil {
		return string(v.Name())
	}
	return fmt.Sprintf("%d (unknown here)", n)
}

// quoted is a text that may hold anything, on one line.
func quoted(s string) string {
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r == '"' || !strconv.IsPrint(r) }) < 0 {
		return s
	}
	return strconv.Quote(s)
}

// Text is bytes that are meant to be text, as a key is, on one line: as hex if they are not, and cut to a length that fits.
func Text(b []byte) string {
	const most = 64
	more := ""
	if len(b) > most {
		b, more = b[:most], "…"
	}
	switch {
	case len(b) == 0:
		return ""
	case more == "" && !utf8.Valid(b):
		return "0x" + hex.EncodeToString(b)
	}
	return quoted(strings.ToValidUTF8(string(b), "\uFFFD")) + more
}

// line is a record in one line: the fields that are set, in the order of their numbers.
func line(m protoreflect.Message) string {
	var parts []string
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if !m.Has(fd) {
			continue
		}
		v := m.Get(fd)
		if !fd.IsList() {
			parts = append(parts, string(fd.Name())+"="+value(fd, v))
			continue
		}
		all := make([]string, v.List().Len())
		for k := range all {
			all[k] = value(fd, v.List().Get(k))
		}
		parts = append(parts, string(fd.Name())+"=["+strings.Join(all, " ")+"]")
	}
	return strings.Join(parts, " ")
}

func value(fd protoreflect.FieldDescriptor, v protoreflect.Value) string {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return quoted(v.String())
	case protoreflect.BytesKind:
		return hex.EncodeToString(v.Bytes())
	case protoreflect.EnumKind:
		return enum(fd, v.Enum())
	case protoreflect.Int64Kind, protoreflect.Sfixed64Kind:
		return instantOr(fd, v.Int())
	default:
		return v.String()
	}
}
