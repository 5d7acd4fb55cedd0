package closer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/wattledger/wattledger/aggregator/adjusting"
	"github.com/wattledger/wattledger/aggregator/closing"
	"github.com/wattledger/wattledger/aggregator/ledger"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// evaluated is what a batch has to book.
type evaluated struct {
	entries     []record.Entry
	cuts        []record.Cut
	deviceHours []record.DeviceHour
	// hours are those that were evaluated anew, in order.
	hours []Reevaluated
	// left are those that wait for the next batch, as this one is full.
	left []Changed
}

// leave notes in the sidecar what is left.
func (e *evaluated) leave(inputs *Inputs) { inputs.Pending = merged(e.left, inputs.Pending) }

// Reevaluated is a closed hour that was evaluated anew.
type Reevaluated struct {
	Changed
	// Entries are the adjustments; none where nothing differs.
	Entries []record.Entry
	// Cuts counts the editions it made.
	Cuts int
}

// automatic is the first hour that is evaluated anew by itself. Hours closed by an older edition of the rules are not: with the
// data their entries would change by the rules, and nobody asked for that.
func (c *Closer) automatic(p Progress) unit.Micros {
	if c.cfg.AdjustWithin == 0 || p.RulesSince == 0 {
		return p.Next
	}
	return max((p.Next - unit.Micros(c.cfg.AdjustWithin.Microseconds())).FloorHour(), p.RulesSince)
}

// choose takes the hours that this batch evaluates anew from those found and those left over, oldest first, and notes in the
// sidecar what is left for later and for a person.
func (c *Closer) choose(p Progress, found []Changed, inputs *Inputs) []Changed {
	auto, old := split(merged(inputs.Pending, inputs.Old, found), c.automatic(p))
	n := min(len(auto), max(c.cfg.AdjustHours, 1))
	inputs.Pending, inputs.Old = auto[n:], old[max(0, len(old)-maxOldHours):]
	return auto[:n]
}

// maxOldHours bounds the list of hours that wait for a person; of more the newest are kept.
const maxOldHours = 2000

// maxAdjustments is how many adjustments fill a batch: with their bytes half a gigabyte. A factor that is revised changes every line of
// every hour it holds for, and a day of a large site does not fit in memory.
const maxAdjustments = 200_000

// reevaluate evaluates closed hours anew, in order, and finds what differs from the ledger. Where the cut at an hour's end is
// another than the stored one the next hour begins with it, so that hour is evaluated too: what the one gains the other loses.
//
// What an hour takes from other hours of the ledger (the idle power of a MIG GPU, say) stays what it was when the hour was first
// closed, so that one late sample does not roll through the thirty days after it.
func (c *Closer) reevaluate(ctx context.Context, site record.Site, p Progress, hours []Changed, dry bool) (evaluated, error) {
	var out evaluated
	todo := slices.Clone(hours)
	follows := false // what the hour before lost at its end this one gains: both stand in one batch
	for len(todo) > 0 {
		h := todo[0]
		if len(out.entries) >= c.full && !follows && !dry && !h.Asked {
			out.left = todo
			break
		}
		follows = false
		todo = todo[1:]
		next, err := c.again(ctx, site, h, &out)
		if gone := (*goneError)(nil); errors.As(err, &gone) && !h.Asked {
			// What is gone does not come back: to wait for it would hold up all hours to come.
			if !dry {
				c.unfit.Inc()
				c.log.Warn("hour not adjusted", "site", site.ID, "hour", h.Hour.Time().Format(time.RFC3339), "reason", adjusting.Reason(h.Causes), "error", err)
			}
			continue
		}
		if err != nil {
			return out, fmt.Errorf("evaluate %s anew: %w", h.Hour.Time().Format(time.RFC3339), err)
		}
		if !dry {
			c.reevaluated.Inc()
		}
		if after := h.Hour + unit.Hour; next && after < p.Next {
			follows = true
			todo = merged(todo, []Changed{{Hour: after, Causes: []adjusting.Cause{{Word: "cut", About: "at " + after.Time().Format(time.RFC3339)}}}})
		}
	}
	return out, nil
}

