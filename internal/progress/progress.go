package progress

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"
)

// Reporter shows the stages of long work. All its methods may be called from several goroutines, and a
// nil Reporter shows nothing.
type Reporter struct {
	w        io.Writer
	terminal bool
	width    func() int
	now      func() time.Time

	mu     sync.Mutex
	live   []*Stage  // guarded by mu; those not done, in the order of starting
	lines  int       // guarded by mu; how many lines of ours are on the screen, above the cursor
	drawn  time.Time // guarded by mu; when
	atLine bool      // guarded by mu; whether foreign output stopped in the middle of a line
}

const (
	redrawEvery = 100 * time.Millisecond // on a terminal
	tellEvery   = 10 * time.Second       // into a file
)

// New reports to w, usually standard error: lines that are redrawn on a terminal, a plain line now and
// then otherwise, nothing when quiet.
func New(w io.Writer, quiet bool) *Reporter {
	if quiet {
		return nil
	}
	return &Reporter{w: w, terminal: Width(w) > 0, width: func() int { return Width(w) }, now: time.Now}
}

// Width is the width of the terminal that w is, or 0 if it is none.
func Width(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || os.Getenv("TERM") == "dumb" {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width < 20 {
		return 80
	}
	return width
}

// Stage is one piece of long work. A nil Stage counts nothing.
type Stage struct {
	r     *Reporter
	name  string
	unit  string
	began time.Time
	done  int64     // guarded by r.mu
	total int64     // guarded by r.mu; 0 is unknown
	note  string    // guarded by r.mu
	told  time.Time // guarded by r.mu; the latest plain line
	over  bool      // guarded by r.mu
}

// Stage begins a piece of work of so many units; total 0 means that nobody knows.
func (r *Reporter) Stage(name string, total int64, unit string) *Stage {
	if r == nil {
		return nil
	}
	now := r.now()
	s := &Stage{r: r, name: name, unit: unit, total: total, began: now, told: now}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.live = append(r.live, s)
	r.draw(true)
	return s
}

// Add counts n more units.
func (s *Stage) Add(n int64) { s.change(func() { s.done += n }) }

// Set says how many units are done in all.
func (s *Stage) Set(done int64) { s.change(func() { s.done = done }) }

// SetTotal says how many units there are, when that turns out later.
func (s *Stage) SetTotal(total int64) { s.change(func() { s.total = total }) }

// Note puts a word behind the figures; it goes with the next one.
func (s *Stage) Note(text string) { s.change(func() { s.note = clean(text) }) }

func (s *Stage) change(f func()) {
	if s == nil {
		return
	}
	r := s.r
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.over {
		return
	}
	f()
	if r.terminal {
		r.draw(false)
		return
	}
	if now := r.now(); now.Sub(s.told) >= tellEvery {
		s.told = now
		fmt.Fprintln(r.w, s.plain(now))
	}
}

// Done ends the stage and leaves one line that says how it went.
func (s *Stage) Done() { s.end("done") }

// Fail ends the stage and leaves a line that says how far it came.
func (s *Stage) Fail() { s.end("failed") }

func (s *Stage) end(how string) {
	if s == nil {
		return
	}
	r := s.r
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.over {
		return
	}
	s.over = true
	r.erase()
	for i, l := range r.live {
		if l == s {
			r.live = append(r.live[:i], r.live[i+1:]...)
			break
		}
	}
	fmt.Fprintln(r.w, s.summary(how, r.now()))
	r.draw(true)
}

// Logs is a writer for log lines that keeps them and the progress lines apart.
func (r *Reporter) Logs(w io.Writer) io.Writer {
	if r == nil || !r.terminal {
		return w
	}
	return &logWriter{r: r, w: w}
}

type logWriter struct {
	r *Reporter
	w io.Writer
}

func (l *logWriter) Write(p []byte) (int, error) {
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	if !l.r.atLine {
		l.r.erase()
	}
	n, err := l.w.Write(p)
	l.r.atLine = !bytes.HasSuffix(p, []byte("\n")) && len(p) > 0
	l.r.draw(true)
	return n, err
}

// erase takes our lines off the screen. The caller holds mu.
func (r *Reporter) erase() {
	if r.lines > 0 {
		fmt.Fprintf(r.w, "\x1b[%dA\r\x1b[J", r.lines)
		r.lines = 0
	}
}

// draw puts a line per live stage on the screen, at once or when it is time. The caller holds mu.
func (r *Reporter) draw(atOnce bool) {
	now := r.now()
	if !r.terminal || r.atLine || !atOnce && now.Sub(r.drawn) < redrawEvery {
		return
	}
	r.drawn = now
	r.erase()
	width := max(r.width(), 20)
	var b strings.Builder
	for _, s := range r.live {
		b.WriteString(text.Trim(s.bar(now, width-1), width-1) + "\n")
	}
	r.lines = len(r.live)
	_, _ = io.WriteString(r.w, b.String()) // a terminal that is gone shows nothing
}
