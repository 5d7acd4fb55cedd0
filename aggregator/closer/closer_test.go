package closer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wattledger/wattledger/aggregator/adjusting"
	"github.com/wattledger/wattledger/aggregator/closing"
	"github.com/wattledger/wattledger/aggregator/ledger"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

const hour0 = 1_790_000_000_000_000 / unit.Hour * unit.Hour

// ledgerOf is a store in memory: sites that wait, and seals in the order in which they were written.
type ledgerOf struct {
	sites   []record.Site
	waiting map[string][]string
	newest  map[string]unit.Micros
	broken  map[string]error
	seals   []record.Seal
	batches []ledger.Sealed
	changed []Changed
	booked  adjusting.Hour
	rival   error
	// reloaded are the hours that were evaluated anew, in order.
	reloaded []unit.Micros
	last     unit.Micros // no hour of a site is ready after this one
	strays   []record.Allocation
}

func (l *ledgerOf) Sites(context.Context) ([]record.Site, error) { return l.sites, nil }

func (l *ledgerOf) Progress(_ context.Context, site record.Site) (Progress, error) {
	p := Progress{Next: hour0, RulesSince: hour0, Waiting: l.waiting[site.ID], Newest: l.newest[site.ID]}
	for _, s := range l.seals {
		if s.Site == site.ID {
			p.Next, p.Batch, p.Previous = s.Hour+unit.Hour, s.Batch+1, s.Root
		}
	}
	if p.Next > l.last {
		p.Next = 0
	}
	return p, nil
}

func (l *ledgerOf) Load(_ context.Context, site record.Site, hour unit.Micros) (closing.Hour, error) {
	return closing.Hour{Site: site, Start: hour, Strays: l.strays}, l.broken[site.ID]
}

func (l *ledgerOf) Append(_ context.Context, b ledger.Sealed) error {
	if l.rival != nil {
		return l.rival
	}
	l.seals = append(l.seals, b.Seal)
	l.batches = append(l.batches, b)
	return nil
}

func (l *ledgerOf) Changed(_ context.Context, _ record.Site, _, _ unit.Micros) ([]Changed, Inputs, error) {
	return l.changed, Inputs{}, nil
}

func (l *ledgerOf) Reload(ctx context.Context, site record.Site, hour unit.Micros, _ []record.Cut, _ bool) (closing.Hour, error) {
	l.reloaded = append(l.reloaded, hour)
	return l.Load(ctx, site, hour)
}

func (l *ledgerOf) Booked(context.Context, string, unit.Micros) (adjusting.Hour, error) {
	return l.booked, nil
}

func (l *ledgerOf) CutsIn(context.Context, string, unit.Micros, unit.Micros) ([]record.Cut, error) {
	return nil, nil
}

