package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/aggregator/adjusting"
	"github.com/wattledger/wattledger/aggregator/clickhouse"
	"github.com/wattledger/wattledger/aggregator/closer"
	"github.com/wattledger/wattledger/aggregator/ledger"
	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/internal/progress"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// hoursAsked are the flags that say which hours to look at.
type hoursAsked struct {
	Site string      `help:"Only this site." placeholder:"ID"`
	Hour []time.Time `help:"Only this closed hour, by its start, RFC 3339; may be repeated. Left out: all that something has reached since it was closed." placeholder:"TIME"`
}

func (h hoursAsked) micros() []unit.Micros {
	var out []unit.Micros
	for _, t := range h.Hour {
		out = append(out, unit.MicrosOf(t))
	}
	return out
}

// sites are those asked for.
func (h hoursAsked) sites(all []record.Site) ([]record.Site, error) {
	if h.Site == "" {
		if len(h.Hour) > 0 && len(all) > 1 {
			return nil, process.Usagef("--hour needs --site where there are several sites")
		}
		return all, nil
	}
	i := slices.IndexFunc(all, func(s record.Site) bool { return s.ID == h.Site })
	if i < 0 {
		return nil, fmt.Errorf("there is no site %q in the inventory; `wattledger status` names them", h.Site)
	}
	return all[i : i+1], nil
}

type ledgerAdjustCmd struct {
	services
	hoursAsked
}

// Help shows examples.
func (ledgerAdjustCmd) Help() string {
	return `Books a batch of adjustments alone, site by site, for hours that something has reached since they were closed. The aggregator does that by
itself with the next hour, for hours within closer.adjust_within. This is for those before, and for whoever does not want to wait.
Where nothing differs nothing is booked. ` + "`wattledger ledger simulate`" + ` shows first what would be.

Examples:
  wattledger ledger adjust --config /etc/wattledger/wattledger.yaml
  wattledger ledger adjust --site fr-1 --hour 2026-01-31T23:00:00Z --json`
}

// attempts is how often a batch is made anew when the aggregator's came first.
const attempts = 5

// Run books.
func (c *ledgerAdjustCmd) Run(ctx context.Context, env *process.Env) error {
	cfg, err := c.load(ctx, env)
	if err != nil {
		return err
	}
	keys, err := c.keys(env, cfg)
	if err != nil {
		return err
	}
	return once(ctx, env, func(ctx context.Context) error {
		store, done, err := closingStore(ctx, cfg)
		if err != nil {
			return err
		}
		defer done()
		cl, err := closer.New(cfg.Closer, keys.Secret, store, env.Log, prometheus.NewRegistry())
		if err != nil {
			return err
		}
		return c.each(ctx, env, store, func(site record.Site) (closer.Adjustments, error) {
			for n := 1; ; n++ {
				a, err := cl.Adjust(ctx, site, c.micros())
				if err == nil || n == attempts || !errors.Is(err, closer.ErrSealed) {
					return a, err
				}
			}
		}, "booked")
	})
}

// closingStore opens the store that closing uses.
func closingStore(ctx context.Context, cfg config) (*clickhouse.Store, func(), error) {
	if err := cfg.Closing.Validate(); err != nil {
		return nil, nil, err
	}
	db, err := chconn.Open(ctx, cfg.ClickHouse)
	if err != nil {
		return nil, nil, err
	}
	store, err := clickhouse.New(db)
	if err != nil {
		db.Close()
		return nil, nil, err
	}
	store.UseLimits(cfg.Closing)
	store.UseChains(cfg.Carbon.Chains)
	return store, func() { db.Close() }, nil
}

// each does something with each site asked for and prints what came of it.
func (h hoursAsked) each(ctx context.Context, env *process.Env, store *clickhouse.Store, do func(record.Site) (closer.Adjustments, error), done string) error {
	all, err := store.Sites(ctx)
	if err != nil {
		return err
	}
	sites, err := h.sites(all)
	if err != nil {
		return err
	}
	r := adjusted{Done: done, Hours: []adjustedHour{}, Changes: []lineChange{}, Batches: []adjustedBatch{}, Pending: []adjustedHour{}, Old: []adjustedHour{}}
	for _, site := range sites {
		a, err := do(site)
		if err != nil {
			return fmt.Errorf("site %s: %w", site.ID, err)
		}
		r.add(a)
	}
	if env.Flags.JSON {
		return printJSON(env.Stdout, r)
	}
	return r.print(env)
}

// adjusted is what the commands print with --json.
type adjusted struct {
	Done    string          `json:"done"`
	Hours   []adjustedHour  `json:"hours"`
	Changes []lineChange    `json:"changes"`
	Batches []adjustedBatch `json:"batches"`
	// Pending are hours left for the next batches, Old those that wait for somebody to ask for them.
	Pending []adjustedHour `json:"pending"`
	Old     []adjustedHour `json:"old"`
}

// adjustedHour is an hour that was evaluated anew, or is to be.
type adjustedHour struct {
	Site    string `json:"site"`
	Hour    string `json:"hour"`
	Reason  string `json:"reason"`
	Entries int    `json:"entries"`
	Cuts    int    `json:"cuts"`
}

// adjustedBatch is a batch that was sealed.
type adjustedBatch struct {
	Site    string `json:"site"`
	Batch   uint64 `json:"batch"`
	Root    string `json:"root"`
	Entries int    `json:"entries"`
}

