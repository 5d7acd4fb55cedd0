package workload

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/wattledger/wattledger/schemas/record"
)

// Rule gives names to the holds that match it. Rules are tried in order, and each name is taken from the first rule that
// matches and gives it: a rule for a team may name the project, and a later one for the namespace the tenant.
type Rule struct {
	// Match names attributes and what each must look like: a glob (bank-*, where * is any text and ? any character) or, between
	// slashes, a regular expression of the whole value (/team-[0-9]+/). All must match; an attribute that a hold lacks
	// matches nothing, not even *. A rule without any match is for every hold.
	Match map[string]string `yaml:"match"`
	// Set are the names. {attribute} stands for an attribute's value ({namespace}, {label.team}). A text with an attribute
	// that the hold lacks, or that is empty, gives nothing, and a later rule may.
	Set Names `yaml:"set"`
}

// Rules are compiled rules.
type Rules struct{ rules []rule }

type rule struct {
	match []pattern
	set   [nameCount]template
}

type pattern struct {
	attribute string
	value     *regexp.Regexp
}

// template is text and attributes in turn: text, attribute, text, …, text.
type template []string

const nameCount = 5

// nameKeys are the keys of Names in the order of each.
var nameKeys = [nameCount]string{"tenant", "project", "workload", "model_id", "purpose"}

func (n *Names) each() [nameCount]*string {
	return [nameCount]*string{&n.Tenant, &n.Project, &n.Workload, &n.ModelID, &n.Purpose}
}

// attributes are those a source may give, besides label.X.
var attributes = []string{
	"source", "ref", "namespace", "pod", "container", "claim", "job", "job_uid", "account", "user", "partition", "job_name", "comment", "cluster",
}

// CompileRules reads rules and reports every fault at once.
func CompileRules(in []Rule) (Rules, error) {
	var out Rules
	var faults []error
	bad := func(i int, format string, args ...any) {
		faults = append(faults, fmt.Errorf("rules[%d]: "+format, append([]any{i}, args...)...))
	}
	for i, r := range in {
		var c rule
		for _, attribute := range slices.Sorted(maps.Keys(r.Match)) {
			if err := knownAttribute(attribute); err != nil {
				bad(i, "match: %w", err)
			}
			value, err := compilePattern(r.Match[attribute])
			if err != nil {
				bad(i, "match: %s: %w", attribute, err)
				continue
			}
			c.match = append(c.match, pattern{attribute, value})
		}
		given := 0
		for n, text := range r.Set.each() {
			t, err := compileTemplate(*text)
			if err != nil {
				bad(i, "set: %s: %w", nameKeys[n], err)
				continue
			}
			if nameKeys[n] == "purpose" && len(t) == 1 && !slices.Contains(record.Purposes, t[0]) {
				bad(i, "set: purpose is %q; write one of %s, or an attribute in braces", *text, strings.Join(record.Purposes, ", "))
			}
			if t != nil {
				given++
			}
			c.set[n] = t
		}
		if given == 0 && r.Set == (Names{}) {
			bad(i, "set: empty; name at least one of %s", strings.Join(nameKeys[:], ", "))
		}
		out.rules = append(out.rules, c)
	}
	return out, errors.Join(faults...)
}

func knownAttribute(name string) error {
	if label, ok := strings.CutPrefix(name, "label."); ok && label != "" {
		return nil
	}
	if slices.Contains(attributes, name) {
		return nil
	}
	return fmt.Errorf("attribute %q is unknown; the attributes are %s and label.NAME", name, strings.Join(attributes, ", "))
}

func compilePattern(text string) (*regexp.Regexp, error) {
	if len(text) >= 2 && text[0] == '/' && text[len(text)-1] == '/' {
		re, err := regexp.Compile(`\A(?:` + text[1:len(text)-1] + `)\z`)
		if err != nil {
			return nil, fmt.Errorf("%q is not a regular expression: %w", text, err)
		}
		return re, nil
	}
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	for _, r := range text {
		switch r {
		case '*':
			b.WriteString(".*")
		case '?':
			b.WriteString(".")
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	b.WriteString(`\z`)
	re, err := regexp.Compile(b.String())
	if err != nil {
		return nil, fmt.Errorf("%q is not a glob: %w", text, err) // not UTF-8
	}
	return re, nil
}

// compileTemplate is nil for an empty text.
func compileTemplate(text string) (template, error) {
	if text == "" {
		return nil, nil
	}
	var t template
	rest := text
	for {
		before, after, open := strings.Cut(rest, "{")
		if strings.Contains(before, "}") {
			return nil, fmt.Errorf("%q has a } without a { before it", text)
		}
		t = append(t, before)
		if !open {
			return t, nil
		}
		name, tail, closed := strings.Cut(after, "}")
		if !closed {
			return nil, fmt.Errorf("%q has a { without a } after it", text)
		}
		if err := knownAttribute(name); err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
		t = append(t, name)
		rest = tail
	}
}

// Name gives a hold its names; those it has already stay. A purpose that came from an attribute and is none of
// record.Purposes is left out and returned.
func (r Rules) Name(attributes map[string]string, names Names) (_ Names, badPurpose string) {
	for _, c := range r.rules {
		if !c.matches(attributes) {
			continue
		}
		for i, to := range names.each() {
			if *to != "" || c.set[i] == nil {
				continue
			}
			value := c.set[i].expand(attributes)
			if nameKeys[i] == "purpose" && value != "" && !slices.Contains(record.Purposes, value) {
				badPurpose, value = value, ""
			}
			*to = value
		}
	}
	if names.Purpose != "" {
		badPurpose = ""
	}
	return names, badPurpose
}

func (c rule) matches(attributes map[string]string) bool {
	for _, p := range c.match {
		value, ok := attributes[p.attribute]
		if !ok || !p.value.MatchString(value) {
			return false
		}
	}
	return true
}

// expand is empty when an attribute is missing or empty.
func (t template) expand(attributes map[string]string) string {
	if len(t) == 1 {
		return t[0]
	}
	var b strings.Builder
	for i, part := range t {
		if i%2 == 1 {
			if part = attributes[part]; part == "" {
				return ""
			}
		}
		b.WriteString(part)
	}
	return b.String()
}
