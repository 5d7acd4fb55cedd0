package clickhouse

import (
	"encoding/binary"
	"errors"
	"io"
	"math"
	"net"
	"sync"
)

// block is what one insert carries: columns of equal length. It is written as one block of the Native format without a
// protocol revision: number of columns, number of rows, then name, type and values of each column.
type block struct {
	rows    int
	columns []column
}

type column struct {
	name, typ string
	data      data
}

// data appends the values of a column as the Native format lays them out.
type data interface {
	appendTo(dst []byte) []byte
}

func (b *block) add(name, typ string, d data) { b.columns = append(b.columns, column{name, typ, d}) }

// body is the block in pieces that are read once, in order. Columns that are laid out already are pieces of their own; all
// else is written into room.
func (b *block) body(room *[]byte) *body {
	dst := binary.AppendUvarint((*room)[:0], uint64(len(b.columns)))
	dst = binary.AppendUvarint(dst, uint64(b.rows))
	cuts := make([]int, len(b.columns)) // where in dst a column's own piece goes
	for i, c := range b.columns {
		dst = appendText(appendText(dst, c.name), c.typ)
		if _, own := c.data.(raw); !own {
			dst = c.data.appendTo(dst)
		}
		cuts[i] = len(dst)
	}
	*room = dst
	out := &body{}
	from := 0
	for i, c := range b.columns {
		if own, ok := c.data.(raw); ok {
			out.pieces = append(out.pieces, dst[from:cuts[i]], own)
			from = cuts[i]
		}
	}
	if from < len(dst) {
		out.pieces = append(out.pieces, dst[from:])
	}
	return out
}

// body is what an insert sends. An HTTP client may go on reading it after the call has returned; the bytes belong to
// others from release on.
type body struct {
	mu     sync.Mutex
	pieces net.Buffers // guarded by mu
	over   bool        // guarded by mu
}

var errOver = errors.New("the insert is over")

func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		return 0, errOver
	}
	return b.pieces.Read(p)
}

// WriteTo spares the copy that Read makes.
func (b *body) WriteTo(w io.Writer) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		return 0, errOver
	}
	return b.pieces.WriteTo(w)
}

// release waits until nobody reads.
func (b *body) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over, b.pieces = true, nil
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// raw are values as they came, in the layout of the Native format.
type raw []byte

func (r raw) appendTo(dst []byte) []byte { return append(dst, r...) }

// fixed are values of 1, 4 or 8 bytes, little-endian: a loop that the compiler turns into a copy.
type fixed[T int8 | int32 | uint32 | int64 | uint64 | float32] []T

func (f fixed[T]) appendTo(dst []byte) []byte {
	switch v := any([]T(f)).(type) {
	case []int8:
		for _, x := range v {
			dst = append(dst, byte(x))
		}
	case []int32:
		for _, x := range v {
			dst = binary.LittleEndian.AppendUint32(dst, uint32(x))
		}
	case []uint32:
		for _, x := range v {
			dst = binary.LittleEndian.AppendUint32(dst, x)
		}
	case []int64:
		for _, x := range v {
			dst = binary.LittleEndian.AppendUint64(dst, uint64(x))
		}
	case []uint64:
		for _, x := range v {
			dst = binary.LittleEndian.AppendUint64(dst, x)
		}
	case []float32:
		for _, x := range v {
			dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(x))
		}
	}
	return dst
}

// repeated are values that are the same for a stretch of rows.
type repeated[T int32 | uint32 | int64 | uint64] struct {
	values []T
	counts []int
}

func (r repeated[T]) appendTo(dst []byte) []byte {
	for i, v := range r.values {
		for range r.counts[i] {
			switch v := any(v).(type) {
			case int32:
				dst = binary.LittleEndian.AppendUint32(dst, uint32(v))
			case uint32:
				dst = binary.LittleEndian.AppendUint32(dst, v)
			case int64:
				dst = binary.LittleEndian.AppendUint64(dst, uint64(v))
			case uint64:
				dst = binary.LittleEndian.AppendUint64(dst, v)
			}
		}
	}
	return dst
}

// texts are strings, one per row.
type texts []string

func (t texts) appendTo(dst []byte) []byte {
	for _, s := range t {
		dst = appendText(dst, s)
	}
	return dst
}

// lists are arrays of strings, one per row: the ends of the rows, then all strings.
type lists [][]string

func (l lists) appendTo(dst []byte) []byte {
	var end uint64
	for _, row := range l {
		end += uint64(len(row))
		dst = binary.LittleEndian.AppendUint64(dst, end)
	}
	for _, row := range l {
		dst = texts(row).appendTo(dst)
	}
	return dst
}

// words are strings out of a small dictionary: LowCardinality(String). Row i is dictionary[index[i]].
type words struct {
	dictionary []string
	index      []uint32
}

// The Native format of LowCardinality, as ClickHouse's SerializationLowCardinality.cpp has it.
const (
	sharedDictionaries   = 1
	additionalKeysUpdate = 0x600
)

func (w words) appendTo(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, sharedDictionaries)
	if len(w.index) == 0 {
		return dst
	}
	// The first key is the type's default value, whether a row uses it or not.
	keys := uint64(len(w.dictionary)) + 1
	width := uint64(0)
	switch {
	case keys > math.MaxUint16:
		width = 2
	case keys > math.MaxUint8:
		width = 1
	}
	dst = binary.LittleEndian.AppendUint64(dst, additionalKeysUpdate|width)
	dst = binary.LittleEndian.AppendUint64(dst, keys)
	dst = texts(w.dictionary).appendTo(append(dst, 0))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(len(w.index)))
	for _, i := range w.index {
		switch i++; width {
		case 0:
			dst = append(dst, byte(i))
		case 1:
			dst = binary.LittleEndian.AppendUint16(dst, uint16(i))
		default:
			dst = binary.LittleEndian.AppendUint32(dst, i)
		}
	}
	return dst
}

// wordsOf are n stretches of rows, each of one word.
func wordsOf(n int, word func(i int) string, count func(i int) int) words {
	w := words{}
	at := map[string]uint32{}
	for i := range n {
		s := word(i)
		k, ok := at[s]
		if !ok {
			k = uint32(len(w.dictionary))
			w.dictionary, at[s] = append(w.dictionary, s), k
		}
		for range count(i) {
			w.index = append(w.index, k)
		}
	}
	return w
}
