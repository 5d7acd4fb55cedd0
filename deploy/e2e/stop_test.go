package e2e

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A demo that is told to stop does so at once, leaves no process, and the same command completes the day.
func TestCtrlCDuringTheDay(t *testing.T) {
	t.Parallel() // its data are its own
	want := undisturbed(t)
	f := func(name string, reached func(r *running, data string) bool) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			data, out := filepath.Join(dir, "data"), filepath.Join(dir, "out")
			r := short.once(t, data, out)
			r.until(name, 2*time.Minute, func() bool { return reached(r, data) })
			r.signal(interrupt)
			if code := r.endsWithin(20 * time.Second); code != 1 {
				t.Errorf("ended with %d, want 1: the day is not done", code)
			}
			failure(t, r, "interrupted")
			for _, pid := range r.orphans(2 * time.Second) {
				t.Errorf("process %d is still there", pid)
			}
			other := day{seed: short.seed + 1, start: short.start, hours: short.hours}.once(t, data, out)
			if code := other.wait(); code == 0 {
				t.Error("another seed was played on top of half a day")
			}
			res := proven(t, short.once(t, data, out))
			if got, want := *res.Samples.Stored, *want.result.Samples.Stored; got != want {
				t.Errorf("%d samples stored, want %d", got, want)
			}
			sameFiles(t, out, want.out)
		})
	}
	f("playing", func(_ *running, data string) bool { return count(data, "SELECT count() FROM sample") > 0 })
	f("closing", func(_ *running, data string) bool { return count(data, "SELECT count() FROM seals") > 0 })
}

func TestLive(t *testing.T) {
	t.Parallel() // its data are its own
	dir := t.TempDir()
	data, out := filepath.Join(dir, "data"), filepath.Join(dir, "out")
	d := day{seed: 7, start: time.Now().UTC().Truncate(time.Hour).Add(-time.Hour), hours: 1}
	end := d.start.Add(time.Hour)
	r := wattledger(t, options{limit: 8 * time.Minute}, d.args(t, data, out)...)
	live := fmt.Sprintf("SELECT count() FROM sample WHERE tick > fromUnixTimestamp64Micro(%d)", end.UnixMicro())
	r.until("the day is accounted", 2*time.Minute, func() bool { return strings.Contains(r.out.String(), "Collecting live") })
	documents(t, out)
	var first int64
	r.until("live samples arrive", time.Minute, func() bool { first = count(data, live); return first > 0 })
	r.until("more arrive", time.Minute, func() bool { return count(data, live) > first })

	// What it tells people to type works as it stands.
	hint := regexp.MustCompile(`curl .*`).FindString(r.out.String())
	if _, err := exec.LookPath("curl"); err == nil {
		if out, err := exec.CommandContext(t.Context(), "sh", "-c", hint).CombinedOutput(); err != nil || !regexp.MustCompile(`(?m)^\d+$`).Match(out) {
			t.Errorf("%s\n%s %v", hint, out, err)
		}
	}

	status := wattledger(t, options{}, "status", "--embedded", "--data", data, "--json")
	if code := status.wait(); code != 0 {
		t.Errorf("status ended with %d", code)
	}
	var said struct {
		Topics []struct {
			Topic string
			Lag   *int64
		}
		Sites []struct {
			Site       string
			LastClosed time.Time `json:"last_closed_hour"`
			OpenCuts   *int64    `json:"open_cuts"`
		}
		Refused *int64
	}
	if err := json.Unmarshal(status.lastLine(), &said); err != nil {
		t.Fatalf("status says %q: %v", status.lastLine(), err)
	}
	if len(said.Sites) != 2 || len(said.Topics) == 0 || said.Refused == nil || *said.Refused != 0 {
		t.Errorf("status says %s", status.lastLine())
	}
	for _, s := range said.Sites {
		if s.LastClosed.Before(d.start) || s.OpenCuts == nil {
			t.Errorf("status of %s: last closed hour %s, the day begins %s", s.Site, s.LastClosed, d.start)
		}
	}
	for _, topic := range said.Topics {
		if topic.Lag == nil {
			t.Errorf("status names no lag of %s", topic.Topic)
		}
	}

	r.signal(interrupt)
	if code := r.endsWithin(20 * time.Second); code != 0 {
		t.Errorf("ended with %d, want 0: Ctrl-C is how live mode ends", code)
	}
	for _, pid := range r.orphans(2 * time.Second) {
		t.Errorf("process %d is still there", pid)
	}
	// The day is what it was before live samples came.
	again := filepath.Join(dir, "again")
	proven(t, d.once(t, data, again))
	sameFiles(t, again, out)
}
