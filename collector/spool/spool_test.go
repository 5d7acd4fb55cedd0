package spool

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/message"
	"github.com/wattledger/wattledger/schemas/unit"
)

func small() Config {
	c := DefaultConfig()
	c.Dir, c.SegmentBytes, c.MaxBytes = "-", 4096, 1<<20
	return c
}

func at(t unit.Micros) func() unit.Micros { return func() unit.Micros { return t } }

func openOn(t testing.TB, cfg Config, d folder) *Spool {
	t.Helper()
	s, err := open(cfg, d, at(begin), discard(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t testing.TB, s *Spool, from, to uint64) {
	t.Helper()
	for q := from; q <= to; q++ {
		if err := s.Put(context.Background(), made(q)); err != nil {
			t.Fatal(err)
		}
	}
}

// rest takes out what is there.
func rest(t testing.TB, s *Spool) (sequences []uint64) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for {
		m, err := s.Next(ctx)
		if errors.Is(err, context.Canceled) {
			return sequences
		}
		if err != nil {
			t.Fatal(err)
		}
		if !same(m, made(m.Mark.Sequence)) {
			t.Fatalf("message %d has other bytes than were put", m.Mark.Sequence)
		}
		sequences = append(sequences, m.Mark.Sequence)
		if err := s.Ack(); err != nil {
			t.Fatal(err)
		}
	}
}

// one takes out one message, and says how many that were.
func one(t testing.TB, s *Spool) uint64 {
	t.Helper()
	if _, err := s.Next(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := s.Ack(); err != nil {
		t.Fatal(err)
	}
	return 1
}

var _ agent.Losses = (*Spool)(nil)

func value(t testing.TB, c prometheus.Collector) float64 { t.Helper(); return testutil.ToFloat64(c) }

func TestNextWaitsForAMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openOn(t, small(), newMemDisk())
		got := make(chan uint64)
		go func() {
			m, err := s.Next(t.Context())
			if err != nil {
				t.Error(err)
				close(got)
				return
			}
			got <- m.Mark.Sequence
		}()
		synctest.Wait()
		select {
		case q := <-got:
			t.Fatalf("%d came out of an empty spool", q)
		default:
		}
		put(t, s, 7, 7)
		if q := <-got; q != 7 {
			t.Errorf("%d came out, want 7", q)
		}
		if err := s.Ack(); err != nil {
			t.Error(err)
		}
		ended := make(chan error)
		go func() { _, err := s.Next(t.Context()); ended <- err }()
		synctest.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, ErrClosed) {
			t.Errorf("a reader of a closed spool was told %v", err)
		}
		if err := s.Put(t.Context(), made(8)); !errors.Is(err, ErrClosed) {
			t.Errorf("a writer to a closed spool was told %v", err)
		}
	})
}

