package smilog

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// reading is one row as written: nothing is decided yet about its place in time.
type reading struct {
	line   int64
	text   string
	time   stamp
	timeAt int    // where the time stands in the line
	id     column // what tells GPUs apart in this row, colTime for nothing
	gpu    string // the value of id
	have   [columnCount]bool
	value  [columnCount]int64 // millionths for numbers, as is for states and masks
	cells  []cell             // owned by the scanner, valid until the next row
	head   *header
}

// textOf is a text column's value, empty when missing.
func (r *reading) textOf(c column) string {
	if i := r.head.at[c]; i != 0 && !missing(r.cells[i-1].text) {
		return strings.ToValidUTF8(r.cells[i-1].text, "?")
	}
	return ""
}

// preamble is how many lines that are no header may stand before it.
const preamble = 16

// scanner turns lines into readings and bad rows, one at a time.
type scanner struct {
	lines *lines
	head  *header
	cells []cell
	row   reading
	last  string // the last cell of the row before, the one before that when it was missing
}

func newScanner(r io.Reader) *scanner { return &scanner{lines: newLines(r)} }

// next is the next reading or the next bad row; at the end of the file it gives io.EOF. Any other error ends the file:
// a *HeaderError, or that of the reader.
func (s *scanner) next() (*reading, *BadRow, error) {
	for {
		l, err := s.lines.next()
		if err != nil {
			if errors.Is(err, io.EOF) && s.head == nil {
				return nil, nil, &HeaderError{max(1, s.lines.n), 1, "no line is a header with a column timestamp; " + remedyHeader}
			}
			return nil, nil, err
		}
		if l.number == 1 && (strings.HasPrefix(l.text, "\xff\xfe") || strings.HasPrefix(l.text, "\xfe\xff")) {
			return nil, nil, &HeaderError{1, 1, "the file is UTF-16, as PowerShell's > writes it; convert it with: iconv -f UTF-16 -t UTF-8"}
		}
		if strings.TrimSpace(l.text) == "" {
			continue
		}
		if l.long {
			return nil, s.bad(l, 1, ReasonTooLong, fmt.Sprintf("the line is longer than %d bytes; remove it", maxLine)), nil
		}
		s.cells = split(l.text, s.cells)
		if isHeader(s.cells) {
			if s.head, err = parseHeader(l.number, s.cells); err != nil {
				return nil, nil, err
			}
			s.last = ""
			continue
		}
		if s.head == nil {
			if err := s.noHeader(l); err != nil {
				return nil, nil, err
			}
			return nil, s.bad(l, 1, ReasonBeforeHeader, "the line stands before the header; remove it"), nil
		}
		bad := s.parse(l)
		if bad != nil {
			return nil, bad, nil
		}
		return &s.row, nil, nil
	}
}

const remedyHeader = "record without noheader, or put the line back that names the columns, such as: timestamp, uuid, power.draw [W]"

// noHeader is the error of a log without a header, as soon as that is certain.
func (s *scanner) noHeader(l line) error {
	for _, c := range s.cells {
		if _, err := parseStamp(c.text); err == nil {
			return &HeaderError{l.number, c.at, "a row of values comes before any header; " + remedyHeader}
		}
	}
	if l.number > preamble {
		return &HeaderError{l.number, 1, fmt.Sprintf("none of the first %d lines is a header with a column timestamp; %s", preamble, remedyHeader)}
	}
	return nil
}

func (s *scanner) bad(l line, at int, r Reason, detail string) *BadRow {
	return &BadRow{Line: l.number, Column: at, Reason: r, Detail: detail, Text: l.text}
}

