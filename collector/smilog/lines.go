package smilog

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
)

// maxLine is the longest line that is looked at. nvidia-smi's longest is a few hundred bytes.
const maxLine = 64 << 10

// line is one line of a file without its end.
type line struct {
	number int64
	text   string
	// ended is false for a last line without a line feed; long says that the text was cut at maxLine.
	ended, long bool
}

// lines reads lines of any length in bounded memory.
type lines struct {
	r *bufio.Reader
	n int64
}

func newLines(r io.Reader) *lines { return &lines{r: bufio.NewReaderSize(r, maxLine)} }

// next is the next line, io.EOF after the last.
func (l *lines) next() (line, error) {
	chunk, err := l.r.ReadSlice('\n')
	if len(chunk) == 0 && err != nil {
		return line{}, err
	}
	l.n++
	out := line{number: l.n, ended: err == nil, long: errors.Is(err, bufio.ErrBufferFull)}
	if l.n == 1 {
		chunk = bytes.TrimPrefix(chunk, []byte("\xef\xbb\xbf"))
	}
	out.text = strings.TrimRight(string(chunk), "\r\n")
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = l.r.ReadSlice('\n')
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return line{}, err
	}
	return out, nil
}

// cell is one value of a line and where it begins, counted in bytes from 1.
type cell struct {
	text string
	at   int
}

// split cuts a line at its commas into cells without the blanks around them. Quotes, which nvidia-smi does not write
// but spreadsheets do, are taken off.
func split(text string, cells []cell) []cell {
	cells = cells[:0]
	for at := 0; ; {
		end := strings.IndexByte(text[at:], ',')
		raw := text[at:]
		if end >= 0 {
			raw = raw[:end]
		}
		trimmed := strings.TrimSpace(raw)
		lead := len(raw) - len(strings.TrimLeft(raw, " \t"))
		if strings.HasPrefix(trimmed, `"`) {
			if quoted, next, ok := unquote(text, at+lead); ok {
				cells = append(cells, cell{quoted, at + lead + 1})
				if next < 0 {
					return cells
				}
				at = next
				continue
			}
		}
		cells = append(cells, cell{trimmed, at + lead + 1})
		if end < 0 {
			return cells
		}
		at += end + 1
	}
}

// unquote reads a quoted cell that begins at from. next is where the cell after it begins, -1 at the end of the line.
func unquote(text string, from int) (s string, next int, ok bool) {
	var b strings.Builder
	for i := from + 1; i < len(text); i++ {
		if text[i] != '"' {
			b.WriteByte(text[i])
			continue
		}
		if i+1 < len(text) && text[i+1] == '"' {
			b.WriteByte('"')
			i++
			continue
		}
		rest := strings.TrimLeft(text[i+1:], " \t")
		switch {
		case rest == "":
			return strings.TrimSpace(b.String()), -1, true
		case rest[0] == ',':
			return strings.TrimSpace(b.String()), len(text) - len(rest) + 1, true
		}
		return "", 0, false
	}
	return "", 0, false
}
