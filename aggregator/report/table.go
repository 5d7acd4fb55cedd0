package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Table is what a terminal shows: text already formatted, so that whoever draws it computes nothing.
type Table struct {
	Title   string
	Columns []Column
	Rows    [][]string
	// Totals is the last row, set apart; nil for none.
	Totals []string
	// Notes stand below.
	Notes []string
}

// Column is a heading and how the cells below it stand.
type Column struct {
	Name string
	// Right is set for numbers.
	Right bool
}

// columns reads "name" and ">name", the latter for numbers.
func columns(names ...string) []Column {
	out := make([]Column, len(names))
	for i, n := range names {
		name, right := strings.CutPrefix(n, ">")
		out[i] = Column{name, right}
	}
	return out
}

// Text draws the table with spaces, for files.
func (t Table) Text() string {
	rows := t.Rows
	if t.Totals != nil {
		rows = append(append([][]string{}, rows...), t.Totals)
	}
	widths := t.widths(rows)
	var b strings.Builder
	line := func(cell func(i int) string) {
		var l strings.Builder
		for i, c := range t.Columns {
			text := cut(cell(i), widths[i])
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text))
			if c.Right {
				text = pad + text
			} else {
				text += pad
			}
			if i > 0 {
				l.WriteString("  ")
			}
			l.WriteString(text)
		}
		b.WriteString(strings.TrimRight(l.String(), " ") + "\n")
	}
	rule := func() { line(func(i int) string { return strings.Repeat("-", widths[i]) }) }
	if t.Title != "" {
		b.WriteString(t.Title + "\n\n")
	}
	line(func(i int) string { return t.Columns[i].Name })
	rule()
	for i, r := range rows {
		if t.Totals != nil && i == len(rows)-1 {
			rule()
		}
		line(func(i int) string { return r[i] })
	}
	for _, n := range t.Notes {
		b.WriteString("\n" + wrapped(n, noteWidth) + "\n")
	}
	return b.String()
}

// tableWidth is how wide a table may be, in a file, before its words are cut; narrowest is how far.
const (
	tableWidth = 160
	narrowest  = 12
)

// widths are those of the columns. Where they are too wide together, columns of words give way, the widest first; figures never do.
func (t Table) widths(rows [][]string) []int {
	widths := make([]int, len(t.Columns))
	all := 2 * (len(widths) - 1)
	for i, c := range t.Columns {
		widths[i] = utf8.RuneCountInString(c.Name)
		for _, r := range rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(r[i]))
		}
		all += widths[i]
	}
	for ; all > tableWidth; all-- {
		widest := -1
		for i, c := range t.Columns {
			if !c.Right && widths[i] > max(narrowest, utf8.RuneCountInString(c.Name)) && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
	}
	return widths
}

// noteWidth is how long a line below a table may be, in a file.
const noteWidth = 140

// wrapped breaks a text at its spaces. What has none stays whole.
func wrapped(text string, width int) string {
	var b strings.Builder
	at := 0
	for i, word := range strings.Split(text, " ") {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case at+1+n > width:
			b.WriteByte('\n')
			at = 0
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += n
	}
	return b.String()
}

// CSV writes rows below a header (RFC 4180, with bare newlines).
func CSV(header []string, rows [][]string) ([]byte, error) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	if err := w.Write(header); err != nil {
		return nil, fmt.Errorf("write CSV: %w", err)
	}
	if err := w.WriteAll(rows); err != nil {
		return nil, fmt.Errorf("write CSV: %w", err)
	}
	return b.Bytes(), nil
}

// JSON writes a document, indented, its keys in the order of the struct.
func JSON(document any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(document); err != nil {
		return nil, fmt.Errorf("write JSON: %w", err)
	}
	return b.Bytes(), nil
}
