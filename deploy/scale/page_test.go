package scale_test

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/wattledger/wattledger/ingest"
	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/schemas/clickhouse"
)

//go:generate go test -run TestScalePageIsCurrent -count 1 . -update

var update = flag.Bool("update", false, "write docs/scale.md")

const (
	page = "../../docs/scale.md"
	file = "../../docs/scale.yaml"
)

// figure is one line of docs/scale.yaml.
type figure struct {
	Value   float64 `yaml:"value"`
	Unit    string  `yaml:"unit"`
	What    string  `yaml:"what"`
	Command string  `yaml:"command"`
}

type figures struct {
	Measured map[string]figure `yaml:"measured"`
	Chosen   map[string]figure `yaml:"chosen"`
	// In the order of the file.
	measured, chosen []string
}

func read(t *testing.T) figures {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var f figures
	if err := yaml.UnmarshalWithOptions(text, &f, yaml.Strict()); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	var order struct {
		Measured yaml.MapSlice `yaml:"measured"`
		Chosen   yaml.MapSlice `yaml:"chosen"`
	}
	if err := yaml.Unmarshal(text, &order); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	keys := func(of yaml.MapSlice, all map[string]figure, commands bool) (out []string) {
		for _, item := range of {
			name := fmt.Sprint(item.Key)
			if v := all[name]; v.Value <= 0 || v.Unit == "" || v.What == "" || (v.Command != "") != commands {
				t.Errorf("%s: %s needs a value above 0, a unit, what it is, and where it is measured the command", file, name)
			}
			out = append(out, name)
		}
		return out
	}
	f.measured, f.chosen = keys(order.Measured, f.Measured, true), keys(order.Chosen, f.Chosen, false)
	return f
}

var fleets = []float64{18_000, 100_000, 1_000_000}

func TestScalePageIsCurrent(t *testing.T) {
	f := read(t)
	there, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	want := there
	for name, table := range map[string]string{"measured": f.inputs(f.measured, f.Measured), "chosen": f.inputs(f.chosen, f.Chosen), "plan": f.plans(), "days": f.days()} {
		mark := regexp.MustCompile(`(?s)(<!-- ` + name + `: from scale.yaml -->\n).*?(<!-- end -->)`)
		if len(mark.FindAll(want, -1)) != 1 {
			t.Fatalf("%s has no single place for the table %s", page, name)
		}
		want = mark.ReplaceAll(want, []byte("${1}"+strings.ReplaceAll(table, "$", "$$")+"${2}"))
	}
	if *update {
		if err := process.WriteFile(page, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(there, want) {
		t.Errorf("%s does not say what follows from %s; make generate rebuilds it", page, file)
	}
}

// What the page calls shipped is what is shipped.
func TestWhatIsChosenIsTheDefault(t *testing.T) {
	f := read(t)
	if want := ingest.DefaultConfig().Batch.BatchAge.Seconds(); f.Chosen["batch_age_min"].Value != want {
		t.Errorf("%s: batch_age_min is %g, the shipped batch_age %g", file, f.Chosen["batch_age_min"].Value, want)
	}
	migrations, err := clickhouse.Render(clickhouse.Flavour{})
	if err != nil {
		t.Fatal(err)
	}
	text, err := fs.ReadFile(migrations, "00001_samples.sql")
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("TTL toDateTime(received) + INTERVAL %g DAY", f.Chosen["raw_days"].Value); !strings.Contains(string(text), want) {
		t.Errorf("%s: raw_days is %g, which is not the TTL of samples", file, f.Chosen["raw_days"].Value)
	}
}

func (f figures) inputs(order []string, all map[string]figure) string {
	var b strings.Builder
	for _, name := range order {
		v := all[name]
		if v.Command == "" {
			fmt.Fprintf(&b, "| `%s` | %s %s | %s |\n", name, number(v.Value), v.Unit, v.What)
		} else {
			fmt.Fprintf(&b, "| `%s` | %s %s | %s | `%s` |\n", name, number(v.Value), v.Unit, v.What, v.Command)
		}
	}
	head := "| name | value | why |\n| --- | --- | --- |\n"
	if all[order[0]].Command != "" {
		head = "| name | value | what | command |\n| --- | --- | --- | --- |\n"
	}
	return head + b.String()
}

func (f figures) plans() string {
	var plans []plan
	head, rule := "| GPUs at 1 Hz", "| ---"
	for _, gpus := range fleets {
		plans = append(plans, f.plan(gpus))
		head, rule = head+" | "+number(gpus), rule+" | ---:"
	}
	var b strings.Builder
	b.WriteString(head + " |\n" + rule + " |\n")
	for _, line := range []struct {
		what  string
		value func(plan) float64
	}{
		{"rows a second", func(p plan) float64 { return p.rows }},
		{"**Kafka**: partitions of `wl.sample.v1`", func(p plan) float64 { return p.partitions }},
		{"brokers", func(p plan) float64 { return p.brokers }},
		{"disk of all brokers, TB", func(p plan) float64 { return p.kafkaTB }},
		{"**ingest**: cores busy", func(p plan) float64 { return p.ingestCores }},
		{"ingesters", func(p plan) float64 { return p.ingesters }},
		{"`batch_age`, seconds", func(p plan) float64 { return p.batchAge }},
		{"`batch_rows`, more than", func(p plan) float64 { return math.Round(p.batchRows) }},
		{"**ClickHouse**: cores busy with inserts and merges, each copy", func(p plan) float64 { return p.engineCores }},
		{"samples a day, TB, one copy", func(p plan) float64 { return p.rawTBPerDay }},
		{"samples kept, TB, one copy", func(p plan) float64 { return p.rawTB }},
		{"shards", func(p plan) float64 { return p.shards }},
		{"servers", func(p plan) float64 { return p.servers }},
		{"**network**, MB/s: collectors to Kafka", func(p plan) float64 { return p.toKafka }},
		{"broker to broker", func(p plan) float64 { return p.betweenKafka }},
		{"Kafka to ingest", func(p plan) float64 { return p.toIngest }},
		{"ingest to ClickHouse", func(p plan) float64 { return p.toClickHouse }},
		{"shard to shard", func(p plan) float64 { return p.betweenShards }},
		{"replica to replica", func(p plan) float64 { return p.toReplicas }},
	} {
		b.WriteString("| " + line.what)
		for _, p := range plans {
			b.WriteString(" | " + number(line.value(p)))
		}
		b.WriteString(" |\n")
	}
	return b.String()
}

// days is what keeping raw samples for shorter buys.
func (f figures) days() string {
	head, rule := "| `samples` kept, days", "| ---:"
	for _, gpus := range fleets {
		head, rule = head+" | "+number(gpus)+" GPUs: TB, shards", rule+" | ---:"
	}
	var b strings.Builder
	b.WriteString(head + " |\n" + rule + " |\n")
	for _, days := range []float64{30, 90, f.Chosen["raw_days"].Value} {
		b.WriteString("| " + number(days))
		for _, gpus := range fleets {
			p := f.plan(gpus)
			b.WriteString(" | " + number(p.rawTBPerDay*days) + ", " + number(f.shards(p.rawTBPerDay*days, p.engineCores)))
		}
		b.WriteString(" |\n")
	}
	return b.String()
}

// number is v with three digits that count, and commas between thousands.
func number(v float64) string {
	if v != math.Trunc(v) {
		if v < 100 {
			v, _ = strconv.ParseFloat(strconv.FormatFloat(v, 'g', 3, 64), 64)
			return strconv.FormatFloat(v, 'f', -1, 64)
		}
		v = math.Round(v)
	}
	s := strconv.FormatFloat(v, 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
