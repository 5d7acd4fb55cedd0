package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/wattledger/wattledger/aggregator/clickhouse"
	"github.com/wattledger/wattledger/aggregator/documents"
	"github.com/wattledger/wattledger/aggregator/evidence"
	"github.com/wattledger/wattledger/aggregator/keyring"
	"github.com/wattledger/wattledger/aggregator/report"
	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/internal/progress"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// ledgerCmd is what concerns the ledger itself.
type ledgerCmd struct {
	Show     ledgerShowCmd     `cmd:"" help:"Show seals, or entries by site, hour, tenant and device."`
	Explain  ledgerExplainCmd  `cmd:"" help:"Tell how an entry came about, out of readings and factors, to the integer."`
	Verify   ledgerVerifyCmd   `cmd:"" help:"Check the ledger, or a bundle, against its seals, its log and its samples."`
	Export   ledgerExportCmd   `cmd:"" help:"Write a bundle that can be checked offline: the whole ledger, or one tenant's part."`
	Simulate ledgerSimulateCmd `cmd:"" help:"Show what a late allocation, a new factor, or what has come since would change."`
	Adjust   ledgerAdjustCmd   `cmd:"" help:"Book what has come for closed hours now, as a batch of adjustments."`
	Keygen   ledgerKeygenCmd   `cmd:"" help:"Make the ledger's keys."`
}

// withLedger opens the database and the keys.
func (s services) withLedger(ctx context.Context, env *process.Env, do func(context.Context, *openLedger) error) error {
	cfg, err := s.loadDatabase(ctx, env)
	if err != nil {
		return err
	}
	return once(ctx, env, func(ctx context.Context) error {
		db, err := chconn.Open(ctx, cfg.ClickHouse)
		if err != nil {
			return err
		}
		defer db.Close()
		store, err := clickhouse.New(db)
		if err != nil {
			return err
		}
		return do(ctx, &openLedger{store: store, evidence: clickhouse.NewEvidence(db), audit: clickhouse.NewAudit(db), keys: func() (keyring.Keys, error) {
			return keyring.Existing(cfg.Ledger, s.data(env))
		}})
	})
}

// openLedger is a ledger that is open for reading.
type openLedger struct {
	store    *clickhouse.Store
	evidence *clickhouse.Evidence
	audit    *clickhouse.Audit
	keys     func() (keyring.Keys, error)
}

// ledgerShowCmd shows what is booked.
type ledgerShowCmd struct {
	services
	What   string    `arg:"" optional:"" enum:"seals,entries" default:"seals" help:"seals or entries."`
	Site   string    `help:"Only this site." placeholder:"ID"`
	Tenant string    `help:"Only this tenant's entries." placeholder:"ID"`
	Node   string    `help:"Only entries of this node." placeholder:"ID"`
	Device string    `help:"Only entries of this device." placeholder:"UUID"`
	From   time.Time `help:"First hour, RFC 3339; the ledger's first if absent." placeholder:"TIME"`
	To     time.Time `help:"End of the last hour, RFC 3339; the ledger's end if absent." placeholder:"TIME"`
	Limit  int       `help:"Show at most this many." default:"200"`
}

// Help shows examples.
func (ledgerShowCmd) Help() string {
	return `Examples:
  wattledger ledger show --embedded
  wattledger ledger show entries --embedded --tenant fictional-bank --limit 20
  wattledger ledger show entries --site fr-1 --from 2026-01-31T22:00:00Z --to 2026-02-01T00:00:00Z --device GPU-1 --json`
}

// Validate is called by kong.
func (c *ledgerShowCmd) Validate() error {
	if c.Limit < 1 {
		return fmt.Errorf("--limit %d: show 1 or more", c.Limit)
	}
	if c.What == "seals" && (c.Tenant != "" || c.Node != "" || c.Device != "") {
		return fmt.Errorf("seals are of a site and an hour: write `ledger show entries` for those of a tenant, node or device")
	}
	return ordered(c.From, c.To)
}

// shownSeal and shownEntry are what --json prints.
type shownSeal struct {
	documents.ExportSeal
}

type shownEntry struct {
	ID    string `json:"id"`
	Batch uint64 `json:"batch"`
	record.Entry
}

