package evidence

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/wattledger/wattledger/aggregator/ledger"
	"github.com/wattledger/wattledger/schemas/record"
)

// page is the file of a batch while it is read, line by line: it keeps sums and tree heads, and no entry.
type page struct {
	f      *findings
	file   string
	line   int
	tenant string
	logged ledger.LogRecord
	index  int64

	opened     bool
	header     ledger.Hash // the header's leaf
	made       record.Seal // what the lines give
	stated     record.Seal
	root       string
	commitment ledger.Hash // of the tenant whose bundle it is
	leaves     []ledger.SiteLeaf
	subtotals  []record.Subtotal
	groups     map[subtotalKey]*ledger.Sum
	last       ledger.Line
	lines      int
	lastCut    *record.Cut
	lastHour   *record.DeviceHour
	cuts       ledger.Tree
	hours      ledger.Tree
	part       int // of the file: parts do not go back
}

type subtotalKey struct {
	hour, account, tenant string
}

func (p *page) wrong(format string, args ...any) {
	p.f.add("%s, line %d: %s", p.file, p.line, fmt.Sprintf(format, args...))
}

// parts of a batch's file, in their order.
const (
	partHeader = iota
	partLeaf
	partSubtotal
	partEntry
	partCut
	partHour
)

func (p *page) read(line []byte) {
	part, err := -1, error(nil)
	switch {
	case bytes.HasPrefix(line, []byte(`{"header":`)) && p.tenant == "":
		part, err = partHeader, p.readHeader(line)
	case bytes.HasPrefix(line, []byte(`{"header_leaf":`)) && p.tenant != "":
		part, err = partHeader, p.readHidden(line)
	case bytes.HasPrefix(line, []byte(`{"leaf":`)) && p.tenant != "":
		part, err = partLeaf, p.readLeaf(line)
	case bytes.HasPrefix(line, []byte(`{"subtotal":`)):
		part, err = partSubtotal, p.readSubtotal(line)
	case bytes.HasPrefix(line, []byte(`{"entry":`)):
		part, err = partEntry, p.readEntry(line)
	case bytes.HasPrefix(line, []byte(`{"cut":`)) && p.tenant == "":
		part, err = partCut, p.readCut(line)
	case bytes.HasPrefix(line, []byte(`{"device_hour":`)) && p.tenant == "":
		part, err = partHour, p.readHour(line)
	default:
		err = errLine
	}
	if err != nil {
		p.wrong("%v", err)
		return
	}
	if part < p.part || (part == partHeader) != (p.line == 1) {
		p.wrong("it stands out of order")
	}
	p.part = part
}

func (p *page) readHeader(line []byte) error {
	l, err := readLine[headerLine](line)
	if err != nil {
		return err
	}
	salt, err := parseHash(l.Salt)
	if err != nil {
		return err
	}
	if p.stated, err = ledger.ParseHeader(l.Header); err != nil {
		return err
	}
	p.stated.Root, p.opened, p.root = l.Root, true, l.Root
	p.header = ledger.HeaderLeaf(salt, l.Header)
	if got := ledger.LogRecordOf(p.stated); got != p.logged {
		return fmt.Errorf("the header says %+v, the log %+v", got, p.logged)
	}
	return p.place(l.Index)
}

func (p *page) place(index int64) error {
	if index != p.index {
		return fmt.Errorf("index is %d, and the batch is number %d of the log", index, p.index)
	}
	return nil
}

func (p *page) readHidden(line []byte) error {
	l, err := readLine[hiddenLine](line)
	if err != nil {
		return err
	}
	if p.header, err = parseHash(l.HeaderLeaf); err != nil {
		return err
	}
	salt, err := parseHash(l.TenantSalt)
	if err != nil {
		return err
	}
	p.opened, p.root, p.commitment = true, l.Root, ledger.Commitment(salt, p.tenant)
	if l.Root != p.logged.Root {
		return fmt.Errorf("root is %s, the log says %s", l.Root, p.logged.Root)
	}
	return p.place(l.Index)
}

func (p *page) readLeaf(line []byte) error {
	l, err := readLine[leafLine](line)
	if err != nil {
		return err
	}
	b, err := hex.DecodeString(l.Leaf)
	if err != nil || len(b) != ledger.SiteLeafSize || hex.EncodeToString(b) != l.Leaf {
		return fmt.Errorf("%.160q is no leaf", l.Leaf)
	}
	p.leaves = append(p.leaves, ledger.SiteLeaf(b))
	return nil
}

