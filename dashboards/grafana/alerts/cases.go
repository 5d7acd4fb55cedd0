package alerts

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// Case is what an alert does over some series.
type Case struct {
	Alert string `yaml:"alert"`
	// Name says what is shown.
	Name string `yaml:"name"`
	// Series are promtool's values by series; <a1..a9> in a series stands for nine of them.
	Series yaml.MapSlice `yaml:"series"`
	// Fires are the times at which the alert fires, and labels it has then.
	Fires map[string]string `yaml:"fires"`
	// Quiet are times at which it does not.
	Quiet []string `yaml:"quiet"`
	// Slow has a value every half an hour, for alerts that need days.
	Slow bool `yaml:"slow"`
}

// ParseCases reads cases.
func ParseCases(text []byte) ([]Case, error) {
	var list []Case
	if err := yaml.UnmarshalWithOptions(text, &list, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("read cases: %w", err)
	}
	return list, nil
}

var (
	several  = regexp.MustCompile(`<([a-z]+)(\d+)\.\.[a-z]+(\d+)>`)
	oneLabel = regexp.MustCompile(`([a-z_A-Z]+)="[^"]*"`)
)

// order is that of the groups of the rules. promtool takes a group without a place for the first.
var order = []string{"wattledger-recording", "wattledger-collectors", "wattledger-fleet", "wattledger-ingest", "wattledger-ledger"}

// promtool writes cases as promtool reads them. It asks for ALERTS, which has the labels of an alert that fires: promtool's own form
// for alerts compares every annotation too, and the sentences are not what is tested.
func promtool(cases []Case, slow bool, rules string) ([]byte, error) {
	interval := "1m"
	if slow {
		interval = "30m"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Generated from testdata/cases.yaml by make generate (alerts_test.go). Do not edit.\n# promtool test rules %s\nrule_files: [%s]\nevaluation_interval: %s\n# Recording rules first, as they come first in the file. A group that is not named here would come at the same place.\ngroup_eval_order: [%s]\ntests:\n",
		fileOf(slow), rules, interval, strings.Join(order, ", "))
	for _, c := range cases {
		if c.Slow != slow {
			continue
		}
		fmt.Fprintf(&b, "  - name: %s\n    interval: %s\n    input_series:\n", quoted(c.Alert+": "+c.Name), interval)
		for _, s := range c.Series {
			for _, series := range expand(fmt.Sprint(s.Key)) {
				fmt.Fprintf(&b, "      - {series: %s, values: %s}\n", quoted(series), quoted(fmt.Sprint(s.Value)))
			}
		}
		checks, err := c.checks()
		if err != nil {
			return nil, err
		}
		b.WriteString("    promql_expr_test:\n" + strings.Join(checks, ""))
	}
	return []byte(b.String()), nil
}

func fileOf(slow bool) string {
	if slow {
		return "wattledger.slow.test.yaml"
	}
	return "wattledger.test.yaml"
}

// checks are the case's times in order.
func (c Case) checks() ([]string, error) {
	type check struct {
		at   time.Duration
		text string
	}
	var list []check
	firing := fmt.Sprintf(`ALERTS{alertname="%s",alertstate="firing"}`, c.Alert)
	add := func(at, text string) error {
		d, err := time.ParseDuration(at)
		if err != nil {
			return fmt.Errorf("case %s, %q: %w", c.Alert, c.Name, err)
		}
		list = append(list, check{d, fmt.Sprintf("      - eval_time: %s\n", at) + text})
		return nil
	}
	for _, at := range c.Quiet {
		if err := add(at, fmt.Sprintf("        expr: %s\n        exp_samples: []\n", quoted(firing))); err != nil {
			return nil, err
		}
	}
	for at, labels := range c.Fires {
		var names []string
		for _, m := range oneLabel.FindAllStringSubmatch(labels, -1) {
			names = append(names, m[1])
		}
		text := fmt.Sprintf("        expr: %s\n        exp_samples: [{labels: %s, value: 1}]\n",
			quoted("sum by ("+strings.Join(names, ", ")+") ("+firing+")"), quoted("{"+labels+"}"))
		if err := add(at, text); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(list, func(a, b check) int { return cmp.Compare(a.at, b.at) })
	var out []string
	for _, l := range list {
		out = append(out, l.text)
	}
	return out, nil
}

// expand makes the series that a range stands for.
func expand(series string) []string {
	m := several.FindStringSubmatch(series)
	if m == nil {
		return []string{series}
	}
	from, _ := strconv.Atoi(m[2]) // digits only
	to, _ := strconv.Atoi(m[3])
	var out []string
	for i := from; i <= to; i++ {
		out = append(out, several.ReplaceAllString(series, m[1]+strconv.Itoa(i)))
	}
	return out
}

func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
