package ledger

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Batch is what is booked together: the closing of an hour, the adjustments that ride with it, or adjustments alone.
type Batch struct {
	Site     string
	Number   uint64
	Previous string // root of the batch before; empty of the first
	// Hour is the hour closed; of adjustments alone, the last hour closed before.
	Hour            unit.Micros
	Closing, Reason string
	Entries         []record.Entry
	Cuts            []record.Cut
	DeviceHours     []record.DeviceHour
	// Samples is the digest of the raw rows, hex, and SampleRows their number; empty and 0 where none was taken.
	Samples    string
	SampleRows int64
	// Inputs is in no hash.
	Inputs string
}

// Sealed is a batch as it is stored: everything in its order, under its seal.
type Sealed struct {
	Seal        record.Seal
	Lines       []Line
	Subtotals   []record.Subtotal
	Cuts        []record.Cut
	DeviceHours []record.DeviceHour
}

// Make orders, sums and seals a batch. The same batch gives the same bytes, in whatever order its parts are handed over.
func Make(b Batch, key SiteKey) (Sealed, error) {
	if !key.set {
		return Sealed{}, fmt.Errorf("seal batch %d of %s: there is no site key", b.Number, b.Site)
	}
	lines, err := Lines(b.Entries)
	if err != nil {
		return Sealed{}, fmt.Errorf("seal batch %d of %s: %w", b.Number, b.Site, err)
	}
	out := Sealed{Lines: lines}
	if out.Cuts, err = unique(b.Cuts, CompareCuts, CanonicalCut); err != nil {
		return Sealed{}, fmt.Errorf("seal batch %d of %s: cuts: %w", b.Number, b.Site, err)
	}
	if out.DeviceHours, err = unique(b.DeviceHours, CompareDeviceHours, CanonicalDeviceHour); err != nil {
		return Sealed{}, fmt.Errorf("seal batch %d of %s: device-hours: %w", b.Number, b.Site, err)
	}
	out.Seal = record.Seal{
		Site: b.Site, Batch: b.Number, Previous: b.Previous, Hour: b.Hour, Closing: b.Closing, Reason: b.Reason, Rules: Rules,
		Samples: b.Samples, SampleRows: b.SampleRows, Inputs: b.Inputs,
	}
	if err := out.complete(key); err != nil {
		return Sealed{}, fmt.Errorf("seal batch %d of %s: %w", b.Number, b.Site, err)
	}
	return out, nil
}

// Recompute seals again what is in its order already, as whoever checks it does: sums, digests, subtotals and root come from
// the lines, cuts and device-hours, all else from the seal that is checked.
func Recompute(stated record.Seal, lines []Line, cuts []record.Cut, hours []record.DeviceHour, key SiteKey) (Sealed, error) {
	out := Sealed{Lines: lines, Cuts: cuts, DeviceHours: hours}
	out.Seal = record.Seal{
		Site: stated.Site, Batch: stated.Batch, Previous: stated.Previous, Hour: stated.Hour, Closing: stated.Closing, Reason: stated.Reason,
		Rules: stated.Rules, Samples: stated.Samples, SampleRows: stated.SampleRows, Inputs: stated.Inputs,
	}
	err := out.complete(key)
	return out, err
}

// complete fills in what follows from the lines, the cuts and the device-hours.
func (s *Sealed) complete(key SiteKey) error {
	salts := make([]Hash, len(s.Lines))
	for i, l := range s.Lines {
		if l.Site != s.Seal.Site {
			return fmt.Errorf("entry %s is of site %s", l.ID, l.Site)
		}
		var err error
		if salts[i], err = key.EntrySalt(l.ID); err != nil {
			return err
		}
	}
	s.Subtotals = Subtotals(s.Lines, salts)
	for _, l := range s.Lines {
		AddToSeal(&s.Seal, l.Entry)
	}
	var err error
	if s.Seal.Cuts, err = digest(s.Cuts, CanonicalCut); err != nil {
		return err
	}
	if s.Seal.DeviceHours, err = digest(s.DeviceHours, CanonicalDeviceHour); err != nil {
		return err
	}
	root, err := SiteRoot(s.Seal, s.Subtotals, key)
	s.Seal.Root = hex.EncodeToString(root[:])
	return err
}

