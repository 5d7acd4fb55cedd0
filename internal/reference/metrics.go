package reference

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// Metric is one metric family.
type Metric struct {
	Name, Help string
	Labels     []string
}

// Recorder is a registry that remembers what is registered with it, also what has no series yet.
type Recorder struct {
	*prometheus.Registry
	found map[string]Metric
}

// NewRecorder is an empty one.
func NewRecorder() *Recorder {
	return &Recorder{prometheus.NewRegistry(), map[string]Metric{}}
}

// desc takes apart what a Desc says of itself; it has no other way to be asked.
var desc = regexp.MustCompile(`fqName: "([^"]*)", help: "((?:[^"\\]|\\.)*)".*, constLabels: \{(.*)\}, variableLabels: \{([^}]*)\}`)

// constant finds the names of labels that have one value.
var constant = regexp.MustCompile(`([A-Za-z_][A-Za-z0-9_]*)="(?:[^"\\]|\\.)*"`)

// Register is prometheus.Registerer.
func (r *Recorder) Register(c prometheus.Collector) error {
	descs := make(chan *prometheus.Desc)
	go func() {
		c.Describe(descs)
		close(descs)
	}()
	for d := range descs {
		m := desc.FindStringSubmatch(d.String())
		if m == nil {
			return fmt.Errorf("a metric describes itself as %s", d)
		}
		var labels []string
		for _, l := range constant.FindAllStringSubmatch(m[3], -1) {
			labels = append(labels, l[1])
		}
		if m[4] != "" {
			labels = append(labels, strings.Split(m[4], ",")...)
		}
		r.found[m[1]] = Metric{m[1], strings.ReplaceAll(m[2], `\"`, `"`), labels}
	}
	return r.Registry.Register(c)
}

// MustRegister is prometheus.Registerer.
func (r *Recorder) MustRegister(cs ...prometheus.Collector) {
	for _, c := range cs {
		if err := r.Register(c); err != nil {
			panic(err) // as the interface says
		}
	}
}

// Metrics lists what was registered, by name.
func (r *Recorder) Metrics() []Metric {
	out := make([]Metric, 0, len(r.found))
	for _, m := range r.found {
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b Metric) int { return cmp.Compare(a.Name, b.Name) })
	return out
}