func closerOver(t *testing.T, l *ledgerOf) *Closer {
	t.Helper()
	l.sites = []record.Site{{ID: "b", PUEThousandths: 1000}, {ID: "a", PUEThousandths: 1000}}
	c, err := New(Config{Lateness: 6 * time.Hour, Poll: time.Millisecond, AdjustWithin: 48 * time.Hour, AdjustHours: 2}, ledger.SecretFrom("test"), l, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func sealed(l *ledgerOf) []string {
	var out []string
	for _, s := range l.seals {
		out = append(out, s.Site+s.Hour.Time().Format("15")+" "+s.Closing)
	}
	return out
}

func TestHoursCloseInOrderOfHourAndSite(t *testing.T) {
	l := &ledgerOf{last: hour0 + unit.Hour}
	c := closerOver(t, l)
	for range 3 {
		if _, err := c.Once(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	first, second := hour0.Time().Format("15"), (hour0 + unit.Hour).Time().Format("15")
	if want := []string{"a" + first + " complete", "b" + first + " complete", "a" + second + " complete", "b" + second + " complete"}; !slices.Equal(sealed(l), want) {
		t.Errorf("closed %v, want %v", sealed(l), want)
	}
	if l.seals[2].Previous != l.seals[0].Root || l.seals[2].Batch != 1 {
		t.Errorf("the second batch of a is %+v after %+v", l.seals[2], l.seals[0])
	}
}

// A site whose inventory is wrong must not keep the others from being accounted.
func TestABrokenSiteHoldsUpNoOther(t *testing.T) {
	l := &ledgerOf{last: hour0, broken: map[string]error{"a": errors.New("no carbon factor")}}
	c := closerOver(t, l)
	n, err := c.Once(t.Context())
	if n != 1 || len(l.seals) != 1 || l.seals[0].Site != "b" {
		t.Errorf("closed %d: %v", n, sealed(l))
	}
	if err == nil || !strings.Contains(err.Error(), "site a: no carbon factor") {
		t.Errorf("error is %v", err)
	}
}

func TestLatenessIsEventTimeAndNamesItsReason(t *testing.T) {
	l := &ledgerOf{last: hour0, waiting: map[string][]string{"a": {"node-7"}, "b": {"node-8"}}, newest: map[string]unit.Micros{
		"a": hour0 + 7*unit.Hour, "b": hour0 + 7*unit.Hour - 1,
	}}
	c := closerOver(t, l)
	if _, err := c.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(l.seals) != 1 || l.seals[0].Site != "a" || l.seals[0].Closing != "lateness" || !strings.Contains(l.seals[0].Reason, "node-7") {
		t.Errorf("closed %+v", l.seals)
	}
	c.cfg.Lateness = 0
	l.newest["b"] = hour0 + 10_000*unit.Hour
	if n, err := c.Once(t.Context()); n != 0 || err != nil {
		t.Errorf("closed %d without b's node, %v; 0 waits for ever", n, err)
	}
	if got := testutil.ToFloat64(c.closed.WithLabelValues("a", "lateness")); got != 1 {
		t.Errorf("%v hours counted as closed by lateness, want 1", got)
	}
}

func TestRunCountsErrorsAndStops(t *testing.T) {
	l := &ledgerOf{last: hour0, broken: map[string]error{"a": errors.New("no"), "b": errors.New("no")}}
	c := closerOver(t, l)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	for testutil.ToFloat64(c.failed.WithLabelValues("a", failRead)) < 3 {
		time.Sleep(time.Millisecond)
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("a clean stop returns %v", err)
	}
}

// Who knows better when the next hour can be closed is asked how long to wait.
func TestThePauseIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := closerOver(t, &ledgerOf{})
		asked := 0
		c.Pause = func() time.Duration { asked++; return 10 * time.Second }
		ctx, cancel := context.WithTimeout(t.Context(), 35*time.Second)
		defer cancel()
		if err := c.Run(ctx); err != nil || asked != 4 {
			t.Errorf("asked %d times in 35 s, want 4: %v", asked, err)
		}
	})
}

func TestConfigNamesEveryFault(t *testing.T) {
	err := Config{Lateness: -1}.Validate()
	if err == nil || !strings.Contains(err.Error(), "closer.lateness") || !strings.Contains(err.Error(), "closer.poll") {
		t.Errorf("got %v", err)
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}

// Each finding is counted; the log names the first few of a kind, and says how many more there are.
func TestFindingsAreCountedAndNamed(t *testing.T) {
	l := &ledgerOf{last: hour0}
	for i := range 2 * named {
		l.strays = append(l.strays, record.Allocation{ID: fmt.Sprint("stray-", i), Device: "GPU-gone", Tenant: "t", Share: 1000, Start: hour0})
	}
	c := closerOver(t, l)
	l.sites = l.sites[:1]
	var log bytes.Buffer
	c.log = slog.New(slog.NewTextHandler(&log, nil))
	if _, err := c.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := testutil.ToFloat64(c.findings.WithLabelValues(closing.FindingUnknownDevice)); n != 2*named {
		t.Errorf("%v findings counted, want %d", n, 2*named)
	}
	if n := strings.Count(log.String(), "record=stray-"); n != named || !strings.Contains(log.String(), "more=10") {
		t.Errorf("%d findings named in\n%s", n, log.String())
	}
}

// The log is brought up to date at the start, for what a crash left out, after each round that sealed, and again after an error.
func TestWhatIsSealedIsPublished(t *testing.T) {
	l := &ledgerOf{last: hour0 + unit.Hour}
	c := closerOver(t, l)
	var published []int
	ctx, stop := context.WithCancel(t.Context())
	c.Publish = func(context.Context) error {
		published = append(published, len(l.seals))
		if len(published) == 2 {
			return errors.New("no log")
		}
		if len(published) == 3 {
			stop()
		}
		return nil
	}
	if err := c.Run(ctx); err != nil {
		t.Fatal(err)
	}
	// Two rounds that seal two sites each, and the second one's error is made good by the next, which seals nothing.
	if len(published) != 3 || published[0] != 2 || published[1] != 4 || published[2] != 4 || testutil.ToFloat64(c.failed.WithLabelValues("", failLog)) != 1 {
		t.Errorf("published at %v seals, %v errors", published, testutil.ToFloat64(c.failed.WithLabelValues("", failLog)))
	}
}
