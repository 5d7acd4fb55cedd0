package allocations

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/wattledger/wattledger/ingest/fault"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Columns are the columns a file may have, in any order.
var Columns = []string{
	"allocation_id", "device", "thousandths", "start", "end", "tenant", "project", "workload", "model_id", "purpose", "scheduler_ref", "revision",
}

var required = []string{"allocation_id", "device", "start", "tenant"}

// File is what a file says.
type File struct {
	Allocations []record.Allocation
	// Faults are the rows that were left out, in the order of lines.
	Faults []fault.Fault
	// Rows is how many rows the file has below its header; those with faults are among them.
	Rows int
}

// Parse reads a whole file. The error is a fault.Fault for a header that cannot be read; then there are no rows.
func Parse(data []byte) (File, error) {
	var f File
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))))
	r.FieldsPerRecord = -1 // counted here, where a remedy can be given
	r.ReuseRecord = true
	at, err := header(r)
	if err != nil {
		return f, err
	}
	width := len(at)
	type key struct{ id, device string }
	lines := map[key]int{}
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return f, nil
		}
		f.Rows++
		if err != nil {
			f.Faults = append(f.Faults, csvFault(err))
			continue
		}
		line, _ := r.FieldPos(0)
		if len(row) != width {
			f.Faults = append(f.Faults, fault.Fault{Line: line, Text: fmt.Sprintf(
				"the row has %d fields and the header %d; put a text that holds a comma in double quotes", len(row), width)})
			continue
		}
		a, faults := parseRow(row, at, r)
		if len(faults) == 0 {
			k := key{a.ID, a.Device}
			if first, twice := lines[k]; twice && at["revision"] == 0 {
				_, column := r.FieldPos(at["allocation_id"] - 1)
				faults = append(faults, fault.Fault{Line: line, Column: column, Text: fmt.Sprintf(
					"allocation %s holds device %s in line %d already; remove one of the two, or add a column revision to say which counts", a.ID, a.Device, first)})
			}
			lines[k] = line
		}
		if len(faults) > 0 {
			f.Faults = append(f.Faults, faults...)
			continue
		}
		f.Allocations = append(f.Allocations, a)
	}
}

// header says at which position each column stands, from 1, so that 0 is a column that is not there.
func header(r *csv.Reader) (map[string]int, error) {
	names, err := r.Read()
	if errors.Is(err, io.EOF) {
		return nil, fault.Fault{Line: 1, Text: "the file is empty; the first line names the columns: " + strings.Join(Columns, ",")}
	}
	if err != nil {
		return nil, csvFault(err)
	}
	at := map[string]int{}
	for i, name := range names {
		line, column := r.FieldPos(i)
		bad := func(format string, args ...any) error {
			return fault.Fault{Line: line, Column: column, Text: fmt.Sprintf(format, args...)}
		}
		name = strings.ToLower(strings.TrimSpace(name))
		switch {
		case len(names) == 1 && strings.ContainsAny(name, ";\t"):
			return nil, bad("the columns are not separated by commas; write the file with commas")
		case !known(name):
			hint := "the columns are " + strings.Join(Columns, ", ")
			if near := fault.Nearest(name, Columns); near != "" {
				hint = fmt.Sprintf("did you mean %s?", near)
			}
			return nil, bad("column %q is unknown; %s", name, hint)
		case at[name] != 0:
			return nil, bad("column %s is there twice; remove one", name)
		}
		at[name] = i + 1
	}
	for _, name := range required {
		if at[name] == 0 {
			return nil, fault.Fault{Line: 1, Text: fmt.Sprintf("column %s is missing; %s are required", name, strings.Join(required, ", "))}
		}
	}
	return at, nil
}

func known(name string) bool {
	for _, c := range Columns {
		if c == name {
			return true
		}
	}
	return false
}

func parseRow(row []string, at map[string]int, r *csv.Reader) (record.Allocation, []fault.Fault) {
	var faults []fault.Fault
	bad := func(name, format string, args ...any) {
		line, column := r.FieldPos(max(0, at[name]-1))
		faults = append(faults, fault.Fault{Line: line, Column: column, Text: fmt.Sprintf(format, args...)})
	}
	get := func(name string) string {
		if at[name] == 0 {
			return ""
		}
		s := strings.TrimSpace(row[at[name]-1])
		if strings.ToValidUTF8(s, "") != s {
			bad(name, "%s is not UTF-8; save the file as UTF-8", name)
			return ""
		}
		return strings.Clone(s) // the reader uses its row again
	}
	instant := func(name string) unit.Micros {
		s := get(name)
		if s == "" {
			return 0
		}
		t, err := time.Parse(time.RFC3339Nano, s)
		switch {
		case err != nil:
			bad(name, "%s is %q; write an instant with its time zone, such as 2026-01-31T10:00:00Z or 2026-01-31T11:00:00+01:00", name, s)
		case t.Nanosecond()%1000 != 0:
			bad(name, "%s is %q; instants are kept to the microsecond, six digits after the second", name, s)
		case t.Year() < 2000 || t.Year() >= 2100:
			bad(name, "%s is %q; the year must lie between 2000 and 2100", name, s)
		default:
			return unit.Micros(t.UnixMicro())
		}
		return 0
	}
	number := func(name string, otherwise uint64) uint64 {
		s := get(name)
		if s == "" {
			return otherwise
		}
		n, err := strconv.ParseUint(s, 10, 63)
		if err != nil {
			bad(name, "%s is %q; write a whole number", name, s)
			return otherwise
		}
		return n
	}
	a := record.Allocation{
		ID: get("allocation_id"), Device: get("device"), Tenant: get("tenant"), Project: get("project"), Workload: get("workload"),
		ModelID: get("model_id"), Purpose: get("purpose"), Scheduler: get("scheduler_ref"),
		Share: unit.Thousandths(number("thousandths", uint64(unit.WholeDevice))), Start: instant("start"), End: instant("end"),
	}
	// A statement that an allocation has ended outranks the one that it runs.
	a.Revision = 1
	if a.End != 0 {
		a.Revision = 2
	}
	a.Revision = number("revision", a.Revision)
	if len(faults) > 0 {
		return a, faults
	}
	if err := a.Validate(); err != nil {
		for _, e := range unjoin(err) {
			// Each begins with the name of what is wrong.
			name, _, _ := strings.Cut(e.Error(), " ")
			bad(name, "%s", e)
		}
	}
	return a, faults
}

func unjoin(err error) []error {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		return joined.Unwrap()
	}
	return []error{err}
}

func csvFault(err error) fault.Fault {
	var parse *csv.ParseError
	if !errors.As(err, &parse) {
		return fault.Fault{Text: err.Error()}
	}
	text := parse.Err.Error()
	switch {
	case errors.Is(parse.Err, csv.ErrQuote):
		text = `a double quote is not closed, or text follows it; write "" for a quote inside quotes`
	case errors.Is(parse.Err, csv.ErrBareQuote):
		text = `a double quote stands inside a field without quotes; put the field in quotes and write "" for the quote`
	}
	return fault.Fault{Line: parse.Line, Column: parse.Column, Text: text}
}