// goneError says that an hour cannot be evaluated anew: energy would be taken back for want of samples that were there once.
type goneError struct{ left, were int64 }

func (e *goneError) Error() string {
	return fmt.Sprintf("of the %d samples it was closed from %d are left: what it holds stays as it is, or has to be corrected by hand", e.were, e.left)
}

// again evaluates one hour anew. next says that its end is not where the ledger has it.
func (c *Closer) again(ctx context.Context, site record.Site, h Changed, out *evaluated) (next bool, err error) {
	hour, err := c.store.Reload(ctx, site, h.Hour, out.cuts, true)
	if err != nil {
		return false, err
	}
	booked, err := c.store.Booked(ctx, site.ID, h.Hour)
	if err != nil {
		return false, err
	}
	if hour.SampleRows < booked.SampleRows {
		return false, &goneError{hour.SampleRows, booked.SampleRows}
	}
	KeepIdle(&hour, booked)
	res, err := closing.Close(hour)
	if err != nil {
		return false, failed(failRules, err)
	}
	stored, err := c.store.CutsIn(ctx, site.ID, h.Hour, hour.End())
	if err != nil {
		return false, err
	}
	entries := adjusting.Adjust(booked, res.Entries, h.Causes)
	cuts := adjusting.Editions(newest(stored, out.cuts), res.Cuts)
	out.hours = append(out.hours, Reevaluated{h, entries, len(cuts)})
	out.entries = append(out.entries, entries...)
	out.cuts = append(out.cuts, cuts...)
	out.deviceHours = append(out.deviceHours, ofNodes(res.DeviceHours, entries, cuts)...)
	return adjusting.EndsDiffer(cuts, hour.End()), nil
}

// newest puts editions the batch has made over the stored ones: at an edge that two evaluated hours share both may speak.
func newest(stored, made []record.Cut) []record.Cut {
	type edge struct {
		device string
		t      unit.Micros
	}
	again := map[edge]bool{}
	for _, c := range made {
		again[edge{c.Device, c.T}] = true
	}
	out := slices.DeleteFunc(slices.Clone(stored), func(c record.Cut) bool { return again[edge{c.Device, c.T}] })
	return append(out, made...)
}

// ofNodes are the lines of the nodes that anything was booked for, and of the site's meters with them.
func ofNodes(lines []record.DeviceHour, entries []record.Entry, cuts []record.Cut) []record.DeviceHour {
	if len(entries) == 0 && len(cuts) == 0 {
		return nil
	}
	nodes, devices := map[string]bool{"": true}, map[string]bool{}
	for _, e := range entries {
		nodes[e.Node] = true
	}
	for _, c := range cuts {
		devices[c.Device] = true
	}
	return slices.DeleteFunc(slices.Clone(lines), func(d record.DeviceHour) bool { return !nodes[d.Node] && !devices[d.Device] })
}

// tell counts and logs what a batch booked of earlier hours.
func (c *Closer) tell(site record.Site, seal record.Seal, b evaluated, inputs Inputs) {
	for _, h := range b.hours {
		for _, e := range h.Entries {
			word, _, _ := strings.Cut(e.Reason, " ")
			c.adjusted.WithLabelValues(strings.TrimSuffix(word, ";")).Inc()
		}
		if len(h.Entries) > 0 {
			c.log.Info("hour adjusted", "site", site.ID, "hour", h.Hour.Time().Format(time.RFC3339), "entries", len(h.Entries),
				"reason", adjusting.Reason(h.Causes), "batch", seal.Batch)
		}
	}
	c.pending.WithLabelValues(site.ID).Set(float64(len(inputs.Pending)))
	c.old.WithLabelValues(site.ID).Set(float64(len(inputs.Old)))
	level := slog.LevelInfo
	if len(inputs.Old) > 0 {
		level = slog.LevelWarn
	}
	c.log.Log(context.Background(), level, "batch sealed", "site", site.ID, "batch", seal.Batch, "hour", seal.Hour.Time().Format(time.RFC3339),
		"entries", seal.Entries, "adjustments", seal.Adjustments, "closing", seal.Closing, "root", seal.Root,
		"pending", len(inputs.Pending), "old", len(inputs.Old))
}