// Run prints seals or entries.
func (c *ledgerShowCmd) Run(ctx context.Context, env *process.Env) error {
	return c.withLedger(ctx, env, func(ctx context.Context, l *openLedger) error {
		seals, err := l.store.Seals(ctx)
		if err != nil {
			return err
		}
		p := report.Period{From: unit.MicrosOf(c.From), To: unit.MicrosOf(c.To)}
		if c.From.IsZero() {
			p.From = 0
		}
		if c.To.IsZero() {
			p.To = 1<<62 - 1
		}
		if c.What == "entries" {
			return c.entries(ctx, env, l, p)
		}
		shown, more := []shownSeal{}, 0
		table := progress.Table{Title: "Seals", Columns: []progress.Column{
			{Name: "Site"},
			{Name: "Batch", Right: true},
			{Name: "Hour"},
			{Name: "Entries", Right: true},
			{Name: "Adjustments", Right: true},
			{Name: "Energy", Right: true},
			{Name: "Closing"},
			{Name: "Root"},
		}}
		for _, s := range seals {
			if (c.Site != "" && s.Site != c.Site) || s.Hour < p.From || s.Hour >= p.To {
				continue
			}
			if len(shown) == c.Limit {
				more++
				continue
			}
			shown = append(shown, shownSeal{documents.ExportSealOf(s)})
			table.Rows = append(table.Rows, []string{
				s.Site, fmt.Sprint(s.Batch), s.Hour.Time().Format(time.RFC3339), progress.Grouped(int64(s.Entries)), fmt.Sprint(s.Adjustments),
				(s.Measured + s.Estimated + s.Modelled).String(), s.Closing, s.Root[:min(16, len(s.Root))],
			})
		}
		if env.Flags.JSON {
			return printJSON(env.Stdout, map[string]any{"seals": shown, "left_out": more})
		}
		return c.print(env, &table, more)
	})
}

func (c *ledgerShowCmd) entries(ctx context.Context, env *process.Env, l *openLedger, p report.Period) error {
	shown, more := []shownEntry{}, 0
	table := progress.Table{Title: "Entries", Columns: []progress.Column{
		{Name: "Batch", Right: true},
		{Name: "Hour"},
		{Name: "Kind"},
		{Name: "Node"},
		{Name: "Device"},
		{Name: "Account"},
		{Name: "Tenant"},
		{Name: "GPU-hours", Right: true},
		{Name: "Energy", Right: true},
		{Name: "Carbon", Right: true},
		{Name: "Id"},
	}}
	for e, err := range l.store.Entries(ctx, documents.Filter{Site: c.Site, Tenant: c.Tenant, Period: p}) {
		if err != nil {
			return err
		}
		if (c.Node != "" && e.Node != c.Node) || (c.Device != "" && e.Device != c.Device) {
			continue
		}
		if len(shown) == c.Limit {
			more++
			continue
		}
		shown = append(shown, shownEntry{e.ID, e.Batch, e.Entry})
		table.Rows = append(table.Rows, []string{
			fmt.Sprint(e.Batch), e.Hour, string(e.Kind), e.Node, e.Device, string(e.Account), e.Tenant,
			fmt.Sprintf("%.4f", e.DeviceTime.Hours()), e.Total().String(), e.Carbon.String(), e.ID[:min(16, len(e.ID))],
		})
	}
	if env.Flags.JSON {
		return printJSON(env.Stdout, map[string]any{"entries": shown, "left_out": more})
	}
	return c.print(env, &table, more)
}

func (c *ledgerShowCmd) print(env *process.Env, t *progress.Table, more int) error {
	if len(t.Rows) == 0 {
		_, err := fmt.Fprintf(env.Stdout, "No %s of what was asked for: `wattledger status` names the sites and what is closed, `wattledger report usage` the tenants.\n", c.What)
		return err
	}
	if err := printTable(env.Stdout, t); err != nil {
		return err
	}
	if more > 0 {
		fmt.Fprintf(env.Stdout, "  %s more: narrow it down, or raise --limit\n", progress.Grouped(int64(more)))
	}
	return nil
}

