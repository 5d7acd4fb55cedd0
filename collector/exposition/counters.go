package exposition

import (
	"bufio"
	"bytes"
	_ "embed" // the default set
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/wattledger/wattledger/collector/dcgmfields"
	"github.com/wattledger/wattledger/collector/meter"
)

// The synthetic metrics of dcgm-exporter.
const (
	xidCount    = "DCGM_EXP_XID_ERRORS_COUNT"
	fieldXID    = 230
	fieldCPU    = 1130 // the power of a Grace CPU, in the slot of power
	maxCSVBytes = 1 << 20
)

var (
	kinds      = []string{"gauge", "counter", "histogram", "summary", "label"}
	synthetics = []string{xidCount, "DCGM_EXP_CLOCK_EVENTS_COUNT", "DCGM_EXP_GPU_HEALTH_STATUS", "DCGM_EXP_P2P_STATUS"}
)

//go:embed default.csv
var defaultCSV []byte

// Counter is one line of the CSV: a metric, or a label.
type Counter struct {
	// Name is what is printed: the field's old name, or the name of dcgm-exporter 1.x when the CSV uses it.
	Name string
	// Type is what the TYPE line says.
	Type, Help string
	Field      dcgmfields.Field

	// Where the value is: a slot of the row, or a position in the extra columns.
	slot  meter.Slot
	extra int // -1: in the slot
}

// Counters is what to show. Ask Extra and Labels for what a source has to read besides what is metered.
type Counters struct {
	metrics  []Counter
	labels   []Counter
	extra    []uint16
	xids     *Counter // DCGM_EXP_XID_ERRORS_COUNT, when asked for
	unserved []string
}

// Extra lists the fields that no metric is made from, in the order in which Readings.Extra is read.
func (c *Counters) Extra() []uint16 { return slices.Clone(c.extra) }

// Labels lists the fields whose text becomes a label of every series, in the order of Ports.Label.
func (c *Counters) Labels() []uint16 {
	out := make([]uint16, len(c.labels))
	for i, l := range c.labels {
		out[i] = l.Field.ID
	}
	return out
}

// Unserved names what the CSV asks for and we do not show.
func (c *Counters) Unserved() []string { return slices.Clone(c.unserved) }

// LoadCounters reads the CSV of a file, or our own when there is no name.
func LoadCounters(file string) (*Counters, error) {
	if file == "" {
		return ParseCounters("default set", defaultCSV)
	}
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("list of metrics: %w; name it in metrics.counters_file, or leave that out for the default set", err)
	}
	if info.Size() > maxCSVBytes {
		return nil, fmt.Errorf("list of metrics %s has %d bytes, more than %d", file, info.Size(), maxCSVBytes)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("list of metrics: %w", err)
	}
	return ParseCounters(file, data)
}

