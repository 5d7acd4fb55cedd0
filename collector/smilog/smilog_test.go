package smilog

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/wattledger/wattledger/schemas/unit"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

func somewhere() Options { return Options{Site: "site-1", Node: "node-1"} }

// table is a log before it is written: one map per row.
type table struct {
	names []string
	rows  []map[string]string
}

func (tb table) write(names []string) string {
	var b strings.Builder
	b.WriteString(strings.Join(names, ", ") + "\n")
	for _, r := range tb.rows {
		for i, n := range names {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(r[n])
		}
		b.WriteString("\n")
	}
	return b.String()
}

const layout = "2006/01/02 15:04:05.000"

// someLog is a log of up to three GPUs in rising time, with missing power and gaps, and the energy of each GPU by
// naive rational arithmetic under the given longest gap.
func someLog(t *rapid.T, maxGap time.Duration) (table, map[string]*big.Rat) {
	tb := table{names: []string{"timestamp", "uuid", "power.draw [W]", "utilization.gpu [%]", "temperature.gpu", "pstate", "ecc.mode.current"}}
	at := time.Date(2024, 2, 1, 9, 0, 0, 0, time.UTC)
	want := map[string]*big.Rat{}
	type last struct {
		at time.Time
		w  *big.Rat
	}
	seen := map[string]last{}
	for i := range rapid.IntRange(1, 60).Draw(t, "rows") {
		at = at.Add(time.Duration(rapid.IntRange(1, 40).Draw(t, "ms")) * 50 * time.Millisecond)
		id := rapid.SampledFrom([]string{"GPU-a", "GPU-b", "GPU-c"}).Draw(t, "gpu")
		if want[id] == nil {
			want[id] = new(big.Rat)
		}
		power := "[N/A]"
		if i == 0 || rapid.IntRange(0, 5).Draw(t, "has power") > 0 {
			mw := rapid.Int64Range(0, 1_200_000).Draw(t, "mw")
			w := big.NewRat(mw, 1000)
			power = w.FloatString(3)
			if b, ok := seen[id]; ok && at.Sub(b.at) <= maxGap {
				sum := new(big.Rat).Add(b.w, w)
				want[id].Add(want[id], sum.Mul(sum, big.NewRat(at.Sub(b.at).Microseconds(), 2)))
			}
			seen[id] = last{at, w}
		}
		tb.rows = append(tb.rows, map[string]string{
			"timestamp": at.Format(layout), "uuid": id, "power.draw [W]": power,
			"utilization.gpu [%]": fmt.Sprint(rapid.IntRange(0, 100).Draw(t, "util")),
			"temperature.gpu":     fmt.Sprint(rapid.IntRange(20, 90).Draw(t, "temp")), "pstate": "P0", "ecc.mode.current": "Enabled",
		})
	}
	return tb, want
}

// nameless takes what depends on the file's bytes off a message.
func nameless(batches []*wl.SampleBatch) []*wl.SampleBatch {
	for _, b := range batches {
		b.Run, b.BootId = nil, nil
	}
	return batches
}

func equal(a, b []*wl.SampleBatch) bool {
	return slices.EqualFunc(a, b, func(x, y *wl.SampleBatch) bool {
		m := proto.MarshalOptions{Deterministic: true} // bytes, since NaN is not equal to itself
		p, err1 := m.Marshal(x)
		q, err2 := m.Marshal(y)
		return err1 == nil && err2 == nil && string(p) == string(q)
	})
}

// Whatever the rows, every GPU's energy is the exact trapezoid, and however the messages are cut the promises hold.
func TestEnergyIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := somewhere()
		o.MaxGap = time.Duration(rapid.IntRange(1, 100).Draw(t, "gap")) * 100 * time.Millisecond
		o.BatchRows = rapid.IntRange(1, 20).Draw(t, "batch")
		tb, want := someLog(t, o.MaxGap)
		s, batches, _ := replayed(t, tb.write(tb.names), o)
		for _, g := range s.GPUs {
			if g.EnergyExact().Cmp(want[g.UUID]) != 0 {
				t.Fatalf("%s: %s µJ, want %s", g.UUID, g.EnergyMicrojoules, want[g.UUID].RatString())
			}
			mj := new(big.Rat).Quo(want[g.UUID], big.NewRat(1000, 1))
			if floor := new(big.Int).Quo(mj.Num(), mj.Denom()); floor.Int64() != int64(g.Energy) {
				t.Fatalf("%s: %d mJ, want %v", g.UUID, g.Energy, floor)
			}
		}
		if rows := len(tb.rows); s.Samples != uint64(rows) || len(batches) < rows/o.BatchRows {
			t.Fatalf("%d samples of %d rows in %d messages", s.Samples, rows, len(batches))
		}
	})
}

func TestColumnsInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tb, _ := someLog(t, time.Second)
		other := rapid.Permutation(tb.names).Draw(t, "names")
		_, a, _ := replayed(t, tb.write(tb.names), somewhere())
		_, b, _ := replayed(t, tb.write(other), somewhere())
		if !equal(nameless(a), nameless(b)) {
			t.Fatalf("columns as %q make other messages", other)
		}
	})
}

