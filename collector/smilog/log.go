package smilog

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wattledger/wattledger/collector/meter"
	"github.com/wattledger/wattledger/schemas/factor"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
)

// Source is the name these samples carry.
const Source = "nvidia-smi"

// MaxGPUs is how many GPUs one log may have: it bounds memory when the column that tells them apart holds something else.
const MaxGPUs = 1024

// maxRows keeps a batch of rows with every column we write below wire.MaxMessageBytes, device table included.
const maxRows = 4096

// GapFactor is how many median spacings the trapezoid joins unless MaxGap says otherwise.
const GapFactor = 10

// Options say how a log is read. Those that change numbers go into the run.
type Options struct {
	// Site and Node are where the log was written. Needed.
	Site, Node string
	// Model is the product, as nvidia-smi shows it or its beginning, with or without "NVIDIA". Empty: the log's column
	// name, if there is one.
	Model string
	// Timezone is that of the machine that wrote the log; nil is UTC. A row with an offset of its own needs none.
	Timezone *time.Location
	// Power is the column to integrate: power.draw (the default), power.draw.instant or power.draw.average.
	Power string
	// MaxGap is the longest distance between two readings of power that the trapezoid joins; 0 is GapFactor times the
	// median spacing of the rows.
	MaxGap time.Duration
	// BatchRows is how many rows a message has at most; 0 is 4000.
	BatchRows int
	// CompleteUpTo is the instant up to which the node is complete once the log has been replayed, not before its last
	// row: for the last log of a node the end of its last hour, so that the hour closes. 0 is the last row, for a log
	// that another one follows.
	CompleteUpTo unit.Micros
	// Bad, when set, is handed every row that is not used, in order, while the log is replayed. An error ends the replay.
	Bad func(*BadRow) error
}

// Validate reports every fault at once.
func (o *Options) Validate() error {
	var errs []error
	if strings.TrimSpace(o.Site) == "" {
		errs = append(errs, errors.New("site is empty; name the site the log comes from"))
	}
	if strings.TrimSpace(o.Node) == "" {
		errs = append(errs, errors.New("node is empty; name the host the log comes from"))
	}
	if _, err := o.power(); err != nil {
		errs = append(errs, err)
	}
	if o.MaxGap < 0 || o.MaxGap%time.Microsecond != 0 {
		errs = append(errs, fmt.Errorf("the longest gap is %v; write whole microseconds, or 0 for %d times the median spacing", o.MaxGap, GapFactor))
	}
	if o.BatchRows < 0 || o.BatchRows > maxRows {
		errs = append(errs, fmt.Errorf("batch rows is %d; write 1 to %d, or 0 for 4000", o.BatchRows, maxRows))
	}
	return errors.Join(errs...)
}

func (o *Options) power() (column, error) {
	if o.Power == "" {
		return colPower, nil
	}
	for _, c := range []column{colPower, colInstant, colAverage} {
		if o.Power == c.String() {
			return c, nil
		}
	}
	return 0, fmt.Errorf("power is %q; write power.draw, power.draw.instant or power.draw.average", o.Power)
}

// device is what the first pass learns of one GPU.
type device struct {
	record.Device
	gpu  *gpu
	peak int64 // of the column integrated, µW
	// limit is the largest limit the log names, µW.
	limit   int64
	limitBy string
}

// Log is a log that has been read once. It is not safe for concurrent use.
type Log struct {
	r       io.ReadSeeker
	name    string
	opt     Options
	power   column
	size    int64
	digest  [sha256.Size]byte
	devices []*device
	by      map[string]*device
	slots   meter.Set
	period  unit.Micros // median spacing, rounded up to whole milliseconds
	maxGap  unit.Micros
	bad     uint64
}

// Open reads a log once: its devices, its span and its spacing. r must stay open until the replay is over; what is
// written to it after Open is not part of the log. name is used in errors.
func Open(ctx context.Context, r io.ReadSeeker, name string, o Options) (*Log, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("replay %s: %w", name, err)
	}
	if o.Timezone == nil {
		o.Timezone = time.UTC
	}
	if o.BatchRows == 0 {
		o.BatchRows = 4000
	}
	l := &Log{r: r, name: name, opt: o, by: map[string]*device{}}
	l.power, _ = o.power() // validated above
	if err := l.survey(ctx); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if err := l.identify(); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return l, nil
}