// ParseCounters reads dcgm-exporter's CSV and reports every fault at once.
func ParseCounters(name string, data []byte) (*Counters, error) {
	if len(data) > maxCSVBytes {
		return nil, fmt.Errorf("list of metrics %s has %d bytes, more than %d", name, len(data), maxCSVBytes)
	}
	p := parser{name: name, out: &Counters{}, seen: map[string]int{}}
	lines := bufio.NewScanner(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff"))))
	lines.Buffer(nil, maxCSVBytes+1)
	for lines.Scan() {
		p.line++
		p.parse(lines.Text())
	}
	if err := lines.Err(); err != nil {
		p.bad(1, "%v", err)
	}
	if len(p.faults) == 0 && len(p.out.metrics) == 0 && p.out.xids == nil {
		p.bad(1, "there is no metric; write lines like: DCGM_FI_DEV_GPU_TEMP, gauge, Temperature in C.")
	}
	if err := errors.Join(p.faults...); err != nil {
		return nil, err
	}
	// dcgm-exporter prints labels by name.
	slices.SortStableFunc(p.out.labels, func(a, b Counter) int { return strings.Compare(a.Name, b.Name) })
	return p.out, nil
}

type parser struct {
	name   string
	line   int
	out    *Counters
	seen   map[string]int // name to line
	faults []error
}

func (p *parser) bad(column int, format string, args ...any) {
	const enough = 100
	if len(p.faults) < enough {
		p.faults = append(p.faults, fmt.Errorf("%s:%d:%d: %s", p.name, p.line, column, fmt.Sprintf(format, args...)))
	}
}

func (p *parser) parse(line string) {
	trimmed := strings.TrimSpace(line)
	if trimmed == "" || trimmed[0] == '#' {
		return
	}
	if !utf8.ValidString(line) {
		p.bad(1, "the line is not UTF-8; save the file as UTF-8")
		return
	}
	first, rest, ok1 := strings.Cut(line, ",")
	second, third, ok2 := strings.Cut(rest, ",")
	name, kind, help := unquote(first), unquote(second), unquote(third)
	if !ok1 || !ok2 || name == "" {
		p.bad(1, "%q is not field, type, help; separate three columns by commas", trimmed)
		return
	}
	kindAt := len(first) + 2 + len(second) - len(strings.TrimLeft(second, " \t"))
	if !slices.Contains(kinds, kind) {
		p.bad(kindAt, "type %q of %s is none of gauge, counter, histogram, summary and label", kind, name)
		return
	}
	c := Counter{Type: kind, Help: help, extra: -1}
	if kind == "histogram" || kind == "summary" {
		c.Type = "untyped"
	}
	if slices.Contains(synthetics, name) {
		c.Name = name
		if p.once(c.Name) {
			p.synthetic(c, kind, kindAt)
		}
		return
	}
	f, ok := dcgmfields.ByName(name)
	c.Name = f.Name()
	if id, old := legacy[name]; old {
		f, ok = dcgmfields.ByID(id)
		c.Name = name
	}
	if !ok {
		remedy := "correct it or take the line out"
		if near := dcgmfields.Nearest(name); near != "" {
			remedy = fmt.Sprintf("did you mean %s?", near)
		}
		p.bad(1+len(first)-len(strings.TrimLeft(first, " \t")), "unknown field %q; %s", name, remedy)
		return
	}
	c.Field = f
	if p.once(c.Name) {
		p.add(c, kind, kindAt)
	}
}

// unquote takes spaces and, as CSV may have them, quotes away.
func unquote(s string) string {
	s = strings.TrimSpace(s)
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		s = strings.ReplaceAll(s[1:len(s)-1], `""`, `"`)
	}
	return s
}

func (p *parser) once(name string) bool {
	if line, twice := p.seen[name]; twice {
		p.bad(1, "%s was named in line %d already; take one of them out", name, line)
		return false
	}
	p.seen[name] = p.line
	return true
}

func (p *parser) synthetic(c Counter, kind string, kindAt int) {
	switch {
	case kind == "label":
		p.bad(kindAt, "%s is counted and cannot be a label; write gauge", c.Name)
	case c.Name == xidCount:
		p.out.xids = &c
	default:
		p.out.unserved = append(p.out.unserved, c.Name)
	}
}

func (p *parser) add(c Counter, kind string, kindAt int) {
	switch {
	case kind == "label":
		p.out.labels = append(p.out.labels, c)
	case c.Field.Type == dcgmfields.Text:
		p.bad(kindAt, "%s is a text and cannot be a %s; write label", c.Name, kind)
	case c.Field.Level == dcgmfields.Core || c.Field.Level == dcgmfields.Link || c.Field.Level == dcgmfields.Node:
		p.out.unserved = append(p.out.unserved, c.Name)
	default:
		var ok bool
		if c.Field.ID == fieldCPU {
			c.slot, ok = meter.SlotPower, true
		} else {
			c.slot, ok = meter.SlotOf(c.Field.ID)
		}
		if !ok {
			if c.extra = slices.Index(p.out.extra, c.Field.ID); c.extra < 0 {
				c.extra = len(p.out.extra)
				p.out.extra = append(p.out.extra, c.Field.ID)
			}
		}
		p.out.metrics = append(p.out.metrics, c)
	}
}