// GPU by GPU or mixed, the same rows come to the same energy and the same samples.
func TestRowsGroupedByGPU(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := somewhere()
		o.BatchRows = rapid.IntRange(1, 20).Draw(t, "batch")
		tb, _ := someLog(t, time.Second)
		mixed, _, _ := replayed(t, tb.write(tb.names), o)
		slices.SortStableFunc(tb.rows, func(a, b map[string]string) int { return strings.Compare(a["uuid"], b["uuid"]) })
		grouped, _, _ := replayed(t, tb.write(tb.names), o) // replayed checks what is declared complete
		of := func(s *Summary) map[string]string {
			out := map[string]string{}
			for _, g := range s.GPUs {
				out[g.UUID] = fmt.Sprint(g.EnergyMicrojoules, g.Rows, g.First, g.Last, g.Covered, g.Peak)
			}
			return out
		}
		if a, b := fmt.Sprint(of(mixed)), fmt.Sprint(of(grouped)); a != b {
			t.Fatalf("mixed %s\ngrouped %s", a, b)
		}
	})
}

// A log cut in two that share the row at the cut has the energy of the whole.
func TestTwoReplaysAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := somewhere()
		o.MaxGap = time.Second
		tb, _ := someLog(t, o.MaxGap)
		for _, r := range tb.rows {
			r["uuid"], r["power.draw [W]"] = "GPU-a", strings.Replace(r["power.draw [W]"], "[N/A]", "77.5", 1)
		}
		at := rapid.IntRange(0, len(tb.rows)-1).Draw(t, "at")
		energyOf := func(rows []map[string]string) *big.Rat {
			s, _, _ := replayed(t, table{tb.names, rows}.write(tb.names), o)
			return s.GPUs[0].EnergyExact()
		}
		parts := new(big.Rat).Add(energyOf(tb.rows[:at+1]), energyOf(tb.rows[at:]))
		if whole := energyOf(tb.rows); parts.Cmp(whole) != 0 {
			t.Fatalf("the parts are %s, the whole %s", parts.RatString(), whole.RatString())
		}
	})
}

// The same bytes and options give the same messages; what changes a number changes the run.
func TestRunIsAHashOfBytesAndOptions(t *testing.T) {
	const log = "timestamp, power.draw\n2024/02/01 09:00:00.000, 1\n2024/02/01 09:00:01.000, 1\n"
	runOf := func(log string, change func(*Options)) string {
		t.Helper()
		o := somewhere()
		change(&o)
		s, a, _ := replayed(t, log, o)
		if _, b, _ := replayed(t, log, o); !equal(a, b) {
			t.Error("the second replay made other messages")
		}
		return s.Run
	}
	same := runOf(log, func(*Options) {})
	for name, run := range map[string]string{
		"bytes":    runOf(log+"\n", func(*Options) {}),
		"timezone": runOf(log, func(o *Options) { o.Timezone = time.FixedZone("EST", -5*3600) }),
		"gap":      runOf(log, func(o *Options) { o.MaxGap = time.Minute }),
		"batch":    runOf(log, func(o *Options) { o.BatchRows = 1 }),
	} {
		if run == same {
			t.Errorf("other %s, same run", name)
		}
	}
	if runOf(log, func(o *Options) { o.CompleteUpTo = unit.MicrosOf(time.Date(2024, 2, 1, 10, 0, 0, 0, time.UTC)) }) != same {
		t.Error("how far the node is complete is no part of what was measured")
	}
}

