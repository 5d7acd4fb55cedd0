package clickhouse

import (
	"encoding/binary"
	"strconv"
	"strings"
)

// The engine writes the Native format of protocol revision 0. A client that names its protocol version expects two things more
// (src/Formats/NativeWriter.cpp): block info before each block, since any revision, and after each column's type a byte that
// says whether its serialisation is a special one, since 54454. The rows themselves are the same bytes, so a block
// is walked to find where its columns end, and copied.
const revisionCustomSerialization = 54454

// blockInfo is is_overflows = false, bucket_num = -1, end of fields.
var blockInfo = []byte{1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0}

// appendNative appends the blocks in src, of revision 0, to dst in the given revision.
func appendNative(dst, src []byte, revision int) ([]byte, error) {
	if revision <= 0 {
		return append(dst, src...), nil
	}
	w := walker{src: src}
	for w.pos < len(src) {
		dst = append(dst, blockInfo...)
		start := w.pos
		columns, rows := w.uvarint(), w.uvarint()
		dst = append(dst, src[start:min(w.pos, len(src))]...)
		for range columns {
			start = w.pos
			w.text()
			typ := w.text()
			if w.short {
				break
			}
			dst = append(dst, src[start:w.pos]...)
			if revision >= revisionCustomSerialization {
				dst = append(dst, 0)
			}
			start = w.pos
			if rows > 0 {
				t, err := parseType(string(typ))
				if err != nil {
					return dst, err
				}
				w.prefix(t)
				w.column(t, rows)
			}
			if w.short {
				break
			}
			dst = append(dst, src[start:w.pos]...)
		}
		if w.short {
			return dst, refuse(codeUnknown, "native", "a Native block of the engine ends early")
		}
	}
	return dst, nil
}

// walker steps over Native data. short is set, and stays, when the data ends before it should.
type walker struct {
	src   []byte
	pos   int
	short bool
}

func (w *walker) skip(n uint64) {
	if w.short || n > uint64(len(w.src)-w.pos) {
		w.short = true
		return
	}
	w.pos += int(n)
}

// times skips n values of size bytes.
func (w *walker) times(n, size uint64) {
	if size != 0 && n > uint64(len(w.src))/size {
		w.short = true
		return
	}
	w.skip(n * size)
}

func (w *walker) uvarint() uint64 {
	if w.short {
		return 0
	}
	v, n := binary.Uvarint(w.src[w.pos:])
	if n <= 0 {
		w.short = true
		return 0
	}
	w.pos += n
	return v
}

func (w *walker) uint64() uint64 {
	start := w.pos
	if w.skip(8); w.short {
		return 0
	}
	return binary.LittleEndian.Uint64(w.src[start:])
}

func (w *walker) text() []byte {
	n := w.uvarint()
	start := w.pos
	w.skip(n)
	if w.short {
		return nil
	}
	return w.src[start:w.pos]
}

// nativeType is a type by the shape of its bytes.
type nativeType struct {
	shape nativeShape
	size  uint64 // of a fixed value
	inner []nativeType
}

type nativeShape uint8

const (
	shapeFixed nativeShape = iota
	shapeText
	shapeNullable
	shapeArray
	shapeTuple
	shapeLowCardinality
)

// prefix skips what stands before the column's data: versions of low-cardinality columns, at any depth.
func (w *walker) prefix(t nativeType) {
	if t.shape == shapeLowCardinality {
		w.skip(8)
		return
	}
	for _, inner := range t.inner {
		w.prefix(inner)
	}
}

func (w *walker) column(t nativeType, rows uint64) {
	switch t.shape {
	case shapeFixed:
		w.times(rows, t.size)
	case shapeText:
		for range rows {
			if w.skip(w.uvarint()); w.short {
				return
			}
		}
	case shapeNullable:
		w.skip(rows)
		w.column(t.inner[0], rows)
	case shapeArray:
		if rows == 0 {
			return
		}
		w.times(rows-1, 8)
		w.column(t.inner[0], w.uint64())
	case shapeTuple:
		for _, inner := range t.inner {
			w.column(inner, rows)
		}
		if len(t.inner) == 0 {
			w.skip(rows)
		}
	case shapeLowCardinality:
		w.lowCardinality(t.inner[0], rows)
	}
}

// lowCardinality skips a dictionary and its indexes (src/DataTypes/Serializations/SerializationLowCardinality.cpp).
func (w *walker) lowCardinality(inner nativeType, rows uint64) {
	const hasGlobalDictionary, hasAdditionalKeys = 1 << 8, 1 << 9
	for rows > 0 && !w.short {
		flags := w.uint64()
		if flags&hasGlobalDictionary != 0 && flags&hasAdditionalKeys == 0 {
			w.short = true // never in the Native format
			return
		}
		if flags&hasAdditionalKeys != 0 {
			w.column(inner, w.uint64())
		}
		n := w.uint64()
		if n > rows {
			w.short = true
			return
		}
		w.times(n, 1<<(flags&0xff&3))
		rows -= n
		if n == 0 {
			w.short = true
		}
	}
}

