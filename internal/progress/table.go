package progress

import (
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// Column heads one column of a table.
type Column struct {
	// Name and Unit make the header: "energy", "kWh". The unit stands once, here, and not in the cells.
	Name, Unit string
	// Right aligns the cells to the right, as numbers are.
	Right bool
}

// Text is a column of words.
func Text(name string) Column { return Column{Name: name} }

// Number is a column of figures in a unit; the unit may be empty.
func Number(name, unit string) Column { return Column{Name: name, Unit: unit, Right: true} }

// Table is a small table for people. Cells are texts; missing ones are empty.
type Table struct {
	// Title stands above, if it is not empty.
	Title string
	// Columns head the rows.
	Columns []Column
	// Rows are the lines.
	Rows [][]string
	// Totals is a last line, set apart; nil for none.
	Totals []string
}

// minText is how narrow a column of words may be made to fit a terminal.
const minText = 12

// Add appends a row. Cells are written with fmt's %v.
func (t *Table) Add(cells ...any) {
	t.Rows = append(t.Rows, texts(cells))
}

// Total sets the last line.
func (t *Table) Total(cells ...any) { t.Totals = texts(cells) }

func texts(cells []any) []string {
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = fmt.Sprint(c)
	}
	return row
}

// Render writes the table. If it is wider than width (0: no limit), columns of words are cut with an
// ellipsis, the widest first; figures are never cut.
func (t *Table) Render(w io.Writer, width int) error {
	tw := table.NewWriter()
	style := table.StyleLight
	style.Format = table.FormatOptions{Header: text.FormatDefault, Footer: text.FormatDefault, Row: text.FormatDefault}
	tw.SetStyle(style)
	rows := append([][]string{t.header()}, t.Rows...)
	if t.Totals != nil {
		rows = append(rows, t.Totals)
	}
	limits := t.limits(rows, width)
	toRow := func(cells []string) table.Row {
		row := make(table.Row, len(t.Columns))
		for i := range t.Columns {
			row[i] = ""
			if i < len(cells) {
				row[i] = cut(clean(cells[i]), limits[i])
			}
		}
		return row
	}
	tw.AppendHeader(toRow(rows[0]))
	for _, r := range t.Rows {
		tw.AppendRow(toRow(r))
	}
	if t.Totals != nil {
		tw.AppendFooter(toRow(t.Totals))
	}
	configs := make([]table.ColumnConfig, len(t.Columns))
	for i, c := range t.Columns {
		align := text.AlignLeft
		if c.Right {
			align = text.AlignRight
		}
		configs[i] = table.ColumnConfig{Number: i + 1, Align: align, AlignHeader: align, AlignFooter: align}
	}
	tw.SetColumnConfigs(configs)
	out := tw.Render() + "\n"
	if t.Title != "" {
		out = clean(t.Title) + "\n" + out
	}
	_, err := io.WriteString(w, out)
	return err
}

func (t *Table) header() []string {
	h := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		h[i] = c.Name
		if c.Unit != "" {
			h[i] = strings.TrimSpace(c.Name + " [" + c.Unit + "]")
		}
	}
	return h
}

// limits finds how wide each column may be.
func (t *Table) limits(rows [][]string, width int) []int {
	limits := make([]int, len(t.Columns))
	total := 1 // the border on the left; each column brings two spaces and a border
	for i := range limits {
		for _, r := range rows {
			if i < len(r) {
				limits[i] = max(limits[i], text.StringWidth(clean(r[i])))
			}
		}
		total += limits[i] + 3
	}
	for ; width > 0 && total > width; total-- {
		widest := -1
		for i, c := range t.Columns {
			if !c.Right && limits[i] > minText && (widest < 0 || limits[i] > limits[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break // nothing left to cut: too wide is better than wrong
		}
		limits[widest]--
	}
	return limits
}

// cut leaves out the middle: names that share a beginning are told apart by their end.
func cut(s string, width int) string {
	if text.StringWidth(s) <= width {
		return s
	}
	tail := []rune(s)
	for text.StringWidth(string(tail)) > (width-1)/2 {
		tail = tail[1:]
	}
	return text.Trim(s, width-1-text.StringWidth(string(tail))) + "…" + string(tail)
}
