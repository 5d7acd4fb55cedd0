package progress

import (
	"bytes"
	"io"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
	"pgregory.net/rapid"
)

// screen plays the escape sequences that we send, and nothing more.
func screen(raw string) []string {
	lines := []string{""}
	row := 0
	up := regexp.MustCompile("^\x1b\\[(\\d+)A\r\x1b\\[J")
	for len(raw) > 0 {
		if m := up.FindStringSubmatch(raw); m != nil {
			n, _ := strconv.Atoi(m[1])
			row -= n
			lines = append(lines[:row], "")
			raw = raw[len(m[0]):]
			continue
		}
		if raw[0] == '\n' {
			row++
			lines = append(lines, "")
		} else {
			lines[row] += raw[:1]
		}
		raw = raw[1:]
	}
	return lines
}

func reporter(w io.Writer, terminal bool) (*Reporter, func(time.Duration)) {
	now := time.Unix(0, 0)
	return &Reporter{w: w, terminal: terminal, width: func() int { return 100 }, now: func() time.Time { return now }},
		func(d time.Duration) { now = now.Add(d) }
}

func TestLinesOnATerminal(t *testing.T) {
	var out bytes.Buffer
	r, pass := reporter(&out, true)
	f := func(want ...string) {
		t.Helper()
		if got := strings.Join(screen(out.String()), "\n"); got != strings.Join(want, "\n")+"\n" {
			t.Errorf("the screen shows\n%s\nwant\n%s", got, strings.Join(want, "\n"))
		}
	}
	play := r.Stage("simulate", 2400, "samples")
	f("simulate     ░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░    0 %  0/2 400 samples")
	pass(4 * time.Second)
	play.Add(1200)
	f("simulate     ███████████████░░░░░░░░░░░░░░░   50 %  1 200/2 400 samples  300/s  4.0 s left")
	play.Add(1) // too soon to draw again
	f("simulate     ███████████████░░░░░░░░░░░░░░░   50 %  1 200/2 400 samples  300/s  4.0 s left")
	rows := r.Stage("ingest", 0, "rows")
	pass(time.Second)
	rows.Set(7)
	f("simulate     ███████████████░░░░░░░░░░░░░░░   50 %  1 201/2 400 samples  240/s  5.0 s left", "ingest       7 rows  7.0/s")

	log := r.Logs(&out)
	io.WriteString(log, "half a ")
	io.WriteString(log, "log line\n")
	f("half a log line", "simulate     ███████████████░░░░░░░░░░░░░░░   50 %  1 201/2 400 samples  240/s  5.0 s left", "ingest       7 rows  7.0/s")
	pass(time.Second)
	play.Set(2400)
	play.Done()
	play.Done()
	play.Add(5)
	f("half a log line", "simulate     done: 2 400 samples in 6.0 s, 400/s", "ingest       7 rows  3.5/s")
	rows.Note("engine\x1b[2J away")
	rows.Fail()
	f("half a log line", "simulate     done: 2 400 samples in 6.0 s, 400/s", "ingest       failed: 7 rows in 2.0 s, 3.5/s, engine·[2J away")
}

func TestPlainLines(t *testing.T) {
	var out bytes.Buffer
	r, pass := reporter(&out, false)
	s := r.Stage("close", 0, "hours")
	s.SetTotal(48)
	for range 25 {
		pass(time.Second)
		s.Add(1)
	}
	s.Done()
	want := "close: 20 %, 10/48 hours, 1.0/s, 38 s left\nclose: 41 %, 20/48 hours, 1.0/s, 28 s left\nclose        done: 25/48 hours in 25 s, 1.0/s\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
	if r.Logs(&out) != io.Writer(&out) {
		t.Error("logs take a detour although there is no terminal")
	}
}

func TestQuiet(t *testing.T) {
	var out bytes.Buffer
	r := New(&out, true)
	s := r.Stage("x", 1, "y")
	s.Add(1)
	s.Set(1)
	s.SetTotal(2)
	s.Note("n")
	s.Done()
	s.Fail()
	io.WriteString(r.Logs(&out), "log\n")
	if out.String() != "log\n" {
		t.Errorf("said %q", out.String())
	}
	if New(&out, false).terminal || Width(&out) != 0 {
		t.Error("a buffer passes for a terminal")
	}
}

