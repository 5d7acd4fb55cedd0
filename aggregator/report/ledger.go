package report

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Booked is an entry as it stands in the ledger.
type Booked struct {
	record.Entry
	// ID is the SHA-256 of the canonical entry, hex.
	ID string
	// Batch is the number of the seal that covers it, on its site.
	Batch uint64
}

// Start is the hour the entry applies to.
func (b Booked) Start() (unit.Micros, error) {
	t, err := time.Parse(time.RFC3339, b.Hour)
	if err != nil {
		return 0, fmt.Errorf("entry %s: hour %q is not an RFC 3339 time", b.ID, b.Hour)
	}
	return unit.MicrosOf(t), nil
}

// Period is the hours [From, To) a document is about.
type Period struct{ From, To unit.Micros }

// Validate reports every fault at once. The ledger's grain is the hour.
func (p Period) Validate() error {
	var errs []error
	if p.From%unit.Hour != 0 || p.To%unit.Hour != 0 {
		errs = append(errs, fmt.Errorf("period %s to %s: the ledger is kept by the hour; begin and end on a full hour (UTC)", p.From.Time().Format(time.RFC3339), p.To.Time().Format(time.RFC3339)))
	}
	if p.From < 0 || p.To <= p.From {
		errs = append(errs, fmt.Errorf("period %s to %s is empty: the end must be after the start", p.From.Time().Format(time.RFC3339), p.To.Time().Format(time.RFC3339)))
	}
	return errors.Join(errs...)
}

// Holds says whether an instant lies in the period.
func (p Period) Holds(t unit.Micros) bool { return p.From <= t && t < p.To }

// Label names the period in file names and invoice numbers: 2026-01, 2026-01-31, or from and to.
func (p Period) Label() string {
	from, to := p.From.Time(), p.To.Time()
	day := func(t time.Time) bool { return t.Hour() == 0 && t.Minute() == 0 }
	switch {
	case day(from) && from.Day() == 1 && to.Equal(from.AddDate(0, 1, 0)):
		return from.Format("2006-01")
	case day(from) && to.Equal(from.AddDate(0, 0, 1)):
		return from.Format(time.DateOnly)
	case day(from) && day(to):
		return from.Format(time.DateOnly) + "_" + to.Format(time.DateOnly)
	default:
		return from.Format("2006-01-02T15Z") + "_" + to.Format("2006-01-02T15Z")
	}
}

// String is the period as people write it.
func (p Period) String() string { return Stamp(p.From) + " to " + Stamp(p.To) }

// Stamp is an instant as documents write it.
func Stamp(t unit.Micros) string { return t.Time().Format(time.RFC3339) }

// AsOf says how much of the ledger a document was made from: the first batches of each site. Batches of a site follow one
// another, so this names a set of seals that never changes, whatever other sites do meanwhile.
type AsOf map[string]uint64

// AsOfSeals covers all the seals.
func AsOfSeals(seals []record.Seal) AsOf {
	a := AsOf{}
	for _, s := range seals {
		a[s.Site] = max(a[s.Site], s.Batch+1)
	}
	return a
}

// Seals is how many there are.
func (a AsOf) Seals() uint64 {
	var n uint64
	for _, b := range a {
		n += b
	}
	return n
}

// Covers says whether a batch belongs to it.
func (a AsOf) Covers(site string, batch uint64) bool { return batch < a[site] }

// String is what ParseAsOf reads: site=batches, joined by commas, in order of site.
func (a AsOf) String() string {
	parts := make([]string, 0, len(a))
	for site, n := range a {
		parts = append(parts, site+"="+strconv.FormatUint(n, 10))
	}
	slices.Sort(parts)
	return strings.Join(parts, ",")
}

// ParseAsOf reads what String writes.
func ParseAsOf(s string) (AsOf, error) {
	a := AsOf{}
	for part := range strings.SplitSeq(s, ",") {
		site, count, ok := strings.Cut(part, "=")
		n, err := strconv.ParseUint(count, 10, 63)
		if _, twice := a[site]; !ok || err != nil || site == "" || twice {
			return nil, fmt.Errorf("as-of %q: %q is not SITE=BATCHES; write it as a report prints it, for example fr-1=24,se-1=24", s, part)
		}
		a[site] = n
	}
	return a, nil
}
