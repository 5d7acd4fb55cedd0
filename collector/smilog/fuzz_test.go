package smilog

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
)

// Whatever the bytes: no panic, and what is replayed keeps every promise and accounts for every row.
func FuzzReplay(f *testing.F) {
	files, err := filepath.Glob("testdata/cases/*.txtar")
	if err != nil || len(files) == 0 {
		f.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, part := range txtar.Parse(data).Files {
			if part.Name == "log.csv" {
				f.Add(string(part.Data), byte(3))
			}
		}
	}
	f.Add("timestamp, uuid, name, power.draw\n2024/02/01 09:00:00.000, GPU-\xff, a, 1\n2024/02/01 09:00:00.000, GPU-a, \xff, 1\n", byte(0))
	paris, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, log string, rows byte) {
		o := somewhere()
		o.Timezone, o.BatchRows = paris, 1+int(rows)
		bad := uint64(0)
		o.Bad = func(b *BadRow) error {
			if b.Line < 1 || b.Column < 1 || b.Reason == "" || b.Detail == "" {
				t.Errorf("a bad row without a place or a reason: %+v", b)
			}
			bad++
			return nil
		}
		l, err := Open(context.Background(), strings.NewReader(log), "log.csv", o)
		if err != nil {
			return
		}
		var k kept
		s, err := l.Replay(context.Background(), &k)
		if err != nil {
			t.Fatal(err)
		}
		if msg := promises(k.batches, s); msg != "" {
			t.Fatal(msg)
		}
		var same, back uint64
		for _, g := range s.GPUs {
			same, back = same+g.EqualTimes.Count, back+g.TimesBack.Count
			if g.Covered > g.Last-g.First || g.Mean > g.Peak || g.Peak > g.Limit {
				t.Fatalf("covered, mean or peak beyond its bound: %+v", g)
			}
		}
		lines := uint64(strings.Count(log, "\n") + 1)
		if s.BadRows+back != bad || s.BadRows != l.bad || s.Samples+same+bad > lines {
			t.Fatalf("%d bad and %d back of which %d were handed out, %d samples, %d at equal times, from %d lines", s.BadRows, back, bad, s.Samples, same, lines)
		}
	})
}
