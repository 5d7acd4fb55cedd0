// Package evidence checks what was sealed: batches against their seals, seals against the log, the log against its checkpoint.
//
// It owns the offline bundle, which carries a ledger or one tenant's part of it with all that is needed to check it, and the
// sentences that name what is wrong: which batch, which entry, which field. It promises that a ledger of which anything that
// is hashed was changed, dropped, doubled or moved gives a finding. It reads and writes bundles; reading the database is left
// to the Source it is handed, and whether the figures follow from the samples to package verify.
package evidence

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wattledger/wattledger/aggregator/ledger"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Finding is one thing that is wrong.
type Finding struct {
	// Site and Batch say where; Site is empty when it is about the log or a whole bundle.
	Site  string `json:"site,omitempty"`
	Batch uint64 `json:"batch"`
	// What was found, in words that name the entry and the field.
	What string `json:"what"`
}

func (f Finding) String() string {
	if f.Site == "" {
		return f.What
	}
	return fmt.Sprintf("batch %d of %s: %s", f.Batch, f.Site, f.What)
}

// Report is what was checked, and what is wrong with it.
type Report struct {
	Sites       int   `json:"sites"`
	Seals       int64 `json:"seals"`
	Entries     int64 `json:"entries"`
	Subtotals   int64 `json:"subtotals"`
	Cuts        int64 `json:"cuts"`
	DeviceHours int64 `json:"device_hours"`
	// Log is the size of the log, Origin its name; Checkpoint says that one was checked.
	Log        int64  `json:"log_records"`
	Origin     string `json:"origin,omitempty"`
	Checkpoint bool   `json:"checkpoint"`
	// Tenant is whose bundle it is; empty of a whole ledger.
	Tenant string `json:"tenant,omitempty"`
	// Found counts what is wrong, Findings are the first of it. Notes are things to know that are not wrong.
	Found    int64     `json:"found"`
	Findings []Finding `json:"findings,omitempty"`
	Notes    []string  `json:"notes,omitempty"`

	mu sync.Mutex // guards all above
}

// named is how many findings are put in words: a ledger of which all is wrong must not fill the memory.
const named = 200

func (r *Report) add(f ...Finding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Found += int64(len(f))
	r.Findings = append(r.Findings, f...)
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		if a.Site != b.Site {
			return strings.Compare(a.Site, b.Site)
		}
		return int(int64(a.Batch) - int64(b.Batch))
	})
	r.Findings = r.Findings[:min(len(r.Findings), named)]
}

func (r *Report) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.Notes) < named {
		r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
		slices.Sort(r.Notes)
	}
}

func (r *Report) count(b Batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Seals++
	r.Entries += int64(len(b.Entries))
	r.Subtotals += int64(len(b.Subtotals))
	r.Cuts += int64(len(b.Cuts))
	r.DeviceHours += int64(len(b.DeviceHours))
}

// Entry is an entry as it is stored: the hashed bytes, and beside them what the columns say.
type Entry struct {
	Position  uint32
	ID        string
	Canonical []byte
	Columns   record.Entry
}

// Batch is a batch as it is stored.
type Batch struct {
	Seal        record.Seal
	Entries     []Entry // by position
	Subtotals   []record.Subtotal
	Cuts        []record.Cut
	DeviceHours []record.DeviceHour
	// Repeated counts rows that are stored more than once and read once.
	Repeated int64
}

// findings gathers what is wrong with one batch.
type findings struct {
	seal record.Seal
	list []Finding
}

func (f *findings) add(format string, args ...any) {
	f.list = append(f.list, Finding{Site: f.seal.Site, Batch: f.seal.Batch, What: fmt.Sprintf(format, args...)})
}

// entryName is how a finding speaks of an entry.
func entryName(position int, e record.Entry) string {
	name := fmt.Sprintf("entry %d (%s %s, node %s", position, e.Kind, e.Hour, e.Node)
	if e.Device != "" {
		name += ", device " + e.Device
	}
	name += ", " + string(e.Account)
	if e.Tenant != "" {
		name += " " + e.Tenant
	}
	return name + ")"
}