func (p *page) readSubtotal(line []byte) error {
	l, err := readLine[subtotalLine](line)
	if err != nil {
		return err
	}
	s, err := ledger.ParseSubtotal(l.Subtotal)
	if err != nil {
		return err
	}
	salt, err := parseHash(l.Salt)
	if err != nil {
		return err
	}
	tenantSalt, err := parseHash(l.TenantSalt)
	if err != nil {
		return err
	}
	if n := len(p.subtotals); n > 0 && ledger.CompareSubtotals(p.subtotals[n-1], s) >= 0 {
		return fmt.Errorf("%s stands out of order, or twice", subtotalName(s))
	}
	if s.Site != p.logged.Site {
		return fmt.Errorf("%s is of site %s", subtotalName(s), s.Site)
	}
	p.subtotals = append(p.subtotals, s)
	commitment := ledger.Commitment(tenantSalt, s.Tenant)
	leaf := ledger.NewSiteLeaf(commitment, ledger.SubtotalDigest(salt, l.Subtotal))
	if p.tenant == "" {
		p.leaves = append(p.leaves, leaf)
		return nil
	}
	if s.Tenant != p.tenant {
		return fmt.Errorf("%s is another tenant's", subtotalName(s))
	}
	if commitment != p.commitment {
		return fmt.Errorf("%s: its tenant_salt is not that of the batch", subtotalName(s))
	}
	if !slices.Contains(p.leaves, leaf) {
		return fmt.Errorf("%s is none of the leaves of the seal", subtotalName(s))
	}
	return nil
}

func (p *page) readEntry(line []byte) error {
	l, err := readLine[entryLine](line)
	if err != nil {
		return err
	}
	e, err := ledger.ParseEntry(l.Entry)
	if err != nil {
		return err
	}
	salt, err := parseHash(l.Salt)
	if err != nil {
		return err
	}
	name := entryName(p.lines, e)
	if err := e.Validate(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if e.Site != p.logged.Site {
		return fmt.Errorf("%s is of site %s", name, e.Site)
	}
	this := ledger.Line{Entry: e, Canonical: slices.Clone(l.Entry)}
	if p.lines > 0 && ledger.CompareLines(p.last, this) >= 0 {
		p.wrong("%s stands out of order, or twice", name)
	}
	p.last = this
	p.lines++
	ledger.AddToSeal(&p.made, e)
	if p.groups == nil {
		p.groups = map[subtotalKey]*ledger.Sum{}
	}
	k := subtotalKey{e.Hour, string(e.Account), e.Tenant}
	if p.groups[k] == nil {
		p.groups[k] = &ledger.Sum{}
	}
	p.groups[k].Add(e, salt, l.Entry)
	return nil
}

func (p *page) readCut(line []byte) error {
	l, err := readLine[cutLine](line)
	if err != nil {
		return err
	}
	c, err := ledger.ParseCut(l.Cut)
	if err != nil {
		return err
	}
	if p.lastCut != nil && ledger.CompareCuts(*p.lastCut, c) >= 0 {
		p.wrong("%s stands out of order, or twice", cutName(c))
	}
	p.lastCut = &c
	p.cuts.Add(ledger.LeafHash(l.Cut))
	return nil
}

func (p *page) readHour(line []byte) error {
	l, err := readLine[deviceHourLine](line)
	if err != nil {
		return err
	}
	d, err := ledger.ParseDeviceHour(l.DeviceHour)
	if err != nil {
		return err
	}
	if p.lastHour != nil && ledger.CompareDeviceHours(*p.lastHour, d) >= 0 {
		p.wrong("the device-hour of %s %s at %s stands out of order, or twice", d.Node, d.Device, d.Hour)
	}
	p.lastHour = &d
	p.hours.Add(ledger.LeafHash(l.DeviceHour))
	return nil
}

// finish holds what was read against the root.
func (p *page) finish() {
	if !p.opened {
		p.f.add("%s has no header", p.file)
		return
	}
	var made []record.Subtotal
	for _, g := range p.groups {
		made = append(made, g.Subtotal())
	}
	slices.SortFunc(made, ledger.CompareSubtotals)
	p.f.subtotals(p.subtotals, made)
	if p.tenant == "" {
		slices.SortFunc(p.leaves, func(a, b ledger.SiteLeaf) int { return bytes.Compare(a[:], b[:]) })
		p.sealed()
		return
	}
	if !slices.IsSortedFunc(p.leaves, func(a, b ledger.SiteLeaf) int { return bytes.Compare(a[:], b[:]) }) {
		p.f.add("%s: its leaves are not in order", p.file)
	}
	own := 0
	for _, l := range p.leaves {
		if bytes.Equal(l[:len(p.commitment)], p.commitment[:]) {
			own++
		}
	}
	if own != len(p.subtotals) {
		p.f.add("%s: the seal has %d subtotals of tenant %s, the bundle shows %d", p.file, own, p.tenant, len(p.subtotals))
	}
	if root := ledger.RootOf(p.header, p.leaves); hexOf(root) != p.root {
		p.f.add("%s: the root is %s, and its leaves give %s", p.file, p.root, hexOf(root))
	}
}

// sealed sets the header of a whole batch against what the lines give.
func (p *page) sealed() {
	s := p.stated
	made := p.made
	made.Site, made.Batch, made.Previous, made.Hour, made.Closing, made.Reason, made.Rules = s.Site, s.Batch, s.Previous, s.Hour, s.Closing, s.Reason, s.Rules
	made.Samples, made.SampleRows = s.Samples, s.SampleRows
	made.Cuts, made.DeviceHours = hexOf(p.cuts.Root()), hexOf(p.hours.Root())
	made.Root = hexOf(ledger.RootOf(p.header, p.leaves))
	p.f.seal = s
	p.f.sealed(made, int(p.cuts.Count()), int(p.hours.Count()))
}