// AddToSeal counts an entry in the sums of its seal.
func AddToSeal(s *record.Seal, e record.Entry) {
	s.Entries++
	if e.Kind == record.Adjustment {
		s.Adjustments++
	}
	s.Measured += e.Measured
	s.Estimated += e.Estimated
	s.Modelled += e.Modelled
	s.DeviceTime += e.DeviceTime
	s.Carbon += e.Carbon
	s.CarbonMarket += e.CarbonMarket
	s.CarbonEmbodied += e.CarbonEmbodied
	s.Water += e.Water
}

// EntryLeaf is the leaf of an entry in the tree of its subtotal.
func EntryLeaf(salt Hash, canonical []byte) Hash { return LeafHash(salt[:], canonical) }

// Sum is a subtotal while entries are added to it in their order. The zero Sum is empty.
type Sum struct {
	sum  record.Subtotal
	tree Tree
}

// Add counts an entry in.
func (s *Sum) Add(e record.Entry, salt Hash, canonical []byte) {
	s.sum.Site, s.sum.Hour, s.sum.Account, s.sum.Tenant = e.Site, e.Hour, e.Account, e.Tenant
	addToSubtotal(&s.sum, e)
	s.tree.Add(EntryLeaf(salt, canonical))
}

// Subtotal is what has been added, with its root.
func (s *Sum) Subtotal() record.Subtotal {
	root := s.tree.Root()
	out := s.sum
	out.Root = hex.EncodeToString(root[:])
	return out
}

// Subtotals groups lines by hour, account and tenant, in that order. Each has the root over its lines' salted leaves in the
// order of the lines.
func Subtotals(lines []Line, salts []Hash) []record.Subtotal {
	type key struct {
		hour, tenant string
		account      record.Account
	}
	groups := map[key]*Sum{}
	for i, l := range lines {
		k := key{l.Hour, l.Tenant, l.Account}
		if groups[k] == nil {
			groups[k] = &Sum{}
		}
		groups[k].Add(l.Entry, salts[i], l.Canonical)
	}
	out := make([]record.Subtotal, 0, len(groups))
	for _, g := range groups {
		out = append(out, g.Subtotal())
	}
	slices.SortFunc(out, CompareSubtotals)
	return out
}

func addToSubtotal(s *record.Subtotal, e record.Entry) {
	s.Entries++
	s.DeviceTime += e.DeviceTime
	s.Unavailable += e.Unavailable
	s.GPU += e.GPU
	s.CPU += e.CPU
	s.NodeRest += e.NodeRest
	s.ITShared += e.ITShared
	s.Facility += e.Facility
	s.Measured += e.Measured
	s.Estimated += e.Estimated
	s.Modelled += e.Modelled
	s.Interpolated += e.Interpolated
	s.BoundLow += e.BoundLow
	s.BoundHigh += e.BoundHigh
	s.Uncertainty += e.Uncertainty
	s.SMActive += e.SMActive
	s.TicksExpected += e.TicksExpected
	s.TicksRead += e.TicksRead
	s.Carbon += e.Carbon
	s.CarbonMarket += e.CarbonMarket
	s.CarbonEmbodied += e.CarbonEmbodied
	s.Water += e.Water
	s.HeatReused += e.HeatReused
}

// CompareSubtotals is their order: by hour, account and tenant.
func CompareSubtotals(a, b record.Subtotal) int {
	return cmp.Or(cmp.Compare(a.Hour, b.Hour), cmp.Compare(a.Account, b.Account), cmp.Compare(a.Tenant, b.Tenant))
}

// Commitment stands for a tenant: whoever is told the salt can check it, nobody else can guess it.
func Commitment(salt Hash, tenant string) Hash { return hashOf(2, salt[:], []byte(tenant)) }

// SubtotalDigest stands for a subtotal in the same way.
func SubtotalDigest(salt Hash, canonical []byte) Hash { return hashOf(3, salt[:], canonical) }