// Adjustments is what a batch of adjustments alone would book, or has.
type Adjustments struct {
	Site  string
	Hours []Reevaluated
	// Pending and Old are what is left.
	Pending, Old []Changed
	// Seal is that of the batch; its root is empty when nothing was booked.
	Seal record.Seal
}

// Pending evaluates what is pending of a site, and the hours asked for, and books nothing.
func (c *Closer) Pending(ctx context.Context, site record.Site, ask []unit.Micros) (Adjustments, error) {
	a, _, _, _, err := c.adjustments(ctx, site, ask, true)
	return a, err
}

// Adjust books a batch of adjustments alone: what is pending, or only the hours asked for when any are. Where nothing differs no
// batch is made.
func (c *Closer) Adjust(ctx context.Context, site record.Site, ask []unit.Micros) (Adjustments, error) {
	a, b, p, inputs, err := c.adjustments(ctx, site, ask, false)
	if err != nil || len(b.entries) == 0 && len(b.cuts) == 0 {
		return a, err
	}
	a.Seal, err = c.append(ctx, site, p, ledger.Batch{Hour: p.Next - unit.Hour, Closing: "adjustment"}, b, inputs)
	return a, err
}

// Waiting are the closed hours that something has reached and no batch has taken yet: those that the next batches take, and those
// that wait for a person. It evaluates nothing.
func (c *Closer) Waiting(ctx context.Context, site record.Site) (pending, old []Changed, err error) {
	p, err := c.store.Progress(ctx, site)
	if err != nil || p.Batch == 0 {
		return nil, nil, err
	}
	found, inputs, err := c.store.Changed(ctx, site, p.Next, c.automatic(p))
	if err != nil {
		return nil, nil, err
	}
	pending, old = split(merged(inputs.Pending, inputs.Old, found), c.automatic(p))
	return pending, old, nil
}

func (c *Closer) adjustments(ctx context.Context, site record.Site, ask []unit.Micros, dry bool) (a Adjustments, b evaluated, p Progress, inputs Inputs, err error) {
	a.Site = site.ID
	if p, err = c.store.Progress(ctx, site); err != nil {
		return a, b, p, inputs, err
	}
	if p.Batch == 0 {
		return a, b, p, inputs, nil // nothing is closed, so nothing can be corrected
	}
	found, inputs, err := c.store.Changed(ctx, site, p.Next, c.automatic(p))
	if err != nil {
		return a, b, p, inputs, err
	}
	var hours []Changed
	if len(ask) == 0 {
		hours = c.choose(p, found, &inputs)
	} else {
		if hours, err = c.asked(p, ask, merged(inputs.Pending, inputs.Old, found), &inputs); err != nil {
			return a, b, p, inputs, err
		}
	}
	b, err = c.reevaluate(ctx, site, p, hours, dry)
	b.leave(&inputs)
	a.Hours, a.Pending, a.Old = b.hours, inputs.Pending, inputs.Old
	return a, b, p, inputs, err
}

// asked are the hours a person named, with what is known to have reached them.
func (c *Closer) asked(p Progress, ask []unit.Micros, known []Changed, inputs *Inputs) ([]Changed, error) {
	var hours []Changed
	for _, hour := range ask {
		if hour != hour.FloorHour() || hour >= p.Next {
			return nil, fmt.Errorf("hour %s is not a closed one: name the start of an hour before %s", hour.Time().Format(time.RFC3339), p.Next.Time().Format(time.RFC3339))
		}
		i := slices.IndexFunc(known, func(c Changed) bool { return c.Hour == hour })
		if i < 0 {
			hours = append(hours, Changed{Hour: hour, Causes: []adjusting.Cause{{Word: "late_data", About: "asked for"}}, Asked: true})
			continue
		}
		known[i].Asked = true
		hours = append(hours, known[i])
		known = slices.Delete(known, i, i+1)
	}
	inputs.Pending, inputs.Old = split(known, c.automatic(p))
	slices.SortFunc(hours, func(a, b Changed) int { return cmp.Compare(a.Hour, b.Hour) })
	return slices.CompactFunc(hours, func(a, b Changed) bool { return a.Hour == b.Hour }), nil
}
