package smilog

import (
	"fmt"
	"strings"

	"github.com/wattledger/wattledger/collector/meter"
)

// column is a quantity we read from a log.
type column uint8

const (
	colTime column = iota
	colUUID
	colBus
	colIndex
	colName
	colSerial
	colDriver
	colVBIOS
	colPower
	colInstant
	colAverage
	colTemperature
	colMemoryTemperature
	colSMClock
	colMemoryClock
	colUsed
	colFree
	colLimit
	colUtilization
	colMemoryUtilization
	colPState
	colReasons
	columnCount
)

// form is how a column's values are written.
type form uint8

const (
	formText form = iota
	formNumber
	formPState
	formHex
)

// columns says for each column its names (the first is nvidia-smi's own, the others its aliases and older ones), its
// unit, its form, and the DCGM field of the same quantity, 0 for none.
var columns = [columnCount]struct {
	names []string
	unit  string
	form  form
	field uint16
}{
	colTime:              {[]string{"timestamp"}, "", formText, 0},
	colUUID:              {[]string{"uuid", "gpu_uuid"}, "", formText, 0},
	colBus:               {[]string{"pci.bus_id", "gpu_bus_id"}, "", formText, 0},
	colIndex:             {[]string{"index"}, "", formText, 0},
	colName:              {[]string{"name", "gpu_name"}, "", formText, 0},
	colSerial:            {[]string{"serial", "gpu_serial"}, "", formText, 0},
	colDriver:            {[]string{"driver_version"}, "", formText, 0},
	colVBIOS:             {[]string{"vbios_version"}, "", formText, 0},
	colPower:             {[]string{"power.draw"}, "W", formNumber, 155},
	colInstant:           {[]string{"power.draw.instant"}, "W", formNumber, 157},
	colAverage:           {[]string{"power.draw.average"}, "W", formNumber, 0},
	colTemperature:       {[]string{"temperature.gpu"}, "C", formNumber, 150},
	colMemoryTemperature: {[]string{"temperature.memory"}, "C", formNumber, 140},
	colSMClock:           {[]string{"clocks.current.sm", "clocks.sm"}, "MHz", formNumber, 100},
	colMemoryClock:       {[]string{"clocks.current.memory", "clocks.mem"}, "MHz", formNumber, 101},
	colUsed:              {[]string{"memory.used"}, "MiB", formNumber, 252},
	colFree:              {[]string{"memory.free"}, "MiB", formNumber, 251},
	colLimit:             {[]string{"enforced.power.limit", "power.limit"}, "W", formNumber, 164},
	colUtilization:       {[]string{"utilization.gpu"}, "%", formNumber, 203},
	colMemoryUtilization: {[]string{"utilization.memory"}, "%", formNumber, 204},
	colPState:            {[]string{"pstate"}, "", formPState, 190},
	colReasons:           {[]string{"clocks_event_reasons.active", "clocks_throttle_reasons.active"}, "", formHex, 112},
}

// metered are the columns that the meter has a slot for.
var metered = func() (out []struct {
	column column
	slot   meter.Slot
},
) {
	for c, spec := range columns {
		if s, ok := meter.SlotOf(spec.field); ok && spec.field != 0 {
			out = append(out, struct {
				column column
				slot   meter.Slot
			}{column(c), s})
		}
	}
	return out
}()

func (c column) String() string { return columns[c].names[0] }

// header is where each column of the lines below it stands.
type header struct {
	line  int64
	width int
	at    [columnCount]int // position from 1, 0 when absent
	// id is the column that tells GPUs apart, colTime when none does.
	id column
}

// HeaderError is a fault that makes every row below it useless.
type HeaderError struct {
	Line   int64
	Column int // in bytes from 1
	Detail string
}

func (e *HeaderError) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Detail)
}

// isHeader says whether a line names columns: nvidia-smi repeats its header when a log is restarted.
func isHeader(cells []cell) bool {
	want := columns[colTime].names[0]
	for _, c := range cells {
		if len(c.text) < len(want) || !strings.EqualFold(c.text[:len(want)], want) {
			continue
		}
		if name, _ := nameAndUnit(c.text); name == want {
			return true
		}
	}
	return false
}

// nameAndUnit takes "power.draw [W]" apart.
func nameAndUnit(s string) (name, unit string) {
	name, rest, ok := strings.Cut(s, "[")
	if ok {
		unit = strings.TrimSuffix(strings.TrimSpace(rest), "]")
	}
	return strings.ToLower(strings.TrimSpace(name)), unit
}

func parseHeader(n int64, cells []cell) (*header, error) {
	h := &header{line: n, width: len(cells)}
	var rank [columnCount]int
	for i, c := range cells {
		name, unit := nameAndUnit(c.text)
		col, r := lookup(name)
		if col == columnCount {
			continue // a column we have no use for
		}
		if want := columns[col].unit; unit != "" && !strings.EqualFold(unit, want) {
			return nil, &HeaderError{n, c.at, fmt.Sprintf("%s is in %q; it is read in %s as nvidia-smi writes it", name, unit, orNone(want))}
		}
		if h.at[col] != 0 && rank[col] == r {
			return nil, &HeaderError{n, c.at, fmt.Sprintf("the column %s is there twice; remove one", name)}
		}
		if h.at[col] == 0 || r < rank[col] { // enforced.power.limit before power.limit
			h.at[col], rank[col] = i+1, r
		}
	}
	for _, id := range []column{colUUID, colBus, colIndex} {
		if h.at[id] != 0 {
			h.id = id
			break
		}
	}
	return h, nil
}

func lookup(name string) (col column, rank int) {
	for c := range columnCount {
		for r, n := range columns[c].names {
			if n == name {
				return c, r
			}
		}
	}
	return columnCount, 0
}

func orNone(unit string) string {
	if unit == "" {
		return "no unit"
	}
	return unit
}

// missing says whether a cell stands for no value: [N/A], [Not Supported], [Unknown Error], [GPU requires reset] and
// whatever else nvidia-smi puts in brackets, and an empty cell.
func missing(s string) bool {
	switch {
	case s == "", strings.EqualFold(s, "N/A"), s == "ERR!":
		return true
	default:
		return s[0] == '[' && s[len(s)-1] == ']'
	}
}
