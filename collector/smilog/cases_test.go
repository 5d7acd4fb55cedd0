package smilog

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/rogpeppe/go-internal/txtar"
	"google.golang.org/protobuf/proto"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

var update = flag.Bool("update", false, "write what is found into testdata/cases; review it")

// kept is a publisher that keeps copies.
type kept struct{ batches []*wl.SampleBatch }

func (k *kept) Publish(_ context.Context, b *wl.SampleBatch) error {
	k.batches = append(k.batches, proto.Clone(b).(*wl.SampleBatch))
	return nil
}

// fatal is what testing.T and rapid.T share.
type fatal interface {
	Helper()
	Fatal(args ...any)
}

// replayed opens and replays a log. Every message is checked against what ingest accepts and what the agent promises.
func replayed(t fatal, log string, o Options) (*Summary, []*wl.SampleBatch, []*BadRow) {
	t.Helper()
	var bad []*BadRow
	o.Bad = func(b *BadRow) error { bad = append(bad, b); return nil }
	l, err := Open(context.Background(), strings.NewReader(log), "log.csv", o)
	if err != nil {
		t.Fatal(err)
	}
	var k kept
	s, err := l.Replay(context.Background(), &k)
	if err != nil {
		t.Fatal(err)
	}
	if msg := promises(k.batches, s); msg != "" {
		t.Fatal(msg)
	}
	return s, k.batches, bad
}

// promises checks a run: sequence without holes, one identity, nothing that bears on time declared complete, counters
// that only rise, and an end that agrees with the summary.
func promises(batches []*wl.SampleBatch, s *Summary) string {
	var complete int64
	energyAt, ticks := map[uint32]int64{}, map[uint32]int64{}
	counters := map[[2]int]uint64{}
	var rows uint64
	for i, b := range batches {
		value, errValue := proto.Marshal(b)
		switch err := wire.ValidateSamples(b); {
		case err != nil || errValue != nil:
			return fmt.Sprint(err, errValue)
		case b.Sequence != uint64(i):
			return fmt.Sprintf("message %d has sequence %d", i, b.Sequence)
		case !bytes.Equal(b.Run, batches[0].Run) || !bytes.Equal(b.BootId, batches[0].BootId) || bytes.Equal(b.Run, b.BootId):
			return "run and boot id are not those of the first message, or the same"
		case b.CompleteUpToUs < complete:
			return fmt.Sprintf("complete up to goes back from %d to %d", complete, b.CompleteUpToUs)
		case len(value) > wire.MaxMessageBytes:
			return "a message is too large"
		}
		for j, tick := range b.TickUs {
			d := b.Device[j]
			rows++
			if tick < complete || tick <= ticks[d] {
				return fmt.Sprintf("row %d of message %d at %d: complete was declared up to %d, the row before is at %d", j, i, tick, complete, ticks[d])
			}
			ticks[d] = tick
			if b.EnergyTsUs[j] != wire.AbsentTime {
				if at, ok := energyAt[d]; ok && at < complete {
					return fmt.Sprintf("energy from %d on is settled after complete was declared up to %d", at, complete)
				}
				energyAt[d] = tick
			}
			for c, col := range wire.Counters(b) {
				if len(*col) == 0 || (*col)[j] == record.AbsentCounter {
					continue
				}
				k := [2]int{int(d), c}
				if (*col)[j] < counters[k] {
					return fmt.Sprintf("counter %s falls", record.Counters[c].Name)
				}
				counters[k] = (*col)[j]
			}
		}
		complete = b.CompleteUpToUs
	}
	if rows != s.Samples || uint64(len(batches)) != s.Messages {
		return fmt.Sprintf("%d samples in %d messages, the summary says %d in %d", rows, len(batches), s.Samples, s.Messages)
	}
	for i, g := range s.GPUs {
		if e := counters[[2]int{i, record.CEnergy}]; g.PowerRows > 0 && g.EqualTimes.Count == 0 && e != uint64(g.Energy) {
			return fmt.Sprintf("the counter of %s ends at %d, the summary says %d", g.UUID, e, g.Energy)
		}
		if g.Last > unit.Micros(complete) {
			return "the run ends without being complete up to its last row"
		}
	}
	return ""
}

