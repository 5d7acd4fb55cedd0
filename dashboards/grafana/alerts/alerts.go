// Package alerts has the Prometheus rules of the product: what is worth waking somebody for, and what is not.
//
// wattledger.rules.yaml is the source, for Prometheus and whatever takes its rules; prometheusrule.yaml is the same for the Prometheus
// Operator, made by make generate. Each alert has a page in docs/runbooks. The tests hold that every metric and label of a rule is one
// that the code has, that each alert fires and stays quiet where it should (testdata/cases.yaml, run by promtool), and that a rule
// which is loosened fails a case.
package alerts

import (
	"bytes"
	_ "embed" // the rules
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
)

// Rules is the file of rules, as Prometheus reads it.
//
//go:embed wattledger.rules.yaml
var Rules []byte

// File is a file of rules.
type File struct {
	Groups []Group `yaml:"groups"`
}

// Group is rules that are evaluated together, in order.
type Group struct {
	Name     string `yaml:"name"`
	Interval string `yaml:"interval,omitempty"`
	Rules    []Rule `yaml:"rules"`
}

// Rule records a series, or alerts.
type Rule struct {
	Record      string            `yaml:"record,omitempty"`
	Alert       string            `yaml:"alert,omitempty"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for,omitempty"`
	Labels      map[string]string `yaml:"labels,omitempty"`
	Annotations map[string]string `yaml:"annotations,omitempty"`
}

// Parse reads a file of rules. A key that Prometheus does not know, or that we do not use, is an error.
func Parse(text []byte) (File, error) {
	var f File
	if err := yaml.UnmarshalWithOptions(text, &f, yaml.Strict()); err != nil {
		return f, fmt.Errorf("read rules: %w", err)
	}
	return f, nil
}

// Alerts are the rules that alert, in order.
func (f File) Alerts() []Rule {
	var out []Rule
	for _, g := range f.Groups {
		for _, r := range g.Rules {
			if r.Alert != "" {
				out = append(out, r)
			}
		}
	}
	return out
}

// PrometheusRule wraps rules as the Prometheus Operator takes them (monitoring.coreos.com/v1), comments and all.
func PrometheusRule(rules []byte) []byte {
	var b bytes.Buffer
	b.WriteString(`# Generated from wattledger.rules.yaml by make generate (alerts_test.go). Do not edit.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: wattledger
  labels:
    app.kubernetes.io/name: wattledger
spec:
`)
	for line := range strings.SplitSeq(strings.TrimRight(string(rules), "\n"), "\n") {
		if line != "" {
			b.WriteString("  " + line)
		}
		b.WriteString("\n")
	}
	return b.Bytes()
}