// fixedSizes are the types whose values have one size. Parameters in brackets do not change it.
var fixedSizes = map[string]uint64{
	"UInt8": 1, "UInt16": 2, "UInt32": 4, "UInt64": 8, "UInt128": 16, "UInt256": 32,
	"Int8": 1, "Int16": 2, "Int32": 4, "Int64": 8, "Int128": 16, "Int256": 32,
	"Float32": 4, "Float64": 8, "BFloat16": 2, "Bool": 1, "Date": 2, "Date32": 4, "DateTime": 4, "DateTime64": 8, "Time": 4, "Time64": 8,
	"UUID": 16, "IPv4": 4, "IPv6": 16, "Enum8": 1, "Enum16": 2, "Nothing": 1,
	"Decimal32": 4, "Decimal64": 8, "Decimal128": 16, "Decimal256": 32,
	"IntervalNanosecond": 8, "IntervalMicrosecond": 8, "IntervalMillisecond": 8, "IntervalSecond": 8, "IntervalMinute": 8, "IntervalHour": 8,
	"IntervalDay": 8, "IntervalWeek": 8, "IntervalMonth": 8, "IntervalQuarter": 8, "IntervalYear": 8,
}

// parseType reads a type's name, such as Map(LowCardinality(String), Array(Nullable(DateTime64(6, 'UTC')))).
func parseType(name string) (nativeType, error) { return parseTypeAt(name, 0) }

func parseTypeAt(name string, depth int) (nativeType, error) {
	unknown := func() (nativeType, error) {
		return nativeType{}, refuse(codeNotImplemented, "native",
			"Type %s is not supported in the Native format of the embedded engine: convert it in the query, for example with toString", name)
	}
	if depth > 32 {
		return unknown()
	}
	base, args, ok := splitType(name)
	if !ok {
		return unknown()
	}
	if size, ok := fixedSizes[base]; ok {
		return nativeType{shape: shapeFixed, size: size}, nil
	}
	inner := func(names []string) (list []nativeType, err error) {
		for _, n := range names {
			t, err := parseTypeAt(n, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, t)
		}
		return list, nil
	}
	var t nativeType
	var err error
	switch {
	case base == "String":
		t.shape = shapeText
	case base == "FixedString" && len(args) == 1:
		t.size, err = strconv.ParseUint(args[0], 10, 32)
	case base == "Decimal" && len(args) == 2:
		digits, convErr := strconv.Atoi(args[0])
		if convErr != nil {
			return unknown()
		}
		t.size = 4
		for _, limit := range []int{9, 18, 38} {
			if digits > limit {
				t.size *= 2
			}
		}
	case base == "SimpleAggregateFunction" && len(args) >= 2:
		return parseTypeAt(args[len(args)-1], depth+1)
	case base == "Nullable" && len(args) == 1:
		t.shape = shapeNullable
		t.inner, err = inner(args)
	case base == "LowCardinality" && len(args) == 1:
		// The dictionary of a nullable column holds plain values; its first stands for NULL.
		if b, a, ok := splitType(args[0]); ok && b == "Nullable" && len(a) == 1 {
			args = a
		}
		t.shape = shapeLowCardinality
		t.inner, err = inner(args)
	case base == "Array" && len(args) == 1:
		t.shape = shapeArray
		t.inner, err = inner(args)
	case base == "Map" && len(args) == 2:
		t.shape = shapeArray
		pair, pairErr := inner(args)
		t.inner, err = []nativeType{{shape: shapeTuple, inner: pair}}, pairErr
	case base == "Tuple", base == "Nested":
		t.shape = shapeTuple
		t.inner, err = inner(elementTypes(args))
		if base == "Nested" {
			t = nativeType{shape: shapeArray, inner: []nativeType{t}}
		}
	case base == "Point":
		t.size = 16
	case base == "Ring", base == "LineString":
		return parseTypeAt("Array(Point)", depth+1)
	case base == "Polygon", base == "MultiLineString":
		return parseTypeAt("Array(Ring)", depth+1)
	case base == "MultiPolygon":
		return parseTypeAt("Array(Polygon)", depth+1)
	default:
		return unknown()
	}
	if err != nil {
		return unknown()
	}
	return t, nil
}

// elementTypes drops the names that elements of a tuple may have: `x UInt8`.
func elementTypes(args []string) []string {
	out := make([]string, len(args))
	for i, arg := range args {
		out[i] = arg
		if strings.HasPrefix(arg, "`") {
			if end := strings.LastIndex(arg, "` "); end > 0 {
				out[i] = arg[end+2:]
			}
			continue
		}
		if space := strings.IndexByte(arg, ' '); space > 0 && !strings.ContainsAny(arg[:space], "('") {
			out[i] = arg[space+1:]
		}
	}
	return out
}

// splitType cuts Base(a, b) into its base and arguments; quotes and brackets inside an argument stay whole.
func splitType(name string) (base string, args []string, ok bool) {
	open := strings.IndexByte(name, '(')
	if open < 0 {
		return name, nil, true
	}
	if !strings.HasSuffix(name, ")") {
		return "", nil, false
	}
	depth, start, quote := 0, open+1, byte(0)
	for i := open + 1; i < len(name)-1; i++ {
		switch c := name[i]; {
		case quote != 0 && c == '\\':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '`':
			quote = c
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ',' && depth == 0:
			args = append(args, strings.TrimSpace(name[start:i]))
			start = i + 1
		}
	}
	if depth != 0 || quote != 0 || start > len(name)-1 {
		return "", nil, false
	}
	return name[:open], append(args, strings.TrimSpace(name[start:len(name)-1])), true
}