// Each case is a story, a log and what it comes to, to be read by whoever has to believe it.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/cases/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			part := map[string]string{}
			for _, f := range a.Files {
				part[f.Name] = string(f.Data)
			}
			o, log := somewhere(), part["log.csv"]
			for _, opt := range strings.Fields(part["options"]) {
				switch k, v, _ := strings.Cut(opt, "="); k {
				case "timezone":
					o.Timezone, err = time.LoadLocation(v)
				case "max_gap":
					o.MaxGap, err = time.ParseDuration(v)
				case "power":
					o.Power = v
				case "as":
					o.Model = v
				case "chop":
					log = strings.TrimSuffix(log, "\n")
				default:
					t.Fatalf("option %q", opt)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			s, batches, bad := replayed(t, log, o)
			got := told(s, batches, bad)
			if *update {
				a.Files = append(slicesWithout(a.Files, "want"), txtar.File{Name: "want", Data: []byte(got)})
				if err := os.WriteFile(file, txtar.Format(a), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if want := part["want"]; got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func slicesWithout(files []txtar.File, name string) []txtar.File {
	var out []txtar.File
	for _, f := range files {
		if f.Name != name {
			out = append(out, f)
		}
	}
	return out
}

// told is a replay in words.
func told(s *Summary, batches []*wl.SampleBatch, bad []*BadRow) string {
	var b strings.Builder
	fmt.Fprintf(&b, "period %d ms, gap over %d ms, %d samples, %d bad rows\n", s.PeriodMS, s.MaxGapUS/1000, s.Samples, s.BadRows)
	for _, g := range s.GPUs {
		uuid := g.UUID
		if strings.HasPrefix(uuid, "smilog-") {
			uuid = "smilog-HASH"
		}
		fmt.Fprintf(&b, "%s: %d rows, %d with power, %s to %s\n", uuid, g.Rows, g.PowerRows, iso(g.First), iso(g.Last))
		fmt.Fprintf(&b, "  %d mJ (%s µJ), mean %d mW, peak %d mW, coverage %d ppm, %d gaps\n", g.Energy, g.EnergyMicrojoules, g.Mean, g.Peak, g.CoveragePPM, g.Gaps)
		fmt.Fprintf(&b, "  %q, limit %d mW from %s\n", g.Model, g.Limit, g.LimitFrom)
		for _, n := range []struct {
			name string
			Note
		}{{"equal times", g.EqualTimes}, {"times back", g.TimesBack}, {"doubled hour", g.DoubledHour}, {"in winter time", g.InWinterTime}} {
			if n.Count > 0 {
				fmt.Fprintf(&b, "  %s: %d, first on line %d\n", n.name, n.Count, n.FirstLine)
			}
		}
	}
	for _, x := range batches {
		fmt.Fprintf(&b, "columns:")
		for i, c := range wire.Counters(x) {
			if len(*c) > 0 {
				fmt.Fprintf(&b, " %s", record.Counters[i].Name)
			}
		}
		for i, c := range wire.Gauges(x) {
			if len(*c) > 0 {
				fmt.Fprintf(&b, " %s", record.Gauges[i].Name)
			}
		}
		for i, c := range wire.Codes(x) {
			if len(*c) > 0 {
				fmt.Fprintf(&b, " %s", record.Codes[i].Name)
			}
		}
		fmt.Fprintf(&b, "\n")
		for j, tick := range x.TickUs {
			fmt.Fprintf(&b, "sample %s device %d", unit.Micros(tick).Time().Format("15:04:05.000"), x.Device[j])
			if x.EnergyTsUs[j] != wire.AbsentTime {
				fmt.Fprintf(&b, " energy %d mJ", x.EnergyMj[j])
			}
			if len(x.GpuUtilUs) > 0 && x.GpuUtilUs[j] != record.AbsentCounter {
				fmt.Fprintf(&b, " busy %d µs", x.GpuUtilUs[j])
			}
			fmt.Fprintf(&b, " ticks %d/%d\n", x.TicksRead[j], x.TicksExpected[j])
		}
	}
	for _, x := range bad {
		fmt.Fprintf(&b, "%s: %v\n", x.Reason, x)
	}
	return b.String()
}