// counted is a file from its beginning, hashed and measured as it is read.
type counted struct {
	r    io.Reader
	hash hash.Hash
	n    int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.hash.Write(p[:n])
	c.n += int64(n)
	return n, err
}

// survey is the first pass.
func (l *Log) survey(ctx context.Context) error {
	if _, err := l.r.Seek(0, io.SeekStart); err != nil {
		return err
	}
	file := &counted{r: l.r, hash: sha256.New()}
	scan, track, spacing := newScanner(file), newTracker(l.opt.Timezone), newSpacing()
	var firstBad *BadRow
	var head *header // the one under which power is missing, unless a later one has it
	var powered bool
	for n := 0; ; n++ {
		if n%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		r, bad, err := scan.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if bad == nil {
			bad = l.learn(track, spacing, r)
		}
		if bad != nil {
			l.bad++
			if firstBad == nil {
				firstBad = bad
			}
			continue
		}
		powered = powered || r.have[l.power]
		if head == nil || r.head.at[l.power] != 0 {
			head = r.head
		}
	}
	l.size = file.n
	file.hash.Sum(l.digest[:0])
	switch {
	case len(l.devices) == 0 && firstBad != nil:
		return fmt.Errorf("no row can be used and %d are bad; the first: %w", l.bad, firstBad)
	case len(l.devices) == 0:
		return errors.New("there is a header but no row below it")
	case !powered:
		return l.noPower(head)
	}
	l.period = spacing.median()
	if l.maxGap = unit.Micros(l.opt.MaxGap.Microseconds()); l.maxGap == 0 {
		l.maxGap = GapFactor * l.period
	}
	return nil
}

// noPower is the error of a log that cannot be integrated.
func (l *Log) noPower(h *header) error {
	if h.at[l.power] != 0 {
		return &HeaderError{h.line, 1, fmt.Sprintf("no row has a value of %s: the device or its driver does not offer it; record another power column", l.power)}
	}
	for _, c := range []column{colPower, colInstant, colAverage} {
		if h.at[c] != 0 {
			return &HeaderError{h.line, 1, fmt.Sprintf("there is no column %s but there is %s; ask for that one", l.power, c)}
		}
	}
	return &HeaderError{h.line, 1, fmt.Sprintf("there is no column %s; record one with --query-gpu=timestamp,uuid,%s", l.power, l.power)}
}

// learn takes one good row into account.
func (l *Log) learn(track *tracker, spacing *spacing, r *reading) *BadRow {
	g, bad := track.find(r)
	if bad != nil {
		return bad
	}
	at, bad := track.instant(g, r)
	if bad != nil {
		return bad
	}
	before, known := g.last, g.rows > 0
	switch track.put(g, at, r, r.have[l.power]) {
	case placeBack:
		return nil
	case placeNew:
		if known {
			spacing.add(at - before)
		}
	}
	d := l.by[g.key]
	if d == nil {
		d = &device{gpu: g}
		d.Index = uint32(len(l.devices))
		l.devices, l.by[g.key] = append(l.devices, d), d
	}
	l.describe(d, r)
	return nil
}

// describe keeps what a row says about its device; the first statement of each kind counts.
func (l *Log) describe(d *device, r *reading) {
	keep := func(to *string, c column) {
		if *to == "" {
			*to = r.textOf(c)
		}
	}
	keep(&d.Model, colName)
	keep(&d.Serial, colSerial)
	keep(&d.Driver, colDriver)
	keep(&d.VBIOS, colVBIOS)
	if i, err := strconv.ParseUint(r.textOf(colIndex), 10, 16); err == nil {
		d.Index = uint32(i)
	}
	if d.UUID == "" {
		switch r.id {
		case colUUID:
			d.UUID = r.gpu
		case colBus:
			d.UUID = l.opt.Node + "/pci/" + r.gpu
		case colIndex:
			d.UUID = l.opt.Node + "/gpu/" + r.gpu
		}
	}
	if r.have[l.power] {
		d.peak = max(d.peak, r.value[l.power])
	}
	if r.have[colLimit] {
		d.limit = max(d.limit, r.value[colLimit])
	}
	for _, m := range metered {
		if r.have[m.column] {
			l.slots = l.slots.With(m.slot)
		}
	}
}

