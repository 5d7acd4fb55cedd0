package documents

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/wattledger/wattledger/aggregator/report"
	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/schemas/record"
)

// File is a document as bytes.
type File struct {
	// Name is the path below the folder, with slashes.
	Name string
	// Kind is usage, power, adjustments, fleet, quality, invoice, sovereignty, violations or ledger; Tenant is whose it is, empty for the operator's.
	Kind, Tenant string
	MediaType    string
	Content      []byte
}

// SHA256 is the digest of the content, hex.
func (f File) SHA256() string {
	sum := sha256.Sum256(f.Content)
	return hex.EncodeToString(sum[:])
}

const (
	mediaCSV  = "text/csv"
	mediaJSON = "application/json"
	mediaText = "text/plain; charset=utf-8"
)

// Files writes the documents of the set, in a fixed order.
func (s Set) Files() ([]File, error) {
	w := writer{}
	if s.Fleet != nil {
		w.csv("fleet.csv", "fleet", "", s.Fleet.CSV)
		w.json("fleet.json", "fleet", "", s.Fleet)
		w.text("fleet.txt", "fleet", "", s.Fleet.Text())
		if len(s.Fleet.Quality) > 0 {
			w.csv("quality.csv", "quality", "", s.Fleet.QualityCSV)
		}
	}
	w.sovereignty("", "", s.Sovereignty)
	for _, u := range s.Usage {
		dir := "tenants/" + FileName(u.Tenant.ID) + "/"
		w.csv(dir+"usage.csv", "usage", u.Tenant.ID, u.CSV)
		w.csv(dir+"power.csv", "power", u.Tenant.ID, u.PowerCSV)
		w.json(dir+"usage.json", "usage", u.Tenant.ID, u)
		w.text(dir+"usage.txt", "usage", u.Tenant.ID, u.Text())
		if len(u.Adjustments) > 0 {
			w.csv(dir+"adjustments.csv", "adjustments", u.Tenant.ID, func() ([]byte, error) { return report.AdjustmentsCSV(u.Adjustments) })
		}
		w.sovereignty(dir, u.Tenant.ID, report.NewSovereigntyDocument(s.findings, u.Tenant.ID, s.opts, u.Provenance))
	}
	for _, inv := range s.Invoices {
		dir := "tenants/" + FileName(inv.Buyer.ID) + "/"
		w.csv(dir+"invoice.csv", "invoice", inv.Buyer.ID, inv.CSV)
		w.json(dir+"invoice.json", "invoice", inv.Buyer.ID, inv)
		w.text(dir+"invoice.txt", "invoice", inv.Buyer.ID, inv.Text())
	}
	return w.files, errors.Join(w.errs...)
}

// writer gathers files.
type writer struct {
	files []File
	errs  []error
}

func (w *writer) csv(name, kind, tenant string, render func() ([]byte, error)) {
	body, err := render()
	if err != nil {
		w.errs = append(w.errs, fmt.Errorf("%s: %w", name, err))
	}
	w.files = append(w.files, File{name, kind, tenant, mediaCSV, body})
}

func (w *writer) json(name, kind, tenant string, document any) {
	body, err := report.JSON(document)
	if err != nil {
		w.errs = append(w.errs, fmt.Errorf("%s: %w", name, err))
	}
	w.files = append(w.files, File{name, kind, tenant, mediaJSON, body})
}

func (w *writer) text(name, kind, tenant string, body []byte) {
	w.files = append(w.files, File{name, kind, tenant, mediaText, body})
}

func (w *writer) sovereignty(dir, tenant string, d report.SovereigntyDocument) {
	w.csv(dir+"sovereignty.csv", "sovereignty", tenant, d.CSV)
	w.json(dir+"sovereignty.json", "sovereignty", tenant, d)
	if len(d.Violations) > 0 {
		w.csv(dir+"violations.csv", "violations", tenant, d.ViolationsCSV)
	}
}