func TestTheLastMessageCompletesTheHour(t *testing.T) {
	const log = "timestamp, power.draw\n2024/02/01 09:00:00.000, 1\n2024/02/01 09:00:01.000, 1\n"
	o := somewhere()
	o.BatchRows = 1
	o.CompleteUpTo = unit.MicrosOf(time.Date(2024, 2, 1, 10, 0, 0, 0, time.UTC))
	_, batches, _ := replayed(t, log, o)
	if last := batches[len(batches)-1]; last.CompleteUpToUs != int64(o.CompleteUpTo) {
		t.Errorf("complete up to %d", last.CompleteUpToUs)
	}
	o.CompleteUpTo -= unit.Hour
	l, err := Open(context.Background(), strings.NewReader(log), "log.csv", o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Replay(context.Background(), &kept{}); err == nil || !strings.Contains(err.Error(), "last row") {
		t.Errorf("complete before the last row: %v", err)
	}
}

func TestWindowsText(t *testing.T) {
	plain := "timestamp, uuid, power.draw [W]\n2024/02/01 09:00:00.000, GPU-a, 100.00\n2024/02/01 09:00:01.000, GPU-a, 100.00\n"
	_, want, _ := replayed(t, plain, somewhere())
	_, got, bad := replayed(t, "\xef\xbb\xbf"+strings.ReplaceAll(plain, "\n", "\r\n"), somewhere())
	if !equal(nameless(want), nameless(got)) || len(bad) != 0 {
		t.Error("a byte order mark and CRLF make other messages")
	}
}

// A log that cannot be used is refused with where, what and how to mend it.
func TestUselessLogs(t *testing.T) {
	f := func(log string, change func(*Options), want string) {
		t.Helper()
		o := somewhere()
		if change != nil {
			change(&o)
		}
		_, err := Open(context.Background(), strings.NewReader(log), "gpu.csv", o)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "gpu.csv") {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	const row = "2024/02/01 09:00:00.000, 100.00\n"
	f("", nil, "line 1, column 1: no line is a header")
	f(row, nil, "line 1, column 1: a row of values comes before any header; record without noheader")
	f(strings.Repeat("hello\n", 20), nil, "line 17, column 1: none of the first 16 lines is a header")
	f("timestamp, power.draw [W]\n", nil, "no row below it")
	f("timestamp, power.draw [W]\nx, 1\n", nil, `no row can be used and 1 are bad; the first: line 2, column 1: timestamp "x"`)
	f("timestamp, power.draw [kW]\n"+row, nil, `line 1, column 12: power.draw is in "kW"`)
	f("timestamp, power.draw [W], power.draw [W]\n"+row, nil, "line 1, column 28: the column power.draw is there twice")
	f("timestamp, power.draw.instant [W]\n"+row, nil, "there is no column power.draw but there is power.draw.instant; ask for that one")
	f("timestamp, temperature.gpu\n2024/02/01 09:00:00.000, 40\n", nil, "--query-gpu=timestamp,uuid,power.draw")
	f("timestamp, power.draw [W]\n2024/02/01 09:00:00.000, [N/A]\n", nil, "does not offer it")
	f("\xff\xfet\x00i\x00", nil, "UTF-16")
	f("timestamp, power.draw [W]\n"+row, func(o *Options) { o.Model = "Voodoo" }, `"Voodoo" is not in the table of models; write one of: NVIDIA A`)
	f("timestamp, power.draw [W]\n"+row, func(o *Options) { *o = Options{Power: "watts", MaxGap: -1, BatchRows: -1} }, "site is empty")
	f("timestamp, power.draw [W]\n"+row, func(o *Options) { *o = Options{Power: "watts", MaxGap: -1, BatchRows: -1} }, `power is "watts"`)
	f("timestamp, uuid, index, power.draw\n2024/02/01 09:00:00.000, node-1/gpu/0, 0, 1\ntimestamp, index, power.draw\n2024/02/01 09:00:01.000, 0, 1\n", nil, "two GPUs of this log")
}

func TestAChangedFileIsNoticed(t *testing.T) {
	const log = "timestamp, power.draw\n2024/02/01 09:00:00.000, 1\n2024/02/01 09:00:01.000, 1\n"
	r := &rewritten{strings.NewReader(log), strings.Replace(log, "01.000, 1", "01.000, 2", 1)}
	l, err := Open(context.Background(), r, "log.csv", somewhere())
	if err != nil {
		t.Fatal(err)
	}
	r.Reader = strings.NewReader(r.next)
	if _, err := l.Replay(context.Background(), &kept{}); err == nil || !strings.Contains(err.Error(), "changed while it was read") {
		t.Errorf("got %v", err)
	}
	r.Reader = strings.NewReader(log + "2024/02/01 09:00:02.000, 1\n") // appended to: what was there is replayed
	if s, err := l.Replay(context.Background(), &kept{}); err != nil || s.Samples != 2 {
		t.Errorf("a log that grows: %v", err)
	}
}

type rewritten struct {
	*strings.Reader
	next string
}

func TestErrorsOfOthersEndTheReplay(t *testing.T) {
	const log = "timestamp, power.draw\n2024/02/01 09:00:00.000, 1\nbad\n"
	broken := errors.New("broken")
	o := somewhere()
	o.Bad = func(*BadRow) error { return broken }
	l, err := Open(context.Background(), strings.NewReader(log), "log.csv", o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Replay(context.Background(), &kept{}); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	l.opt.Bad = nil
	if _, err := l.Replay(context.Background(), failing{broken}); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := l.Replay(ctx, &kept{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

type failing struct{ err error }

func (f failing) Publish(context.Context, *wl.SampleBatch) error { return f.err }

func TestMoreGPUsThanFit(t *testing.T) {
	var b strings.Builder
	b.WriteString("timestamp, uuid, power.draw\n")
	for i := range MaxGPUs + 2 {
		fmt.Fprintf(&b, "2024/02/01 09:00:00.000, GPU-%08d-0000-0000-0000-000000000000, 1\n", i)
	}
	b.WriteString(strings.Repeat("x", maxLine+10) + "\n")
	s, _, bad := replayed(t, b.String(), somewhere())
	if len(s.GPUs) != MaxGPUs || s.Refused[ReasonTooManyGPUs] != 2 || s.Refused[ReasonTooLong] != 1 {
		t.Errorf("%d GPUs, refused %v", len(s.GPUs), s.Refused)
	}
	if last := bad[len(bad)-1]; last.Line != MaxGPUs+4 || len(last.Text) == 0 {
		t.Errorf("the long line is said to be line %d", last.Line)
	}
}
