// Command prometheusrule holds a file against the Prometheus Operator's own type PrometheusRule (monitoring.coreos.com/v1): a field that
// it does not have is an error, and so is a rule without an expression. It lives beside promtool, so that the operator's module never
// moves the product's dependencies.
package main

import (
	"fmt"
	"os"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"sigs.k8s.io/yaml"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "prometheusrule:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("name one file")
	}
	text, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	var r monitoring.PrometheusRule
	if err := yaml.UnmarshalStrict(text, &r); err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	if r.APIVersion != "monitoring.coreos.com/v1" || r.Kind != monitoring.PrometheusRuleKind {
		return fmt.Errorf("%s is a %s %s", args[0], r.APIVersion, r.Kind)
	}
	n := 0
	for _, g := range r.Spec.Groups {
		for _, rule := range g.Rules {
			n++
			if rule.Expr.String() == "" || (rule.Alert == "") == (rule.Record == "") {
				return fmt.Errorf("%s: rule %d of group %s has no expression, or is not either an alert or a record", args[0], n, g.Name)
			}
		}
	}
	fmt.Printf("%s: %d rules as the Prometheus Operator takes them\n", args[0], n)
	return nil
}
