package report

import (
	"cmp"
	"encoding/hex"
	"slices"

	"github.com/wattledger/wattledger/aggregator/ledger"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Log is the seals a document is made from, seen from its period.
type Log struct {
	period Period
	asOf   AsOf
	seals  []record.Seal // whose hour lies in the period, in the order of the log
	sites  []SiteLog
	later  map[batchKey]string // roots of the batches whose hour does not
}

// NewLog takes all the seals there were, those outside the period too.
func NewLog(period Period, all []record.Seal) *Log {
	l := &Log{period: period, asOf: AsOfSeals(all), sites: []SiteLog{}, later: map[batchKey]string{}}
	ordered := slices.Clone(all)
	slices.SortFunc(ordered, CompareSeals)
	bySite := map[string][]record.Seal{}
	for _, s := range ordered {
		bySite[s.Site] = append(bySite[s.Site], s)
		if period.Holds(s.Hour) {
			l.seals = append(l.seals, s)
		} else {
			l.later[batchKey{s.Site, s.Batch}] = s.Root
		}
	}
	for _, site := range keys(bySite) {
		l.sites = append(l.sites, period.siteLog(site, bySite[site]))
	}
	return l
}

// AsOf is how much of the ledger that is.
func (l *Log) AsOf() AsOf { return l.asOf }

// Seals are those of the period, in the order of the log.
func (l *Log) Seals() []record.Seal { return l.seals }

// Open names the hours of the period that are not closed, by site.
func (l *Log) Open() []string {
	var out []string
	for _, s := range l.sites {
		for _, hours := range s.NotClosed {
			out = append(out, s.Site+", "+hours)
		}
	}
	return out
}

// SiteLog is the part of a site's log whose hours lie in the period.
type SiteLog struct {
	Site       string `json:"site"`
	Seals      int    `json:"seals"`
	FirstBatch uint64 `json:"first_batch"`
	LastBatch  uint64 `json:"last_batch"`
	LastRoot   string `json:"last_root"`
	// Digest is the RFC 6962 tree hash over the seals' roots in the order of the log.
	Digest string `json:"roots_digest"`
	// Late are the hours that closed by the lateness limit.
	Late []string `json:"closed_by_lateness"`
	// NotClosed are hours of the period, after the site's first, that no seal covers yet: the document lacks them.
	NotClosed []string `json:"not_closed"`
}

// siteLog describes the seals of one site, which are in the order of the log.
func (p Period) siteLog(site string, all []record.Seal) SiteLog {
	l := SiteLog{Site: site, Late: []string{}, NotClosed: []string{}}
	closed := map[unit.Micros]bool{}
	var leaves [][32]byte
	for _, s := range all {
		if !p.Holds(s.Hour) {
			continue
		}
		if l.Seals == 0 {
			l.FirstBatch = s.Batch
		}
		l.Seals++
		l.LastBatch, l.LastRoot = s.Batch, s.Root
		closed[s.Hour] = true
		root, err := hex.DecodeString(s.Root)
		if err != nil {
			root = []byte(s.Root) // not a root of ours; the digest still covers it
		}
		leaves = append(leaves, ledger.LeafHash(root))
		if s.Closing == "lateness" {
			l.Late = append(l.Late, Stamp(s.Hour)+": "+s.Reason)
		}
	}
	digest := ledger.RootHash(leaves)
	l.Digest = hex.EncodeToString(digest[:])
	for from := max(p.From, all[0].Hour); from < p.To; from += unit.Hour {
		to := from
		for to < p.To && !closed[to] {
			to += unit.Hour
		}
		if to > from {
			l.NotClosed = append(l.NotClosed, Period{from, to}.String())
			from = to
		}
	}
	return l
}

// CompareSeals is the order of the log: by hour, site and batch.
func CompareSeals(a, b record.Seal) int {
	return cmp.Or(cmp.Compare(a.Hour, b.Hour), cmp.Compare(a.Site, b.Site), cmp.Compare(a.Batch, b.Batch))
}
