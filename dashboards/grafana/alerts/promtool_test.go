package alerts

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// tool is promtool as make check-rules builds it. Its first build takes minutes, so make test goes without where it is not there.
func tool(t *testing.T) string {
	t.Helper()
	name, err := filepath.Abs("../../../.cache/promtool/promtool")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(name); err != nil {
		t.Skip("there is no promtool: make check-rules builds it, and then runs this")
	}
	return name
}

// run is what promtool says, and whether it found everything well.
func run(t *testing.T, dir string, args ...string) (string, bool) {
	t.Helper()
	c := exec.CommandContext(t.Context(), tool(t), args...)
	c.Dir = dir
	out, err := c.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), err == nil
}

func TestPromtoolChecksTheRules(t *testing.T) {
	if out, ok := run(t, ".", "check", "rules", "--lint=all", "--lint-fatal", "wattledger.rules.yaml"); !ok {
		t.Error(out)
	}
}

// Each alert by itself; make check-rules runs the files of cases as they are, with all rules together, which takes ten times as long.
func TestPromtoolRunsTheCases(t *testing.T) {
	tool(t)
	if list, out := failed(t, rules(t)); len(list) > 0 {
		t.Errorf("cases of %v do not hold:\n%s", slices.Compact(list), out)
	}
}

// threshold is the last comparison with a number, or with a factor of a number, in an expression.
var threshold = regexp.MustCompile(`(>=|<=|==|>|<)(?: on \([a-z]+\))?\s*(\d+(?:\.\d+)?)`)

// loosened is the rule with its last threshold moved: towards firing more readily, or less. Of a comparison with 0, "less" asks for
// more than two, "more" takes 0 as well.
func loosened(expr string, more bool) (string, error) {
	all := threshold.FindAllStringSubmatchIndex(expr, -1)
	if len(all) == 0 {
		return "", fmt.Errorf("no threshold in %s", expr)
	}
	m := all[len(all)-1]
	op, number := expr[m[2]:m[3]], expr[m[4]:m[5]]
	v, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return "", err
	}
	put := func(op string, v float64) string {
		return expr[:m[2]] + op + expr[m[3]:m[4]] + strconv.FormatFloat(v, 'f', -1, 64) + expr[m[5]:]
	}
	switch {
	case op == "==" && more:
		return put(">=", 0), nil
	case op == "==":
		return put("==", 7), nil
	case v == 0 && more:
		return put(">=", 0), nil
	case v == 0:
		return put(">", 2), nil
	case op[0] == '<' && more: // shares: what is missing of 1
		return put(op, 1-(1-v)/2), nil
	case op[0] == '<':
		return put(op, 1-(1-v)*2), nil
	case more:
		return put(op, v/2), nil
	}
	return put(op, v*2), nil
}

// A rule that is loosened fails a case of its alert: with its for taken away, with its threshold lower, and with it higher.
func TestLoosenedRulesAreCaught(t *testing.T) {
	tool(t)
	for name, change := range map[string]func(r *Rule) bool{
		"for taken away":      func(r *Rule) bool { had := r.For != ""; r.For = ""; return had },
		"fires more readily":  func(r *Rule) bool { return r.moved(t, true) },
		"fires less readily":  func(r *Rule) bool { return r.moved(t, false) },
		"never fires":         func(r *Rule) bool { r.Expr = "(" + r.Expr + ") and on () vector(1) > 1"; return true },
		"severity is another": func(r *Rule) bool { r.Labels["severity"] = "other"; return true },
	} {
		t.Run(name, func(t *testing.T) {
			f := rules(t)
			var changed []string
			for g := range f.Groups {
				for i := range f.Groups[g].Rules {
					if r := &f.Groups[g].Rules[i]; r.Alert != "" && change(r) {
						changed = append(changed, r.Alert)
					}
				}
			}
			failing, _ := failed(t, f)
			for _, a := range changed {
				if !slices.Contains(failing, a) {
					t.Errorf("%s: no case of %s fails", name, a)
				}
			}
		})
	}
}

func (r *Rule) moved(t *testing.T, more bool) bool {
	t.Helper()
	// Nothing of these can be more or less: absence, and whether there is a limit of age.
	if strings.HasPrefix(r.Expr, "absent(") || strings.HasPrefix(r.Expr, "(site:wattledger_collectors:count offset") || strings.Contains(r.Expr, "limit_seconds > 0") && !more {
		return false
	}
	expr, err := loosened(r.Expr, more)
	if err != nil {
		t.Errorf("%s: %v", r.Alert, err)
		return false
	}
	r.Expr = expr
	return true
}

var alertname = regexp.MustCompile(`alertname=\\?"(Wattledger[A-Za-z]+)`)

// failed are the alerts of which promtool finds a case that does not hold by these rules. Each alert stands alone with what is recorded
// for it, which is a tenth of the work.
func failed(t *testing.T, f File) (list []string, out string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var recorded []Rule
	var tests []string
	all := cases(t)
	for _, g := range f.Groups {
		for _, r := range g.Rules {
			if r.Record != "" {
				recorded = append(recorded, r)
				continue
			}
			var text strings.Builder
			text.WriteString("groups:\n  - name: wattledger-recording\n    rules:\n")
			for _, n := range needed(recorded, r.Expr) {
				fmt.Fprintf(&text, "      - {record: %s, expr: %q}\n", quoted(n.Record), n.Expr)
			}
			fmt.Fprintf(&text, "      - {alert: %s, expr: %q, labels: {severity: %s}", r.Alert, r.Expr, r.Labels["severity"])
			if r.For != "" {
				fmt.Fprintf(&text, ", for: %s", r.For)
			}
			text.WriteString("}\n")
			write(r.Alert+".yaml", text.String())
			for _, slow := range []bool{false, true} {
				own := slices.DeleteFunc(slices.Clone(all), func(c Case) bool { return c.Alert != r.Alert || c.Slow != slow })
				if len(own) == 0 {
					continue
				}
				c, err := promtool(own, slow, r.Alert+".yaml")
				if err != nil {
					t.Fatal(err)
				}
				name := r.Alert + "." + fileOf(slow)
				write(name, string(c))
				tests = append(tests, name)
			}
		}
	}
	out, _ = run(t, dir, append([]string{"test", "rules"}, tests...)...)
	if n := strings.Count(out, "Processing test file"); n != len(tests) || strings.Contains(out, "parse error") {
		t.Fatalf("%d of %d files were run:\n%s", n, len(tests), out)
	}
	for _, m := range alertname.FindAllStringSubmatch(out, -1) {
		list = append(list, m[1])
	}
	return list, out
}

// needed are the recording rules that an expression reads, those that they read included.
func needed(recorded []Rule, expr string) []Rule {
	var out []Rule
	for _, r := range recorded {
		if strings.Contains(expr, r.Record) {
			out = append(append(out, needed(recorded, r.Expr)...), r)
		}
	}
	return out
}