func TestAFolderBelongsToOneProcess(t *testing.T) {
	cfg := small()
	cfg.Dir = filepath.Join(t.TempDir(), "spool")
	first, err := Open(cfg, at(begin), discard(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(cfg, at(begin), discard(), nil); err == nil || !strings.Contains(err.Error(), "--data") || !strings.Contains(err.Error(), "process") {
		t.Errorf("a second collector was told %v", err)
	}
	put(t, first, 1, 30)
	if err := errors.Join(first.Close(), first.Close()); err != nil {
		t.Error(err)
	}
	again, err := Open(cfg, at(begin), discard(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got := rest(t, again); len(got) != 30 || got[29] != 30 {
		t.Errorf("out came %v, want 1 to 30", got)
	}
	if names, _ := filepath.Glob(filepath.Join(cfg.Dir, "*.seg")); len(names) != 1 {
		t.Errorf("all is published, and %v are still there", names)
	}
}

func TestTheLastMarkOutlivesItsMessage(t *testing.T) {
	d := newMemDisk()
	s := openOn(t, small(), d)
	if _, ok := s.Last("a"); ok {
		t.Error("an empty spool knows a last message")
	}
	rare := made(1)
	rare.Topic = "rare"
	if err := s.Put(t.Context(), rare); err != nil {
		t.Fatal(err)
	}
	for q := uint64(2); q < 60; q++ {
		put(t, s, q, q)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for {
		if _, err := s.Batch(ctx, 100, 1<<20); err != nil {
			break
		}
		if err := s.Ack(); err != nil {
			t.Fatal(err)
		}
	}
	s = openOn(t, small(), d.killed())
	if got, ok := s.Last("rare"); !ok || got != rare.Mark {
		t.Errorf("the last message of the topic was %+v, %t", got, ok)
	}
}

func TestTheLastWordOfARunKeepsItsLastTick(t *testing.T) {
	d := newMemDisk()
	s := openOn(t, small(), d)
	put(t, s, 1, 1)
	word := *made(1)
	word.Mark = message.Mark{Run: word.Mark.Run, Sequence: 2}
	if err := s.Put(t.Context(), &word); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Spool{s, openOn(t, small(), d.killed())} {
		if got, ok := s.Last(word.Topic); !ok || got.Sequence != 2 || got.To != made(1).Mark.To || got.Rows != 0 {
			t.Errorf("the last message was %+v, %t", got, ok)
		}
	}
}

func TestTheOldestIsGivenUpWhenThereIsTooMuch(t *testing.T) {
	cfg := small()
	cfg.MaxBytes, cfg.MaxAge = 4*cfg.SegmentBytes, 0
	d := newMemDisk()
	s := openOn(t, cfg, d)
	put(t, s, 1, 200)
	if s.bytes() > cfg.MaxBytes {
		t.Errorf("%d bytes, above the limit", s.bytes())
	}
	losses := s.Losses()
	var lost uint64
	for _, l := range losses {
		if l.Reason != ReasonFull || l.Topic == "" || l.Last < l.First || l.From != begin+unit.Micros(l.First) || l.To != begin+unit.Micros(l.Last)+5 || l.Rows == 0 {
			t.Errorf("the loss is %+v", l)
		}
		lost += l.Messages
	}
	if v := value(t, s.met.dropped.WithLabelValues("spool_full")); v != float64(lost) || lost == 0 {
		t.Errorf("%v messages counted as dropped, %d told", v, lost)
	}
	// What is told does not change, what comes after is new.
	put(t, s, 201, 300)
	more := s.Losses()
	for i, l := range losses {
		if more[i] != l {
			t.Errorf("loss %d was %+v and is %+v", i, l, more[i])
		}
	}
	if told := s.Pending(); len(told) > 0 {
		t.Errorf("while nothing is published, %+v is to be stated", told)
	}
	published := one(t, s)
	if told := s.Pending(); len(told) != len(more) || told[0] != losses[0].Incident() {
		t.Errorf("the incidents are %+v", told)
	}
	s.Stated(len(losses))
	s = openOn(t, cfg, d.killed())
	var later uint64
	for _, l := range s.Losses() {
		later += l.Messages
	}
	if got := rest(t, s); published+uint64(len(got))+lost+later != 300 || got[len(got)-1] != 300 {
		t.Errorf("%d came out, %d and %d were told lost, of 300", len(got), lost, later)
	}
}

// Whether a loss was reported before a kill nobody knows: it is reported again as it was, and what comes later is another.
func TestALossIsReportedTwiceWithEqualContentAtWorst(t *testing.T) {
	cfg := small()
	cfg.MaxBytes, cfg.MaxAge = 2*cfg.SegmentBytes, 0
	d := newMemDisk()
	s := openOn(t, cfg, d)
	put(t, s, 1, 40) // one run
	told := s.Losses()
	s = openOn(t, cfg, d.killed())
	put(t, s, 41, 49)
	again := s.Losses()
	if len(told) == 0 || len(again) <= len(told) {
		t.Fatalf("%d losses, then %d", len(told), len(again))
	}
	for i, l := range told {
		if again[i] != l {
			t.Errorf("loss %d was %+v and is %+v", i, l, again[i])
		}
	}
}

// The message that states a loss can be given up like any other: then the loss is told again, until a message with it is out.
func TestALossIsToldAgainWhenItsMessageIsGivenUp(t *testing.T) {
	cfg := small()
	cfg.MaxBytes, cfg.MaxAge = 4*cfg.SegmentBytes, 0
	d := newMemDisk()
	s := openOn(t, cfg, d)
	next := uint64(1)
	for range 300 {
		n := len(s.Losses())
		put(t, s, next, next) // with what it was handed
		next++
		s.Stated(n)
	}
	s = openOn(t, cfg, d.killed())
	n := len(s.Losses())
	put(t, s, next, next)
	s.Stated(n)
	told := s.stated
	first := s.acked + 1
	got := rest(t, s)
	if got[0] != first || got[0] < 100 {
		t.Fatalf("what came out begins with %d", got[0])
	}
	var lost uint64
	for _, l := range told {
		if l.until < first {
			t.Errorf("%+v is in a message that was given up", l)
		}
		lost += l.Messages
	}
	if lost != first-1 {
		t.Errorf("%d messages are told lost by those that came out, want %d", lost, first-1)
	}
	put(t, s, next+1, next+300)
	for _, l := range s.Losses() {
		if l.First <= next {
			t.Errorf("%+v is told again though its message is out", l)
		}
	}
}

func TestWhatIsTooOldIsGivenUp(t *testing.T) {
	cfg := small()
	cfg.MaxAge = 10 * time.Second
	now := begin
	s, err := open(cfg, newMemDisk(), func() unit.Micros { return now }, discard(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for q := range uint64(40) {
		put(t, s, q+1, q+1)
		now += unit.Second
	}
	got := rest(t, s)
	if len(got) < 10 || len(got) > 14 || got[len(got)-1] != 40 {
		t.Errorf("of forty messages in forty seconds %v are still there after ten", got)
	}
	for _, l := range s.Losses() {
		if l.Reason != ReasonAge {
			t.Errorf("the loss is %+v", l)
		}
	}
}

func TestLossesOfManyRunsStayBounded(t *testing.T) {
	var all []Loss
	for i := range 3 * maxLosses {
		l := Loss{Reason: ReasonFull, Topic: "t", First: 5, Last: 6, From: begin + unit.Micros(i), To: begin + unit.Micros(i), Messages: 2}
		l.Run[0], l.Run[1] = byte(i), byte(i>>8)
		all = merge(all, len(all), tally{l})
	}
	var n uint64
	for _, l := range all {
		n += l.Messages
	}
	if len(all) != maxLosses || n != 6*maxLosses || all[0].From != begin || all[0].Run != [16]byte{} {
		t.Errorf("%d losses of %d messages, the first %+v", len(all), n, all[0])
	}
}

func TestWhatFitsInNoSegmentIsRefused(t *testing.T) {
	s := openOn(t, small(), newMemDisk())
	if err := s.Put(t.Context(), &message.Message{Topic: "a", Value: make([]byte, 4096)}); !errors.Is(err, agent.ErrRefused) {
		t.Errorf("the caller was told %v", err)
	}
	if err := s.Put(t.Context(), &message.Message{Topic: "a", Value: make([]byte, 3900)}); err != nil {
		t.Error(err)
	}
}

func TestWhatWaitsIsMeasured(t *testing.T) {
	now := begin
	reg := prometheus.NewRegistry()
	s, err := open(small(), newMemDisk(), func() unit.Micros { return now }, discard(), reg)
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, 1, 5)
	now += 90 * unit.Second
	if n, bytes, age := s.depth(); n != 5 || bytes != s.bytes() || age != 90 {
		t.Errorf("%d messages of %d bytes, the oldest %v s", n, bytes, age)
	}
	rest(t, s)
	if n, _, age := s.depth(); n != 0 || age != 0 || value(t, s.met.acked) != 5 || value(t, s.met.appended) != 5 {
		t.Errorf("%d messages, the oldest %v s", n, age)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if len(families) < 9 {
		t.Errorf("%d metrics", len(families))
	}
	limits := map[string]float64{"wattledger_collector_spool_limit_bytes": float64(small().MaxBytes), "wattledger_collector_spool_limit_seconds": small().MaxAge.Seconds()}
	for _, f := range families {
		if want, ok := limits[f.GetName()]; ok && f.GetMetric()[0].GetGauge().GetValue() == want {
			delete(limits, f.GetName())
		}
	}
	if len(limits) > 0 {
		t.Errorf("limits that are not shown: %v", limits)
	}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "wattledger_collector_spool_") {
			t.Errorf("a metric is called %s", f.GetName())
		}
	}
}

func TestEveryFaultOfAConfigurationIsNamed(t *testing.T) {
	err := Config{Sync: "never", MaxAge: -1, MaxBytes: -1}.Validate()
	for _, word := range []string{"dir:", "segment_bytes:", "max_bytes:", "max_age:", "sync:", "sync_every:"} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%q is not named by %v", word, err)
		}
	}
	if _, err := Open(DefaultConfig(), at(begin), discard(), nil); err == nil {
		t.Error("a spool without a folder was opened")
	}
	c := DefaultConfig()
	c.Dir = os.DevNull
	if _, err := Open(c, at(begin), discard(), nil); err == nil {
		t.Error("a spool in a file was opened")
	}
}

func TestPutAllocatesNothing(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Dir, cfg.Sync, cfg.SegmentBytes, cfg.MaxBytes = t.TempDir(), SyncInterval, 1<<30, 2<<30
	s, err := Open(cfg, at(begin), discard(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	m := made(1)
	if n := testing.AllocsPerRun(1000, func() {
		if err := s.Put(context.Background(), m); err != nil {
			t.Error(err)
		}
		if _, err := s.Next(context.Background()); err != nil {
			t.Error(err)
		}
		if err := s.Ack(); err != nil {
			t.Error(err)
		}
	}); n > 0 {
		t.Errorf("a message costs %v allocations", n)
	}
}

// The last message of a run and the end of its context come at about the same time.
func TestADoneContextGetsWhatHasJustCome(t *testing.T) {
	s := &Spool{wake: make(chan struct{}, 1), closed: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		s.wake <- struct{}{}
		if err := s.wait(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.wait(ctx); err == nil {
		t.Error("nothing has come")
	}
}

func TestALossOfUnknownTimeCanBeStated(t *testing.T) {
	if err := (Loss{Reason: ReasonCorrupt, Messages: 3}).Incident().Validate(); err != nil {
		t.Error(err)
	}
}
