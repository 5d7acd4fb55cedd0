package fleet

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	// maxTable bounds what a trace file may unpack to, so that a damaged archive ends in a message.
	maxTable = 2 << 30
	maxLine  = 1 << 20
	// maxBadText is how much of a bad row is kept.
	maxBadText = 200
)

// BadRow is a row of a trace that was refused: where it is, what it said and what to mend. The rows around it go through.
type BadRow struct {
	File string `json:"file"`
	Line int    `json:"line"`
	// Column is the byte of the line at which the faulty value begins, from 1.
	Column  int    `json:"column"`
	Problem string `json:"problem"`
	Text    string `json:"text"`
}

// String is the row as one line of a log.
func (b BadRow) String() string {
	return fmt.Sprintf("%s, line %d, column %d: %s", b.File, b.Line, b.Column, b.Problem)
}

// tableRow is a row with its values in the order of the columns that were asked for.
type tableRow struct {
	names   []string
	values  []string
	columns []int // byte of the line at which each value begins, from 1
	first   *BadRow
}

// refuse marks the row as bad. The first fault of a row counts.
func (r *tableRow) refuse(i int, format string, args ...any) {
	if r.first == nil {
		r.first = &BadRow{Column: r.columns[i], Problem: fmt.Sprintf(format, args...)}
	}
}

// integer reads a whole number between lo and hi.
func (r *tableRow) integer(i int, lo, hi int64) int64 {
	v, err := strconv.ParseInt(r.values[i], 10, 64)
	if err != nil || v < lo || v > hi {
		r.refuse(i, "%s is %s; write a whole number from %d to %d", r.names[i], shown(r.values[i]), lo, hi)
		return 0
	}
	return v
}

// name reads an identifier that scenarios, ids and messages may carry.
func (r *tableRow) name(i int) string {
	s := r.values[i]
	if s == "" || len(s) > 100 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != "" {
		r.refuse(i, "%s is %s; write 1 to 100 letters, digits and . _ -", r.names[i], shown(s))
	}
	return s
}

// readTable reads a CSV file with a header, plain or gzipped, and hands its rows to each. Columns may stand in any order and
// further ones are passed over. It reads line by line, so that a stray quote spoils one row and no other. The digest is of
// the unpacked bytes.
func readTable(name string, in io.Reader, want []string, each func(*tableRow)) (bad []BadRow, digest [sha256.Size]byte, err error) {
	unpacked, err := unpack(in)
	if err != nil {
		return nil, digest, fmt.Errorf("%s: %w", name, err)
	}
	sum := sha256.New()
	limited := &io.LimitedReader{R: unpacked, N: maxTable}
	lines := bufio.NewScanner(io.TeeReader(limited, sum))
	lines.Buffer(make([]byte, 64<<10), maxLine)
	row := &tableRow{names: want, values: make([]string, len(want)), columns: make([]int, len(want))}
	var (
		split  splitter
		places []int // where each wanted column stands
		width  int
		n      int
	)
	for lines.Scan() {
		n++
		line := strings.TrimSuffix(lines.Text(), "\r")
		if n == 1 {
			line = strings.TrimPrefix(line, "\uFEFF")
		}
		if strings.TrimSpace(line) == "" {
			continue
		}
		row.first = nil
		fault := split.line(line)
		if places == nil {
			if fault == nil {
				places, err = findColumns(split.values, want)
			} else {
				err = errors.New(fault.Problem)
			}
			if err != nil {
				return bad, digest, fmt.Errorf("%s, line %d: %w", name, n, err)
			}
			width = len(split.values)
			continue
		}
		if fault == nil && len(split.values) != width {
			fault = &BadRow{Column: len(line) + 1, Problem: fmt.Sprintf("the row has %d values and the header %d", len(split.values), width)}
		}
		if fault == nil {
			for i, at := range places {
				row.values[i], row.columns[i] = split.values[at], split.columns[at]
			}
			each(row)
			fault = row.first
		}
		if fault != nil {
			fault.File, fault.Line, fault.Text = name, n, line[:min(len(line), maxBadText)]
			bad = append(bad, *fault)
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return bad, digest, fmt.Errorf("%s, line %d: longer than %d bytes: this is no table of a trace", name, n+1, maxLine)
	case err != nil:
		return bad, digest, fmt.Errorf("%s, after line %d: %w", name, n, err)
	case limited.N == 0:
		return bad, digest, fmt.Errorf("%s: larger than %d MiB unpacked: cut it", name, maxTable>>20)
	case places == nil:
		return bad, digest, fmt.Errorf("%s: empty; it needs a header with %s", name, strings.Join(want, ","))
	}
	return bad, [sha256.Size]byte(sum.Sum(nil)), nil
}

func unpack(in io.Reader) (io.Reader, error) {
	buffered := bufio.NewReaderSize(in, 64<<10)
	magic, _ := buffered.Peek(2) // a file this short is no archive; the reader of lines meets the error again
	if !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		return buffered, nil
	}
	z, err := gzip.NewReader(buffered)
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	return z, nil
}

func findColumns(header, want []string) ([]int, error) {
	places := make([]int, len(want))
	for i, w := range want {
		places[i] = -1
		for k, h := range header {
			if strings.TrimSpace(h) != w {
				continue
			}
			if places[i] >= 0 {
				return nil, fmt.Errorf("the header names column %s twice", w)
			}
			places[i] = k
		}
		if places[i] < 0 {
			return nil, fmt.Errorf("the header %s has no column %s; it needs %s", shown(strings.Join(header, ",")), w, strings.Join(want, ","))
		}
	}
	return places, nil
}

// splitter cuts lines of CSV into values and remembers where each begins.
type splitter struct {
	values  []string
	columns []int
}

func (s *splitter) line(line string) *BadRow {
	s.values, s.columns = s.values[:0], s.columns[:0]
	if !utf8.ValidString(line) || strings.ContainsRune(line, 0) {
		return &BadRow{Column: 1, Problem: "the row is not text in UTF-8"}
	}
	if strings.Contains(line, `"`) {
		r := csv.NewReader(strings.NewReader(line))
		values, err := r.Read()
		if err != nil {
			fault := &BadRow{Column: 1, Problem: err.Error()}
			var parse *csv.ParseError
			if errors.As(err, &parse) {
				fault.Column, fault.Problem = parse.Column, parse.Err.Error()
			}
			return fault
		}
		for i, v := range values {
			_, column := r.FieldPos(i)
			s.values, s.columns = append(s.values, v), append(s.columns, column)
		}
		return nil
	}
	for at := 0; ; {
		end := strings.IndexByte(line[at:], ',')
		s.columns = append(s.columns, at+1)
		if end < 0 {
			s.values = append(s.values, line[at:])
			return nil
		}
		s.values = append(s.values, line[at:at+end])
		at += end + 1
	}
}

// shown is a value as it is quoted in a message: short.
func shown(s string) string {
	if len(s) > 80 {
		s = s[:80] + "…"
	}
	return strconv.Quote(s)
}