func TestManyGoroutines(t *testing.T) {
	var out bytes.Buffer
	r, _ := reporter(&out, true)
	s := r.Stage("x", 4000, "y")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				s.Add(1)
			}
		})
	}
	wg.Wait()
	s.Done()
	if !strings.Contains(out.String(), "done: 4 000 y") {
		t.Errorf("counts were lost: %s", out.String())
	}
}

func TestGroupedKeepsTheNumber(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64().Draw(t, "n")
		if got, err := strconv.ParseInt(strings.ReplaceAll(Grouped(n), " ", ""), 10, 64); err != nil || got != n {
			t.Fatalf("Grouped(%d) = %q", n, Grouped(n))
		}
	})
	f := func(n int64, want string) {
		t.Helper()
		if got := Grouped(n); got != want {
			t.Errorf("Grouped(%d) = %q, want %q", n, got, want)
		}
	}
	f(0, "0")
	f(999, "999")
	f(1000, "1 000")
	f(-1234567, "-1 234 567")
}

func TestShort(t *testing.T) {
	f := func(d time.Duration, want string) {
		t.Helper()
		if got := Short(d); got != want {
			t.Errorf("Short(%v) = %q, want %q", d, got, want)
		}
	}
	f(-time.Second, "0.0 s")
	f(9940*time.Millisecond, "9.9 s")
	f(9960*time.Millisecond, "10 s")
	f(59600*time.Millisecond, "1 min 00 s")
	f(time.Hour-time.Second, "59 min 59 s")
	f(26*time.Hour+7*time.Minute, "26 h 07 min")
}

func render(t interface{ Errorf(string, ...any) }, tab *Table, width int) string {
	var b strings.Builder
	if err := tab.Render(&b, width); err != nil {
		t.Errorf("%v", err)
	}
	return b.String()
}

func TestTable(t *testing.T) {
	tab := &Table{Title: "Energy by tenant", Columns: []Column{Text("tenant"), Number("energy", "kWh"), Number("GPU time", "h")}}
	tab.Add("Example Railway", "1 204.512", 96)
	tab.Add("Exämple Bank\nLtd", "-3.000")
	tab.Total("total", "1 201.512", 96)
	want := `Energy by tenant
┌──────────────────┬──────────────┬──────────────┐
│ tenant           │ energy [kWh] │ GPU time [h] │
├──────────────────┼──────────────┼──────────────┤
│ Example Railway  │    1 204.512 │           96 │
│ Exämple Bank·Ltd │       -3.000 │              │
├──────────────────┼──────────────┼──────────────┤
│ total            │    1 201.512 │           96 │
└──────────────────┴──────────────┴──────────────┘
`
	if got := render(t, tab, 0); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	want = `Energy by tenant
┌──────────────┬──────────────┬──────────────┐
│ tenant       │ energy [kWh] │ GPU time [h] │
├──────────────┼──────────────┼──────────────┤
│ Exampl…ilway │    1 204.512 │           96 │
│ Exämpl…k·Ltd │       -3.000 │              │
├──────────────┼──────────────┼──────────────┤
│ total        │    1 201.512 │           96 │
└──────────────┴──────────────┴──────────────┘
`
	if got := render(t, tab, 44); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestTableFitsAndKeepsFigures(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Terminals disagree about the width of joined emoji, so the law is about letters, wide ones included.
		words := rapid.StringMatching(`[a-zé漢 \x00-\x1f]{0,80}`)
		tab := &Table{Columns: []Column{Text("a"), Number("n", "kWh"), Text("b")}}
		figures := rapid.SliceOfN(rapid.Int64(), 1, 5).Draw(t, "n")
		for _, n := range figures {
			tab.Add(words.Draw(t, "a"), n, words.Draw(t, "b"))
		}
		width := rapid.IntRange(60, 100).Draw(t, "width")
		out := render(t, tab, width)
		for line := range strings.Lines(out) {
			if w := text.StringWidth(strings.TrimSuffix(line, "\n")); w > width {
				t.Fatalf("%d columns, want at most %d:\n%s", w, width, out)
			}
		}
		if got := strings.Count(out, "\n"); got != len(figures)+4 {
			t.Fatalf("%d lines for %d rows:\n%s", got, len(figures), out)
		}
		for _, n := range figures {
			if !strings.Contains(out, " "+strconv.FormatInt(n, 10)+" │") {
				t.Fatalf("%d is cut:\n%s", n, out)
			}
		}
	})
}