// SiteLeafSize is the length of a site leaf: the commitment to a tenant and the digest of a subtotal of its.
const SiteLeafSize = 64

// SiteLeaf is what a subtotal is in the tree of its seal. It shows that there is a subtotal, and nothing of it.
type SiteLeaf [SiteLeafSize]byte

// NewSiteLeaf puts the two together.
func NewSiteLeaf(commitment, digest Hash) SiteLeaf {
	return SiteLeaf(slices.Concat(commitment[:], digest[:]))
}

// SiteLeaves are the leaves of a batch's subtotals in the order of the tree: that of their bytes, which tells nothing either.
func SiteLeaves(batch BatchKey, subtotals []record.Subtotal) ([]SiteLeaf, error) {
	out := make([]SiteLeaf, 0, len(subtotals))
	for _, s := range subtotals {
		canonical, err := CanonicalSubtotal(s)
		if err != nil {
			return nil, err
		}
		out = append(out, NewSiteLeaf(Commitment(batch.TenantSalt(s.Tenant), s.Tenant), SubtotalDigest(batch.SubtotalSalt(canonical), canonical)))
	}
	slices.SortFunc(out, func(a, b SiteLeaf) int { return bytes.Compare(a[:], b[:]) })
	return out, nil
}

// HeaderLeaf is the first leaf of a seal's tree.
func HeaderLeaf(salt Hash, canonical []byte) Hash { return LeafHash(salt[:], canonical) }

// RootOf is the root of a seal: over its header's leaf and its site leaves.
func RootOf(header Hash, leaves []SiteLeaf) Hash {
	var t Tree
	t.Add(header)
	for _, l := range leaves {
		t.Add(LeafHash(l[:]))
	}
	return t.Root()
}

// SiteRoot is the root of a seal, whose own Root it does not look at.
func SiteRoot(s record.Seal, subtotals []record.Subtotal, key SiteKey) (Hash, error) {
	batch := key.Batch(s.Batch)
	canonical, err := CanonicalHeader(s)
	if err != nil {
		return Hash{}, err
	}
	leaves, err := SiteLeaves(batch, subtotals)
	if err != nil {
		return Hash{}, err
	}
	return RootOf(HeaderLeaf(batch.HeaderSalt(canonical), canonical), leaves), nil
}

// CompareCuts is the order of a batch's cuts: by device, time, epoch and edition.
func CompareCuts(a, b record.Cut) int {
	return cmp.Or(cmp.Compare(a.Device, b.Device), cmp.Compare(a.T, b.T), cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Edition, b.Edition))
}

// CompareDeviceHours is the order of a batch's device-hours: by hour, node, device and kind.
func CompareDeviceHours(a, b record.DeviceHour) int {
	return cmp.Or(cmp.Compare(a.Hour, b.Hour), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Device, b.Device), cmp.Compare(a.Kind, b.Kind))
}

// unique gives records their order, in which each has a place of its own: the same one twice counts once, two that claim one
// place are refused, as one of them would be lost.
func unique[T any](list []T, order func(a, b T) int, canonical func(T) ([]byte, error)) ([]T, error) {
	sorted := slices.Clone(list)
	slices.SortFunc(sorted, order)
	out := sorted[:0]
	for _, v := range sorted {
		last := len(out) - 1
		if last < 0 || order(out[last], v) != 0 {
			out = append(out, v)
			continue
		}
		a, err := canonical(out[last])
		if err != nil {
			return nil, err
		}
		b, err := canonical(v)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(a, b) {
			return nil, fmt.Errorf("two that differ have one place: %s and %s", a, b)
		}
	}
	return out, nil
}

// digest is the tree hash over the canonical bytes of records in order, hex.
func digest[T any](list []T, canonical func(T) ([]byte, error)) (string, error) {
	var t Tree
	for _, v := range list {
		b, err := canonical(v)
		if err != nil {
			return "", err
		}
		t.Add(LeafHash(b))
	}
	root := t.Root()
	return hex.EncodeToString(root[:]), nil
}