// FileName is an id as the name of a file: whatever might be taken for a path or an option is percent-encoded.
func FileName(id string) string {
	var b strings.Builder
	for i := range len(id) {
		c := id[i]
		plain := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || i > 0 && (c == '-' || c == '.')
		if plain {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	if id == "" {
		return "%"
	}
	return b.String()
}

// Written is a file that WriteAll wrote.
type Written struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// WriteAll makes every document of a period and writes it below a folder, the ledger's export as ledger.jsonl and the
// digests of all files as SHA256SUMS. Each file is replaced in one step. When invoices could not be made, everything else
// is written, and the error names them.
func WriteAll(ctx context.Context, ledger Ledger, o Options, dir string) (Set, []Written, error) {
	set, err := Gather(ctx, ledger, o)
	if err != nil {
		return set, nil, err
	}
	files, err := set.Files()
	if err != nil {
		return set, nil, err
	}
	var out []Written
	var sums bytes.Buffer
	if o.Tenant == "" {
		w, err := exportTo(ctx, ledger, set.Log.AsOf(), filepath.Join(dir, "ledger.jsonl"))
		if err != nil {
			return set, out, err
		}
		out = append(out, w)
		fmt.Fprintf(&sums, "%s  %s\n", w.SHA256, w.Name)
	}
	for _, f := range files {
		if err := process.WriteFile(filepath.Join(dir, filepath.FromSlash(f.Name)), f.Content, 0o644); err != nil {
			return set, out, err
		}
		w := Written{f.Name, int64(len(f.Content)), f.SHA256()}
		out = append(out, w)
		fmt.Fprintf(&sums, "%s  %s\n", w.SHA256, w.Name)
	}
	if err := process.WriteFile(filepath.Join(dir, "SHA256SUMS"), sums.Bytes(), 0o644); err != nil {
		return set, out, err
	}
	return set, out, errors.Join(set.Faults...)
}

// exportTo streams the ledger into a file, which appears when it is complete.
func exportTo(ctx context.Context, ledger Ledger, asOf report.AsOf, name string) (w Written, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("export the ledger to %s: %w", name, err)
		}
	}()
	if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
		return w, err
	}
	f, err := process.CreateTemp(name)
	if err != nil {
		return w, err
	}
	defer os.Remove(f.Name()) // after the rename there is nothing to remove
	hash := sha256.New()
	if err := ledger.Export(ctx, io.MultiWriter(f, hash), asOf); err != nil {
		f.Close()
		return w, err
	}
	size, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		f.Close()
		return w, err
	}
	if err := errors.Join(f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return w, err
	}
	return Written{filepath.Base(name), size, hex.EncodeToString(hash.Sum(nil))}, os.Rename(f.Name(), name)
}

// Document is a file as it is kept in the store.
type Document struct {
	File
	Period report.Period
	AsOf   report.AsOf
}

// Archive keeps documents that were issued.
type Archive interface {
	// SaveDocument is idempotent: a document is known by its content.
	SaveDocument(ctx context.Context, d Document) error
}

// Keep saves the documents of a set, so that what was issued can be shown again.
func (s Set) Keep(ctx context.Context, archive Archive) error {
	files, err := s.Files()
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := archive.SaveDocument(ctx, Document{f, s.opts.Period, s.Log.AsOf()}); err != nil {
			return err
		}
	}
	return nil
}

// ExportSeal is the line of a seal in a ledger export. The lines after it, up to the next seal, are the canonical bytes of
// its entries in order: the SHA-256 of a line is the id of the entry.
type ExportSeal struct {
	Site       string `json:"site"`
	Batch      uint64 `json:"batch"`
	Root       string `json:"root"`
	Previous   string `json:"previous"`
	Hour       string `json:"hour"`
	Entries    int    `json:"entries"`
	Measured   int64  `json:"measured_mj"`
	Estimated  int64  `json:"estimated_mj"`
	Modelled   int64  `json:"modelled_mj"`
	DeviceTime int64  `json:"device_time"`
	Carbon     int64  `json:"carbon_ug"`
	Closing    string `json:"closing"`
	Reason     string `json:"reason"`
	Rules      string `json:"rules"`
}

// ExportSealOf is a seal as a ledger export has it.
func ExportSealOf(s record.Seal) ExportSeal {
	return ExportSeal{
		s.Site, s.Batch, s.Root, s.Previous, report.Stamp(s.Hour), s.Entries, int64(s.Measured), int64(s.Estimated), int64(s.Modelled),
		int64(s.DeviceTime), int64(s.Carbon), s.Closing, s.Reason, s.Rules,
	}
}