// lines checks each entry by itself: its place, its id, its bytes, its columns.
func (f *findings) lines(entries []Entry) []ledger.Line {
	var out []ledger.Line
	next := 0
	for _, e := range entries {
		if at := int(e.Position); at != next {
			switch {
			case at < next:
				f.add("position %d is taken twice, by %s too", at, entryName(at, e.Columns))
			case at == next+1:
				f.add("entry %d is missing", next)
			default:
				f.add("entries %d to %d are missing", next, at-1)
			}
		}
		next = int(e.Position) + 1
		if l, ok := f.line(e); ok {
			out = append(out, l)
		}
	}
	if next < f.seal.Entries {
		f.add("entries %d to %d are missing at the end", next, f.seal.Entries-1)
	}
	for i := 1; i < len(out); i++ {
		if ledger.CompareLines(out[i-1], out[i]) >= 0 {
			f.add("%s stands after %s, which is not the order of a batch", entryName(i, out[i].Entry), entryName(i-1, out[i-1].Entry))
		}
	}
	return out
}

func (f *findings) line(e Entry) (ledger.Line, bool) {
	if id := ledger.ID(e.Canonical); id != e.ID {
		f.add("%s: its id is %s, the SHA-256 of its bytes %s", entryName(int(e.Position), e.Columns), e.ID, id)
	}
	booked, err := ledger.ParseEntry(e.Canonical)
	if err != nil {
		f.add("%s: its bytes cannot be read: %v", entryName(int(e.Position), e.Columns), err)
		return ledger.Line{}, false
	}
	columns, err := ledger.Canonical(e.Columns)
	if err != nil {
		f.add("%s: its columns cannot be written: %v", entryName(int(e.Position), booked), err)
	} else if d := differences(columns, e.Canonical); d != "" {
		f.add("%s: %s", entryName(int(e.Position), booked), d)
	}
	if err := booked.Validate(); err != nil {
		f.add("%s: %v", entryName(int(e.Position), booked), strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return ledger.Line{Entry: booked, ID: ledger.ID(e.Canonical), Canonical: e.Canonical}, true
}

// differences names the fields in which two canonical forms of a kind differ.
func differences(stored, sealed []byte) string {
	if string(stored) == string(sealed) {
		return ""
	}
	var a, b map[string]json.RawMessage
	if json.Unmarshal(stored, &a) != nil || json.Unmarshal(sealed, &b) != nil {
		return "it cannot be read"
	}
	var names []string
	for k := range b {
		if string(a[k]) != string(b[k]) {
			names = append(names, k)
		}
	}
	slices.Sort(names)
	var words []string
	for _, k := range names {
		words = append(words, fmt.Sprintf("%s is stored as %.80s, sealed as %.80s", k, a[k], b[k]))
	}
	return strings.Join(words, "; ")
}

// CheckBatch says what is wrong with a batch, given the key of its site.
func CheckBatch(b Batch, key ledger.SiteKey) []Finding {
	f := findings{seal: b.Seal}
	lines := f.lines(b.Entries)
	again, err := ledger.Recompute(b.Seal, lines, b.Cuts, b.DeviceHours, key)
	if err != nil {
		f.add("it cannot be sealed again: %v", err)
		return f.list
	}
	f.subtotals(b.Subtotals, again.Subtotals)
	f.sealed(again.Seal, len(b.Cuts), len(b.DeviceHours))
	if again.Seal.Cuts != b.Seal.Cuts {
		for i, c := range b.Cuts {
			f.cut(c)
			if i > 0 && ledger.CompareCuts(b.Cuts[i-1], c) >= 0 {
				f.add("%s is there twice", cutName(c))
			}
		}
	}
	return f.list
}

// subtotals sets stored subtotals against those that the entries give.
func (f *findings) subtotals(stored, made []record.Subtotal) {
	type key struct{ hour, account, tenant string }
	keyOf := func(s record.Subtotal) key { return key{s.Hour, string(s.Account), s.Tenant} }
	have := map[key]record.Subtotal{}
	for _, s := range stored {
		if _, twice := have[keyOf(s)]; twice {
			f.add("%s is there twice", subtotalName(s))
		}
		have[keyOf(s)] = s
	}
	for _, want := range made {
		s, ok := have[keyOf(want)]
		if !ok {
			f.add("%s is missing", subtotalName(want))
			continue
		}
		delete(have, keyOf(want))
		a, err := ledger.CanonicalSubtotal(s)
		if err != nil {
			f.add("%s cannot be written: %v", subtotalName(s), err)
			continue
		}
		b, err := ledger.CanonicalSubtotal(want)
		if err != nil {
			f.add("%s cannot be written: %v", subtotalName(want), err)
			continue
		}
		if d := differences(a, b); d != "" {
			f.add("%s: %s", subtotalName(want), strings.ReplaceAll(d, "sealed as", "its entries give"))
		}
	}
	for _, s := range stored {
		if _, left := have[keyOf(s)]; left {
			f.add("%s has no entries", subtotalName(s))
			delete(have, keyOf(s))
		}
	}
}

func subtotalName(s record.Subtotal) string {
	name := fmt.Sprintf("the subtotal of %s, %s", s.Hour, s.Account)
	if s.Tenant != "" {
		name += " " + s.Tenant
	}
	return name
}

// sealed sets what the seal says against what its contents give.
func (f *findings) sealed(made record.Seal, cuts, hours int) {
	n := len(f.list)
	stated := f.seal
	if stated.Cuts != made.Cuts {
		f.add("cuts: their digest is %s, the seal says %s: of the %d cuts some were changed, or some are missing", made.Cuts, stated.Cuts, cuts)
	}
	if stated.DeviceHours != made.DeviceHours {
		f.add("device_hours: their digest is %s, the seal says %s: of the %d device-hours some were changed, or some are missing",
			made.DeviceHours, stated.DeviceHours, hours)
	}
	a, errA := ledger.CanonicalHeader(stated)
	b, errB := ledger.CanonicalHeader(made)
	if errA != nil || errB != nil {
		f.add("the seal cannot be written: %v %v", errA, errB)
		return
	}
	var diff []string
	for d := range strings.SplitSeq(differences(a, b), "; ") {
		if d != "" && !strings.HasPrefix(d, "cuts ") && !strings.HasPrefix(d, "device_hours ") {
			diff = append(diff, strings.ReplaceAll(d, "sealed as", "its entries give"))
		}
	}
	if len(diff) > 0 {
		f.add("the seal: %s", strings.Join(diff, "; "))
	}
	switch {
	case stated.Root == made.Root:
	case len(f.list) == n:
		f.add("the seal: its root is %s and all it covers gives %s: root, previous, hour, closing, reason, rules, samples or sample_rows was changed",
			stated.Root, made.Root)
	default:
		f.add("the seal: its root is %s and all it covers gives %s", stated.Root, made.Root)
	}
}

func cutName(c record.Cut) string {
	return fmt.Sprintf("the cut of device %s at %s", c.Device, c.T.Time().Format(time.RFC3339Nano))
}

// cut checks a cut by itself: where the digest only says that one was changed, this may name it.
func (f *findings) cut(c record.Cut) {
	between, err := unit.FloorMulDiv(int64(c.C1-c.C0), int64(c.T-c.T0), max(int64(c.T1-c.T0), 1))
	switch {
	case c.Low > c.C || c.High < c.C:
		f.add("%s: c is %d, which is not within low %d and high %d", cutName(c), c.C, c.Low, c.High)
	case !c.Open && (c.T0 > c.T || c.T1 < c.T):
		f.add("%s: t0 is %d and t1 %d, and it does not lie between them", cutName(c), c.T0, c.T1)
	case !c.Open && c.T1 > c.T0 && (err != nil || c.C != c.C0+unit.Millijoules(between)):
		f.add("%s: c is %d, and between c0 %d and c1 %d lies %d", cutName(c), c.C, c.C0, c.C1, c.C0+unit.Millijoules(between))
	case c.Open && c.C != c.C0:
		f.add("%s: it is open, and c is %d where c0 is %d", cutName(c), c.C, c.C0)
	}
}
