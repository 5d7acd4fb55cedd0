package progress

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/jedib0t/go-pretty/v6/text"
)

// figures are what a stage's line says, as far as it is known.
type figures struct {
	percent string // "52 %", or empty
	share   float64
	count   string // "1 200/2 400 samples"
	rate    string // "310/s"
	left    string // "8 s left"
}

func (s *Stage) figures(now time.Time) (f figures) {
	spent := now.Sub(s.began)
	f.count = Grouped(s.done)
	if s.total > 0 {
		f.share = min(1, float64(s.done)/float64(s.total))
		f.percent = fmt.Sprintf("%3d %%", int(f.share*100)) // down, so that 100 % is all of it
		f.count += "/" + Grouped(s.total)
	}
	f.count += " " + s.unit
	if spent >= 500*time.Millisecond && s.done > 0 {
		perSecond := float64(s.done) / spent.Seconds()
		f.rate = Grouped(int64(perSecond)) + "/s"
		if perSecond < 10 {
			f.rate = fmt.Sprintf("%.1f/s", perSecond)
		}
		if s.total > s.done {
			f.left = Short(time.Duration(float64(s.total-s.done)/perSecond*float64(time.Second))) + " left"
		}
	}
	return f
}

const nameWidth = 12

// bar is the line on a terminal.
func (s *Stage) bar(now time.Time, width int) string {
	f := s.figures(now)
	var parts []string
	for _, p := range []string{f.percent, f.count, f.rate, f.left, s.note} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	tail := strings.Join(parts, "  ")
	head := text.Pad(s.name, nameWidth, ' ')
	if s.total <= 0 {
		return head + " " + tail
	}
	room := min(30, width-text.StringWidth(head)-text.StringWidth(tail)-4)
	if room < 5 {
		return head + " " + tail
	}
	full := int(f.share * float64(room))
	return head + " " + strings.Repeat("█", full) + strings.Repeat("░", room-full) + "  " + tail
}

// plain is the line in a file.
func (s *Stage) plain(now time.Time) string {
	f := s.figures(now)
	var parts []string
	for _, p := range []string{strings.TrimSpace(f.percent), f.count, f.rate, f.left, s.note} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return s.name + ": " + strings.Join(parts, ", ")
}

// summary is the line that stays.
func (s *Stage) summary(how string, now time.Time) string {
	f := s.figures(now)
	parts := []string{f.count + " in " + Short(now.Sub(s.began))}
	if s.total == 0 && s.done == 0 {
		parts[0] = Short(now.Sub(s.began))
	}
	if s.total == s.done && s.total > 0 {
		parts[0] = Grouped(s.done) + " " + s.unit + " in " + Short(now.Sub(s.began))
	}
	if f.rate != "" {
		parts = append(parts, f.rate)
	}
	if s.note != "" {
		parts = append(parts, s.note)
	}
	return text.Pad(s.name, nameWidth, ' ') + " " + how + ": " + strings.Join(parts, ", ")
}

// Grouped writes an integer with a space between thousands.
func Grouped(n int64) string {
	digits := fmt.Sprint(n)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(' ')
		}
		b.WriteRune(d)
	}
	return sign + b.String()
}

// Short writes a duration as people say it: 0.4 s, 12 s, 3 min 05 s, 2 h 07 min.
func Short(d time.Duration) string {
	switch {
	case d < 10*time.Second-50*time.Millisecond:
		return fmt.Sprintf("%.1f s", max(0, d).Seconds())
	case d.Round(time.Second) < time.Minute:
		return fmt.Sprintf("%d s", int(d.Round(time.Second)/time.Second))
	case d.Round(time.Second) < time.Hour:
		d = d.Round(time.Second)
		return fmt.Sprintf("%d min %02d s", d/time.Minute, d%time.Minute/time.Second)
	}
	d = d.Round(time.Minute)
	return fmt.Sprintf("%d h %02d min", d/time.Hour, d%time.Hour/time.Minute)
}

// clean makes foreign text harmless for a terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == unicode.ReplacementChar {
			return '·'
		}
		return r
	}, s)
}
