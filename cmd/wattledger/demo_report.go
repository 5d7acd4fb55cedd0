package main

import (
	"context"
	"fmt"
	"time"

	"github.com/wattledger/wattledger/aggregator/documents"
	"github.com/wattledger/wattledger/aggregator/invoice"
	"github.com/wattledger/wattledger/aggregator/report"
	"github.com/wattledger/wattledger/aggregator/tariff"
	"github.com/wattledger/wattledger/aggregator/verify"
	"github.com/wattledger/wattledger/schemas/unit"
)

// demoResult is the demo's last line with --json.
type demoResult struct {
	Samples struct {
		Sent     int64 `json:"sent"`
		Stored   int64 `json:"stored"`
		Refused  int64 `json:"refused"`
		Repeated int64 `json:"repeated"`
	} `json:"samples"`
	Energy verify.Energy `json:"energy_mj"`
	Device struct {
		Wall     unit.DeviceTime `json:"wall"`
		Residual unit.DeviceTime `json:"residual"`
	} `json:"device_ms"`
	Truth verify.Truth `json:"truth"`
	// Wall are seconds by stage.
	Wall        map[string]float64 `json:"wall_seconds"`
	Out         string             `json:"out"`
	Differences []string           `json:"differences,omitempty"`
	Error       string             `json:"error,omitempty"`
}

// report proves the ledger, writes the documents and shows the tables. A ledger that does not prove is an error, after
// everything has been shown.
func (d *demo) report(ctx context.Context, s *stack, truth string) error {
	since := time.Now()
	stage := d.show.Stage("Prove the ledger by other means", 0, "")
	proof, err := verify.Run(ctx, s.audit, verify.Period{From: d.fleet.Start, To: d.fleet.End}, truth)
	if err != nil {
		stage.Fail()
		return err
	}
	stage.Done()
	d.stage("verify", since)
	since = time.Now()
	stage = d.show.Stage("Write reports and invoices", 0, "")
	prices, err := tariff.Parse("example.yaml", tariff.Example)
	if err != nil {
		return err
	}
	set, written, err := documents.WriteAll(ctx, s.store, documents.Options{
		Period: report.Period{From: d.fleet.Start, To: d.fleet.End}, Prices: prices,
	}, d.cmd.Out)
	if err != nil {
		stage.Fail()
		return err
	}
	stage.Done()
	d.stage("documents", since)
	d.stage("total", d.began)

	res := demoResult{Energy: proof.Energy, Truth: proof.Truth, Wall: d.stages, Out: d.cmd.Out, Differences: proof.Differences}
	res.Samples.Sent, res.Samples.Stored, res.Samples.Repeated = d.played.Sent, proof.Samples.Stored, proof.Samples.Repeated
	res.Device.Wall, res.Device.Residual = proof.Time.Wall, proof.Time.Residual
	if res.Samples.Refused, err = refused(ctx, s.cfg); err != nil {
		return err
	}
	fault := res.fault(d.cmd.Trace == "")
	if d.env.Flags.JSON {
		if fault != nil {
			res.Error = fault.Error()
			return &foundError{res.Error, res}
		}
		return printJSON(d.env.Stdout, res)
	}
	if err := d.tables(set, len(written), res); err != nil {
		return err
	}
	return fault
}

// fault is what is wrong with the ledger, in one sentence; nil when nothing is. In a whole play every edge is in the truth; in a
// trace the work that ran already at its start has no beginning there.
func (r demoResult) fault(whole bool) error {
	switch {
	case r.Energy.Residual != 0 || r.Device.Residual != 0:
		return fmt.Errorf("the ledger does not balance: %d mJ and %d device-milliseconds are left over", r.Energy.Residual, r.Device.Residual)
	case r.Samples.Stored != r.Samples.Sent:
		return fmt.Errorf("%d samples were sent and %d are stored", r.Samples.Sent, r.Samples.Stored)
	case r.Truth.RuleError != 0:
		return fmt.Errorf("the ledger is %d mJ from its recomputation", r.Truth.RuleError)
	case r.Truth.TenantsChecked == 0 || (whole && r.Truth.Unknown != 0):
		// A proof that had nothing to check proves nothing: statements of the scheduler got lost, or another play lies beneath.
		return fmt.Errorf("the energy of %d tenants was held against the truth and %d figures have none: what is stored is not what was played",
			r.Truth.TenantsChecked, r.Truth.Unknown)
	case r.Truth.Outside != 0:
		return fmt.Errorf("%d figures lie outside their bounds", r.Truth.Outside)
	}
	return nil
}

func (d *demo) tables(set documents.Set, files int, res demoResult) error {
	out := d.env.Stdout
	fmt.Fprintln(out)
	tables := []report.Table{set.Fleet.Table(), set.Fleet.IndicatorTable(), report.SummaryTable(set.Usage), invoice.SummaryTable(set.Invoices), set.Sovereignty.Table()}
	if err := printReports(out, tables); err != nil {
		return err
	}
	fmt.Fprintf(out, "Proof     %d of %d samples stored, %d repeated, %d refused; energy residual %d mJ, device time residual %d ms\n",
		res.Samples.Stored, res.Samples.Sent, res.Samples.Repeated, res.Samples.Refused, res.Energy.Residual, res.Device.Residual)
	fmt.Fprintf(out, "          %d mJ from a recomputation in rational arithmetic; %.0f ppm from the true energy for the worst tenant;\n"+
		"          %d of %d cuts and entries outside their bounds\n", res.Truth.RuleError, res.Truth.MaxTenantPPM, res.Truth.Outside,
		res.Truth.CutsChecked+res.Truth.EntriesChecked)
	fmt.Fprintln(out, "Keys      made from the seed, so that the same seed gives the same bytes: they are no secret")
	_, err := fmt.Fprintf(out, "Written   %d files to %s in %.0f s\n", files, d.cmd.Out, res.Wall["total"])
	return err
}