// parse reads the cells of a row into s.row.
func (s *scanner) parse(l line) *BadRow {
	if n := len(s.cells); n != s.head.width {
		at := len(l.text) + 1
		if n > s.head.width {
			at = s.cells[s.head.width].at
		}
		if !l.ended && n < s.head.width {
			return s.truncated(l)
		}
		return s.bad(l, at, ReasonCells, fmt.Sprintf("the row has %d values and the header on line %d has %d columns; complete it or remove it", n, s.head.line, s.head.width))
	}
	last := s.cells[len(s.cells)-1].text
	if !l.ended && s.last != "" && !whole(s.last, last) {
		return s.truncated(l)
	}
	r := &s.row
	*r = reading{line: l.number, text: l.text, head: s.head, id: s.head.id, cells: s.cells}
	c := s.cells[s.head.at[colTime]-1]
	r.timeAt = c.at
	var err error
	if r.time, err = parseStamp(c.text); err != nil {
		return s.bad(l, c.at, ReasonTime, fmt.Sprintf("timestamp %q %v", c.text, err))
	}
	if r.id != colTime {
		c := s.cells[s.head.at[r.id]-1]
		if missing(c.text) {
			return s.bad(l, c.at, ReasonIdentity, fmt.Sprintf("%s is %q, so the row belongs to no GPU; write the GPU's or remove the row", r.id, c.text))
		}
		if !utf8.ValidString(c.text) { // it becomes a key, which a message can only hold as text
			return s.bad(l, c.at, ReasonIdentity, fmt.Sprintf("%s %q is not UTF-8; write the GPU's or remove the row", r.id, c.text))
		}
		r.gpu = c.text
	}
	for col := colPower; col < columnCount; col++ {
		i := s.head.at[col]
		if i == 0 || missing(s.cells[i-1].text) {
			continue
		}
		c := s.cells[i-1]
		if r.value[col], err = parseValue(col, c.text); err != nil {
			return s.bad(l, c.at, ReasonValue, fmt.Sprintf("%s %q %v; write the value or [N/A]", col, c.text, err))
		}
		r.have[col] = true
	}
	if !missing(last) {
		s.last = last
	}
	return nil
}

func (s *scanner) truncated(l line) *BadRow {
	return s.bad(l, s.cells[len(s.cells)-1].at, ReasonTruncated, "the last line is cut off: it has no line end and its last value is not written like the one before; complete it or remove it")
}

// whole says whether a value without a line end is written like the one before it, which is the only sign that nothing
// of it is cut off: it has the same unit, or as many decimals, or else the same length.
func whole(before, last string) bool {
	if strings.HasSuffix(last, "]") {
		return true
	}
	end := func(s string) (unit string, decimals int) {
		number := strings.TrimRight(s, " %ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
		if i := strings.IndexByte(number, '.'); i >= 0 {
			decimals = len(number) - i - 1
		}
		return s[len(number):], decimals
	}
	unit, decimals := end(before)
	unitLast, decimalsLast := end(last)
	switch {
	case unit != "":
		return unit == unitLast
	case decimals > 0 && unitLast == "":
		return decimals == decimalsLast
	default:
		return len(before) == len(last)
	}
}

// parseValue reads a value with or without its unit.
func parseValue(col column, s string) (int64, error) {
	spec := &columns[col]
	switch spec.form {
	case formPState:
		n, err := strconv.ParseUint(strings.TrimPrefix(s, "P"), 10, 8)
		if err != nil {
			return 0, errors.New("is not a performance state such as P0")
		}
		return int64(n), nil
	case formHex:
		n, err := strconv.ParseUint(s, 0, 63)
		if err != nil {
			return 0, errors.New("is not a bit mask such as 0x0000000000000004")
		}
		return int64(n), nil
	}
	digits := strings.TrimSpace(strings.TrimSuffix(s, spec.unit))
	v, err := parseMillionths(digits)
	switch {
	case err != nil && spec.unit != "":
		return 0, fmt.Errorf("%w, with or without %s", err, spec.unit)
	case err != nil:
		return 0, err
	case spec.unit == "W" && (v < 0 || v > maxMicrowatts):
		return 0, errors.New("is not a power that a device can draw")
	}
	return v, nil
}