// ledgerExportCmd writes a bundle.
type ledgerExportCmd struct {
	services
	Out    string `help:"Folder of the bundle: a new or an empty one." required:"" placeholder:"DIR"`
	Tenant string `help:"Only this tenant's lines, with what proves them; of others commitments alone." placeholder:"ID"`
}

// Help shows examples.
func (ledgerExportCmd) Help() string {
	return `Examples:
  wattledger ledger export --embedded --out audit
  wattledger ledger export --embedded --tenant fictional-bank --out for-the-bank
  wattledger ledger verify --bundle for-the-bank`
}

// Run writes it.
func (c *ledgerExportCmd) Run(ctx context.Context, env *process.Env) error {
	return c.withLedger(ctx, env, func(ctx context.Context, l *openLedger) error {
		keys, err := l.keys()
		if err != nil {
			return err
		}
		if err := l.knows(ctx, c.Tenant); err != nil {
			return err
		}
		stage := progress.New(env.Stderr, env.Flags.Quiet || env.Flags.JSON).Stage("Write the bundle", 0, "batches")
		names, err := evidence.WriteBundle(ctx, l.evidence, c.Out, evidence.Export{
			Secret: keys.Secret, Verifier: keys.Verifier, Tenant: c.Tenant, Progress: func(done, all int64) { stage.SetTotal(all); stage.Set(done) },
		})
		if err != nil {
			stage.Fail()
			return err
		}
		stage.Done()
		if env.Flags.JSON {
			return printJSON(env.Stdout, map[string]any{"out": c.Out, "files": len(names), "tenant": c.Tenant, "vkey": keys.Verifier})
		}
		fmt.Fprintf(env.Stdout, "%s files written to %s. Whoever checks it needs the public key of the log from you:\n  %s\n",
			progress.Grouped(int64(len(names))), c.Out, keys.Verifier)
		return nil
	})
}

// knows refuses a tenant of whom the ledger has no line: a bundle of nothing would look like one that was checked.
func (l *openLedger) knows(ctx context.Context, tenant string) error {
	if tenant == "" {
		return nil
	}
	for _, err := range l.store.Entries(ctx, documents.Filter{Tenant: tenant, Period: report.Period{To: 1<<62 - 1}}) {
		return err
	}
	return fmt.Errorf("the ledger has no entry of tenant %q: `wattledger report usage` names those it has", tenant)
}

// ledgerKeygenCmd makes keys.
type ledgerKeygenCmd struct {
	Dir    string `help:"Folder for the keys." required:"" placeholder:"DIR"`
	Origin string `help:"Name of the log, as a URL without scheme." default:"wattledger.local/ledger" placeholder:"NAME"`
}

// Help shows examples.
func (ledgerKeygenCmd) Help() string {
	return `Makes the secret that hides tenants from one another in the ledger's seals, and the key that signs the log. Name their files
under ledger.site_secret_file and ledger.note_key_file, keep a copy in a safe place, and publish the public key (note.vkey).

Example:
  wattledger ledger keygen --dir /etc/wattledger/keys --origin ledger.example.org/eu`
}

// Run makes them; keys that are there stay.
func (c *ledgerKeygenCmd) Run(env *process.Env) error {
	files, err := keyring.Generate(c.Dir, c.Origin)
	if err != nil {
		return err
	}
	vkey, err := os.ReadFile(files.Verifier)
	if err != nil {
		return fmt.Errorf("read the public key: %w", err)
	}
	public := strings.TrimSpace(string(vkey))
	if env.Flags.JSON {
		return printJSON(env.Stdout, map[string]string{"site_secret_file": files.Secret, "note_key_file": files.Note, "vkey_file": files.Verifier, "vkey": public})
	}
	fmt.Fprintf(env.Stdout, "site secret  %s\nnote key     %s\npublic key   %s\n  %s\n", files.Secret, files.Note, files.Verifier, public)
	return nil
}

// verifier reads the public half of the note key.
func verifier(keys keyring.Keys) (note.Verifier, error) {
	key, err := note.NewVerifier(keys.Verifier)
	if err != nil {
		return nil, fmt.Errorf("public half of the note key: %w", err)
	}
	return key, nil
}
