package spool

import (
	"errors"
	"fmt"
	"io"
)

// walker goes through the records of one segment in order and steps over what is damaged.
type walker struct {
	src io.ReaderAt
	// off is where the next record should be, end where the segment ends.
	off, end int64
	// low and high bound the numbers that the next message may have: [low, high).
	low, high uint64
	// window holds bytes of the segment from start on. It is all the memory a walker has.
	window []byte
	start  int64
	least  int64 // of the bytes read at once
}

// step is what a walker came across.
type step struct {
	entry
	// off and size say where the record lies.
	off, size int64
	// bad bytes were stepped over right before it.
	bad int64
}

// errWindow means that the next record lies outside what is in memory.
var errWindow = errors.New("the next record is not in memory")

// reset aims the walker at a segment; the window keeps its room.
func (w *walker) reset(src io.ReaderAt, off, end int64, low, high uint64) {
	w.src, w.off, w.end, w.low, w.high = src, off, end, low, high
	w.window, w.start = w.window[:0], 0
}

// bytes are n bytes of the segment at off; they are valid until the window moves. The caller checks the end.
func (w *walker) bytes(off, n int64, mayMove bool) ([]byte, error) {
	if off >= w.start && off+n <= w.start+int64(len(w.window)) {
		return w.window[off-w.start:][:n], nil
	}
	if !mayMove {
		return nil, errWindow
	}
	size := min(max(n, w.least), w.end-off)
	if int64(cap(w.window)) < size {
		w.window = make([]byte, size)
	}
	w.window, w.start = w.window[:size], off
	got, err := w.src.ReadAt(w.window, off)
	if int64(got) < n {
		w.window = w.window[:0]
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("read %d bytes at %d: %w", n, off, err)
	}
	w.window = w.window[:got]
	return w.window[:n], nil
}

// at is the record at off, if there is one.
func (w *walker) at(off int64, mayMove bool) (e entry, size int64, err error) {
	left := w.end - off
	head := min(left, frameBytes+messageHead)
	b, err := w.bytes(off, head, mayMove)
	if err != nil {
		return e, 0, err
	}
	size = plausible(b, w.low, w.high)
	if size == 0 || size > left || b[frameBytes] == kindOpening && off != int64(len(magic)) {
		return e, 0, nil
	}
	if b, err = w.bytes(off, size, mayMove); err != nil {
		return e, 0, err
	}
	e, ok := decode(b)
	if !ok {
		return e, 0, nil
	}
	return e, size, nil
}

// next is the next record, or io.EOF; also then bad says how much was stepped over. Without mayMove the window stays where
// it is, so that what was decoded before remains valid, and a record outside it is errWindow.
func (w *walker) next(mayMove bool) (s step, err error) {
	from := w.off
	if from == 0 && w.end >= int64(len(magic)) {
		b, err := w.bytes(0, int64(len(magic)), mayMove)
		if err != nil {
			return s, err
		}
		if string(b) == magic {
			from = int64(len(magic))
		}
	}
	for off := from; off < w.end; off++ {
		e, size, err := w.at(off, mayMove)
		if err != nil {
			return s, err
		}
		if size == 0 {
			continue
		}
		w.off = off + size
		if e.kind == kindMessage {
			w.low = e.number + 1
		}
		return step{e, off, size, off - from}, nil
	}
	w.off = w.end
	return step{off: w.end, bad: w.end - from}, io.EOF
}
