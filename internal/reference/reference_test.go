package reference

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// inner is a section.
type inner struct {
	// Every is how often.
	// It is long.
	Every time.Duration `yaml:"every"`
	// From and To bound it.
	From int `yaml:"from"`
	To   int `yaml:"to"`
	Not  int `yaml:"-"`
}

type outer struct {
	In inner `yaml:"in"`
	// Names are several.
	Names []string `yaml:"names"`
	// Parts are structs.
	Parts []part `yaml:"parts"`
}

type part struct {
	// Of is what it is of.
	Of string `yaml:"of"`
}

type mute struct {
	Word string `yaml:"word"`
}

func TestKeys(t *testing.T) {
	s := &Source{Module: "github.com/wattledger/wattledger", Root: "../.."}
	got, err := s.Keys(outer{In: inner{Every: time.Second, From: 3}, Names: []string{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	want := []Key{
		{"in.every", "Every is how often. It is long.", "1s"},
		{"in.from", "From and To bound it.", "3"},
		{"in.to", "From and To bound it.", "0"},
		{"names", "Names are several.", "[a]"},
		{"parts", "Parts are structs.", "[]"},
		{"parts[].of", "Of is what it is of.", ""},
	}
	if len(got) != len(want) {
		t.Fatalf("keys are %+v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("key %d is %+v, want %+v", i, got[i], want[i])
		}
	}
	if _, err := s.Keys(mute{}); err == nil || !strings.Contains(err.Error(), "word") {
		t.Errorf("a key without a comment gives %v", err)
	}
}

func TestMetrics(t *testing.T) {
	r := NewRecorder()
	r.MustRegister(prometheus.NewCounterVec(prometheus.CounterOpts{Name: "b_total", Help: `Says "b".`, ConstLabels: prometheus.Labels{"site": `a"}`}}, []string{"node", "reason"}))
	r.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "a", Help: "Is a."}))
	got := r.Metrics()
	if len(got) != 2 || got[0].Name != "a" || got[1].Help != `Says "b".` || strings.Join(got[1].Labels, " ") != "site node reason" {
		t.Errorf("metrics are %+v", got)
	}
}