// lineChange is what changes for one account of an hour.
type lineChange struct {
	Site       string              `json:"site"`
	Hour       string              `json:"hour"`
	Account    record.Account      `json:"account"`
	Tenant     string              `json:"tenant"`
	Entries    int                 `json:"entries"`
	Energy     unit.Millijoules    `json:"energy_mj"`
	DeviceTime unit.DeviceTime     `json:"device_time"`
	Carbon     unit.MicrogramsCO2e `json:"carbon_ug"`
	Market     unit.MicrogramsCO2e `json:"carbon_market_ug"`
	Water      unit.Microlitres    `json:"water_ul"`
}

func (r *adjusted) add(a closer.Adjustments) {
	hours := func(list []closer.Changed) (out []adjustedHour) {
		for _, c := range list {
			out = append(out, adjustedHour{Site: a.Site, Hour: c.Hour.Time().Format(time.RFC3339), Reason: adjusting.Reason(c.Causes)})
		}
		return out
	}
	r.Pending, r.Old = append(r.Pending, hours(a.Pending)...), append(r.Old, hours(a.Old)...)
	if a.Seal.Root != "" {
		r.Batches = append(r.Batches, adjustedBatch{a.Site, a.Seal.Batch, a.Seal.Root, a.Seal.Entries})
	}
	for _, h := range a.Hours {
		r.Hours = append(r.Hours, adjustedHour{a.Site, h.Hour.Time().Format(time.RFC3339), adjusting.Reason(h.Causes), len(h.Entries), h.Cuts})
		r.sum(h.Entries)
	}
}

// sum adds entries up by hour, account and tenant.
func (r *adjusted) sum(entries []record.Entry) {
	for _, e := range entries {
		i := slices.IndexFunc(r.Changes, func(c lineChange) bool {
			return c.Site == e.Site && c.Hour == e.Hour && c.Account == e.Account && c.Tenant == e.Tenant
		})
		if i < 0 {
			i = len(r.Changes)
			r.Changes = append(r.Changes, lineChange{Site: e.Site, Hour: e.Hour, Account: e.Account, Tenant: e.Tenant})
		}
		c := &r.Changes[i]
		c.Entries++
		c.Energy += e.Total()
		c.DeviceTime += e.DeviceTime
		c.Carbon, c.Market, c.Water = c.Carbon+e.Carbon, c.Market+e.CarbonMarket, c.Water+e.Water
	}
	slices.SortFunc(r.Changes, func(a, b lineChange) int {
		return cmp.Or(cmp.Compare(a.Site, b.Site), cmp.Compare(a.Hour, b.Hour), cmp.Compare(a.Account, b.Account), cmp.Compare(a.Tenant, b.Tenant))
	})
}

func (r *adjusted) print(env *process.Env) error {
	if len(r.Hours) == 0 {
		fmt.Fprintln(env.Stdout, "No closed hour has been reached by anything since it was closed.")
	} else {
		hours := progress.Table{Title: "Hours evaluated anew", Columns: []progress.Column{
			progress.Text("site"), progress.Text("hour"), progress.Number("entries", ""), progress.Number("cuts", ""), progress.Text("reason"),
		}}
		for _, h := range r.Hours {
			hours.Add(h.Site, h.Hour, h.Entries, h.Cuts, h.Reason)
		}
		if err := printTable(env.Stdout, &hours); err != nil {
			return err
		}
	}
	if len(r.Changes) > 0 {
		table := progress.Table{Title: "What changes (" + r.Done + ")", Columns: []progress.Column{
			progress.Text("site"), progress.Text("hour"), progress.Text("account"), progress.Text("tenant"), progress.Number("entries", ""),
			progress.Number("energy", "mJ"), progress.Number("device time", "ms × ‰"), progress.Number("carbon", "µg"), progress.Number("market", "µg"),
		}}
		var sum lineChange
		for _, c := range r.Changes {
			sum.Entries, sum.Energy, sum.DeviceTime = sum.Entries+c.Entries, sum.Energy+c.Energy, sum.DeviceTime+c.DeviceTime
			sum.Carbon, sum.Market = sum.Carbon+c.Carbon, sum.Market+c.Market
			table.Add(c.Site, c.Hour, string(c.Account), c.Tenant, c.Entries, signed(int64(c.Energy)), signed(int64(c.DeviceTime)), signed(int64(c.Carbon)), signed(int64(c.Market)))
		}
		table.Total("total", "", "", "", sum.Entries, signed(int64(sum.Energy)), signed(int64(sum.DeviceTime)), signed(int64(sum.Carbon)), signed(int64(sum.Market)))
		if err := printTable(env.Stdout, &table); err != nil {
			return err
		}
	} else if len(r.Hours) > 0 {
		fmt.Fprintln(env.Stdout, "Nothing differs from what is booked.")
	}
	for _, b := range r.Batches {
		fmt.Fprintf(env.Stdout, "batch %d of %s sealed: %d adjustments, root %s\n", b.Batch, b.Site, b.Entries, b.Root)
	}
	if n := len(r.Pending); n > 0 {
		fmt.Fprintf(env.Stdout, "left for the next batches: %d closed hours\n", n)
	}
	for _, h := range r.Old {
		fmt.Fprintf(env.Stdout, "waits for wattledger ledger adjust --site %s --hour %s: %s\n", h.Site, h.Hour, h.Reason)
	}
	return nil
}

// signed writes a change with its sign.
func signed(n int64) string {
	if n > 0 {
		return "+" + progress.Grouped(n)
	}
	return progress.Grouped(n)
}

// noSecret stands where nothing is sealed.
var noSecret ledger.Secret