// identify completes the devices from the options and the table of models.
func (l *Log) identify() error {
	models, err := factor.Models()
	if err != nil {
		return err
	}
	find := func(product string) (factor.Model, string, bool) {
		for _, p := range []string{product, "NVIDIA " + product} {
			if m, ok := factor.FindModel(models, p); ok {
				return m, p, true
			}
		}
		return factor.Model{}, product, false
	}
	seen := map[string]bool{}
	for _, d := range l.devices {
		if l.opt.Model != "" {
			d.Model = l.opt.Model
		}
		m, product, ok := find(d.Model)
		if !ok && l.opt.Model != "" {
			return fmt.Errorf("the model %q is not in the table of models; write one of: %s", l.opt.Model, strings.Join(slices.Sorted(maps.Keys(models)), ", "))
		}
		d.Model = product
		if d.UUID == "" {
			d.UUID = "smilog-" + hex.EncodeToString(l.digest[:8])
		}
		if seen[d.UUID] {
			return fmt.Errorf("two GPUs of this log are both named %s: a header in the middle tells them apart by another column; replay the log in parts", d.UUID)
		}
		seen[d.UUID] = true
		d.Node, d.Kind, d.Energy = l.opt.Node, record.KindGPU, record.EnergyIntegrated
		d.From, d.To = d.gpu.first, d.gpu.last
		d.IdleMilliwatts = m.Idle
		d.setLimit(m)
	}
	return nil
}

// setLimit states the most the device may draw. Whoever reads the counter takes a faster rise for a new epoch, so the
// limit is never below what the log itself shows.
func (d *device) setLimit(m factor.Model) {
	up := func(microwatts int64) unit.Milliwatts { return unit.Milliwatts((microwatts + 999) / 1000) }
	d.LimitMilliwatts, d.limitBy = max(m.Limit, 1), "models table"
	if m.Limit == 0 {
		d.limitBy = "peak of the log"
	}
	if l := up(d.limit); m.Limit == 0 && l > d.LimitMilliwatts {
		d.LimitMilliwatts, d.limitBy = l, "power.limit of the log"
	}
	if p := up(d.peak); p > d.LimitMilliwatts {
		d.LimitMilliwatts, d.limitBy = p, "peak of the log"
	}
}

// Devices are the log's devices, for the inventory. From and To are the times of a device's first and last row.
func (l *Log) Devices() []record.Device {
	out := make([]record.Device, len(l.devices))
	for i, d := range l.devices {
		out[i] = d.Device
	}
	return out
}

// Span is from the first to the last row of any device.
func (l *Log) Span() (first, last unit.Micros) {
	first, last = l.devices[0].From, l.devices[0].To
	for _, d := range l.devices[1:] {
		first, last = min(first, d.From), max(last, d.To)
	}
	return first, last
}

// Period is the median spacing of a GPU's rows, rounded up to whole milliseconds.
func (l *Log) Period() time.Duration { return l.period.Duration() }

// Digest is the SHA-256 of the log's bytes.
func (l *Log) Digest() [sha256.Size]byte { return l.digest }

// ids are the run and the boot id: hashes of the bytes and of every option that changes a number or a message.
func (l *Log) ids() (run, boot []byte) {
	id := func(what string) []byte {
		h := sha256.Sum256(fmt.Appendf(nil, "wattledger smilog %s 1\n%x\n%s\n%s\n%d\n%d\n",
			what, l.digest, l.opt.Timezone, l.power, l.maxGap, l.opt.BatchRows))
		return h[:wire.RunBytes]
	}
	return id("run"), id("boot")
}
