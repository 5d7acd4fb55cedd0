package clickhouse

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// blocks reads the Native format column by column, as a server writes it for the protocol version that the client library names (any
// from 54454 on): block info before each block, and after each column's type whether its values are written in a special way. Rows by the million are read this way: the client's own scan costs more per
// value than all else that is done with it.
type blocks struct {
	r    *bufio.Reader
	rows int
	buf  []byte
}

// maxBlockRows bounds what a block may claim to hold; the engine's have some 65,000.
const maxBlockRows = 1 << 20

// next goes to the next block with rows, io.EOF after the last. columns are the names and types that it must have.
func (b *blocks) next(columns int) error {
	for {
		if err := b.info(); err != nil {
			return err
		}
		n, err := binary.ReadUvarint(b.r)
		if err != nil {
			return broken(err)
		}
		rows, err := binary.ReadUvarint(b.r)
		if err != nil {
			return broken(err)
		}
		if rows > maxBlockRows || n != uint64(columns) {
			return fmt.Errorf("a block of %d columns and %d rows; expected %d columns", n, rows, columns)
		}
		if b.rows = int(rows); rows > 0 {
			return nil
		}
		for range n { // a head without rows
			if _, _, err := b.head(); err != nil {
				return err
			}
		}
	}
}

// info skips what stands before a block: numbered fields up to a zero, the first a byte, the second four. io.EOF where no block begins.
func (b *blocks) info() error {
	for first := true; ; first = false {
		field, err := binary.ReadUvarint(b.r)
		switch {
		case err != nil && first:
			return err
		case err != nil:
			return broken(err)
		case field == 0:
			return nil
		case field > 2:
			return fmt.Errorf("field %d in front of a block", field)
		}
		if _, err := b.bytes(1 + 3*int(field-1)); err != nil {
			return err
		}
	}
}

// broken is an error within a block, where the stream must not end.
func broken(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (b *blocks) head() (name, typ string, err error) {
	if name, err = b.text(); err != nil {
		return "", "", err
	}
	if typ, err = b.text(); err != nil {
		return "", "", err
	}
	special, err := b.r.ReadByte()
	if err == nil && special != 0 {
		err = fmt.Errorf("column %s has a serialization that this program does not know", name)
	}
	return name, typ, broken(err)
}

// column reads the head of the next column, whose type must be this.
func (b *blocks) column(want string) error {
	name, typ, err := b.head()
	if err == nil && typ != want {
		err = fmt.Errorf("column %s is %s; expected %s", name, typ, want)
	}
	return err
}

func (b *blocks) text() (string, error) {
	n, err := binary.ReadUvarint(b.r)
	if err != nil {
		return "", broken(err)
	}
	if n > 1<<20 {
		return "", fmt.Errorf("a text of %d bytes", n)
	}
	p, err := b.bytes(int(n))
	return string(p), err
}

// bytes are valid until the next call.
func (b *blocks) bytes(n int) ([]byte, error) {
	b.buf = slices.Grow(b.buf[:0], n)[:n]
	_, err := io.ReadFull(b.r, b.buf)
	return b.buf, broken(err)
}

// fixed reads a column of values of one size.
func (b *blocks) fixed(typ string, size int) ([]byte, error) {
	if err := b.column(typ); err != nil {
		return nil, err
	}
	return b.bytes(b.rows * size)
}

// integers reads a column of 64-bit integers into a list of as many.
func (b *blocks) integers(typ string, into []int64) error {
	p, err := b.fixed(typ, 8)
	if err != nil {
		return err
	}
	for i := range into {
		into[i] = int64(binary.LittleEndian.Uint64(p[8*i:]))
	}
	return nil
}

// words reads a column of LowCardinality(String): a list of words, and which of them each row has. In the format Native each
// block brings its own dictionary (ClickHouse, src/DataTypes/Serializations/SerializationLowCardinality.cpp).
func (b *blocks) words(which []uint32) (list []string, err error) {
	if err := b.column("LowCardinality(String)"); err != nil {
		return nil, err
	}
	head, err := b.bytes(24)
	if err != nil {
		return nil, err
	}
	const additionalKeys, globalDictionary = 1 << 9, 1 << 8
	flags, keys := binary.LittleEndian.Uint64(head[8:]), binary.LittleEndian.Uint64(head[16:])
	if flags&additionalKeys == 0 || flags&globalDictionary != 0 || flags&0xff > 3 || keys > maxBlockRows {
		return nil, fmt.Errorf("a dictionary with flags %#x and %d words", flags, keys)
	}
	for range keys {
		w, err := b.text()
		if err != nil {
			return nil, err
		}
		list = append(list, w)
	}
	if head, err = b.bytes(8); err != nil {
		return nil, err
	}
	if n := binary.LittleEndian.Uint64(head); n != uint64(len(which)) {
		return nil, fmt.Errorf("a dictionary for %d of %d rows", n, len(which))
	}
	size := 1 << (flags & 0xff)
	p, err := b.bytes(len(which) * size)
	if err != nil {
		return nil, err
	}
	for i := range which {
		var v uint64
		switch size {
		case 1:
			v = uint64(p[i])
		case 2:
			v = uint64(binary.LittleEndian.Uint16(p[2*i:]))
		case 4:
			v = uint64(binary.LittleEndian.Uint32(p[4*i:]))
		default:
			v = binary.LittleEndian.Uint64(p[8*i:])
		}
		if v >= keys {
			return nil, fmt.Errorf("word %d of %d", v, keys)
		}
		which[i] = uint32(v)
	}
	return list, nil
}
