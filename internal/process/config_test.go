package process

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

type section struct {
	Brokers []string      `yaml:"brokers"`
	Wait    time.Duration `yaml:"wait"`
	Rows    int           `yaml:"batch_rows"`
	Deep    struct {
		On bool `yaml:"on"`
	} `yaml:"deep"`
}

func (s section) Validate() error {
	var faults []error
	if s.Rows <= 0 {
		faults = append(faults, errors.New("batch_rows: must be above zero"))
	}
	if s.Wait <= 0 {
		faults = append(faults, errors.New("wait: must be above zero"))
	}
	return errors.Join(faults...)
}

type item struct {
	Name string `yaml:"name"`
}

type testConfig struct {
	Kafka  section           `yaml:"kafka"`
	Name   string            `yaml:"name"`
	Items  []item            `yaml:"items"`
	Labels map[string]string `yaml:"labels"`
	Hidden int               `yaml:"-"`
}

func defaults() testConfig {
	return testConfig{Kafka: section{Brokers: []string{"default:1"}, Wait: time.Second, Rows: 10}, Name: "default", Items: []item{{"a"}}}
}

func load(t *testing.T, file string, environ []string, flags ...string) (testConfig, error) {
	t.Helper()
	f := Flags{Set: flags}
	if file != "" {
		f.Config = filepath.Join(t.TempDir(), "wl.yaml")
		if err := os.WriteFile(f.Config, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg := defaults()
	err := NewEnv(f, io.Discard, io.Discard, environ).Load(&cfg)
	return cfg, err
}

func TestLayersOfConfiguration(t *testing.T) {
	file := "kafka:\n  brokers: [file:1, file:2]\n  wait: 2s\nname: file\nitems:\n  - name: x\nlabels: {a: b}\n"
	cfg, err := load(t, file, nil)
	if err != nil || cfg.Kafka.Wait != 2*time.Second || cfg.Kafka.Rows != 10 || cfg.Name != "file" || len(cfg.Items) != 1 || cfg.Items[0].Name != "x" || cfg.Labels["a"] != "b" {
		t.Errorf("file over defaults: %+v, %v", cfg, err)
	}
	environ := []string{"PATH=/bin", "WATTLEDGER_KAFKA_WAIT=3s", "WATTLEDGER_NAME=007", "WATTLEDGER_KAFKA_DEEP_ON=true", "WATTLEDGER_DATA=elsewhere", "WATTLEDGER_KAFKA_BROKERS=e:1, e:2"}
	cfg, err = load(t, file, environ)
	if err != nil || cfg.Kafka.Wait != 3*time.Second || cfg.Name != "007" || !cfg.Kafka.Deep.On || !slices.Equal(cfg.Kafka.Brokers, []string{"e:1", "e:2"}) {
		t.Errorf("environment over file: %+v, %v", cfg, err)
	}
	cfg, err = load(t, file, environ, "kafka.wait=4s", "kafka.brokers=[f:1]", "name=a=b")
	if err != nil || cfg.Kafka.Wait != 4*time.Second || !slices.Equal(cfg.Kafka.Brokers, []string{"f:1"}) || cfg.Name != "a=b" {
		t.Errorf("flags over environment: %+v, %v", cfg, err)
	}
	if cfg, err = load(t, "# nothing but a comment\n", nil); err != nil || cfg.Name != "default" {
		t.Errorf("an empty file changes something: %+v, %v", cfg, err)
	}
}

func TestFaultsAreNamedWithPlaceAndRemedy(t *testing.T) {
	f := func(file string, environ, flags []string, wants ...string) {
		t.Helper()
		_, err := load(t, file, environ, flags...)
		if err == nil || ExitCode(err) != ExitUsage {
			t.Fatalf("got %v, want an error of usage", err)
		}
		for _, want := range wants {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q is missing in:\n%v", want, err)
			}
		}
	}
	f("kafka:\n  brokres: [a]\nnmae: x\n", nil, nil, `wl.yaml:2:3: unknown key "kafka.brokres"; did you mean "kafka.brokers"?`, `wl.yaml:3:1: unknown key "nmae"; did you mean "name"?`)
	f("items:\n  - name: a\n    nam: b\n", nil, nil, `wl.yaml:3:5: unknown key "items[0].nam"`)
	f("kafka:\n  wait: soon\n", nil, nil, "wl.yaml:2:9:")
	f("kafka: [1, 2]\n", nil, nil, "wl.yaml:1:8:")
	f("kafka:\n  wait: 1s\n  wait: 2s\n", nil, nil, "wl.yaml:3:3:")
	f("name: \"open\n", nil, nil, "wl.yaml:1:7:")
	f("name: a\n---\nname: b\n", nil, nil, "wl.yaml:3:", "second YAML document")
	f("Hidden: 1\n", nil, nil, "unknown key")
	f("", []string{"WATTLEDGER_KAFKA_WIAT=1s"}, nil, "WATTLEDGER_KAFKA_WIAT", "WATTLEDGER_KAFKA_WAIT")
	f("", []string{"WATTLEDGER_KAFKA_WAIT=soon"}, nil, "WATTLEDGER_KAFKA_WAIT", "soon")
	f("", nil, []string{"kafka.batch_row=1"}, "--set kafka.batch_row=1", `"kafka.batch_rows"`)
	f("", nil, []string{"kafka.batch_rows=many"}, "--set kafka.batch_rows=many")
	// Everything that is wrong, at once.
	f("kafka:\n  batch_rows: 0\n  wait: 0s\n", nil, nil, "2 faults", "kafka: batch_rows: must be above zero", "kafka: wait: must be above zero")
	f("kafka:\n  batch_rows: 0\n", nil, nil, "configuration: kafka: batch_rows: must be above zero")
	if _, err := load(t, "", []string{"WATTLEDGER_KAFKA_WAIT=-1s"}); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("one fault is one line: %v", err)
	}
}

func TestOverride(t *testing.T) {
	e := NewEnv(Flags{}, io.Discard, io.Discard, nil)
	e.Override("name", "--name", "")
	cfg := defaults()
	if err := e.Load(&cfg); err != nil || cfg.Name != "default" {
		t.Errorf("a flag that was not given counts: %v, %v", cfg.Name, err)
	}
	e.Override("name", "--name", "flag")
	if err := e.Load(&cfg); err != nil || cfg.Name != "flag" {
		t.Errorf("name = %q, %v", cfg.Name, err)
	}
	if err := e.Load(cfg); err == nil {
		t.Error("a struct by value was accepted")
	}
	if got := Keys(&cfg); !slices.Equal(got, []string{"kafka.brokers", "kafka.wait", "kafka.batch_rows", "kafka.deep.on", "name", "items", "labels"}) {
		t.Errorf("keys are %v", got)
	}
}

func TestMissingFile(t *testing.T) {
	cfg := defaults()
	err := NewEnv(Flags{Config: "absent.yaml"}, io.Discard, io.Discard, nil).Load(&cfg)
	if err == nil || !strings.Contains(err.Error(), "absent.yaml") || ExitCode(err) != ExitUsage {
		t.Errorf("got %v", err)
	}
}

func TestDistanceIsAMetric(t *testing.T) {
	word := rapid.StringMatching(`[a-d]{0,6}`)
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := word.Draw(t, "a"), word.Draw(t, "b"), word.Draw(t, "c")
		if (distance(a, b) == 0) != (a == b) || distance(a, b) != distance(b, a) || distance(a, c) > distance(a, b)+distance(b, c) {
			t.Fatalf("distance(%q, %q) = %d", a, b, distance(a, b))
		}
	})
}

func FuzzDecodeYAML(f *testing.F) {
	f.Add("kafka:\n  brokers: [a]\n")
	f.Add("a: &x 1\nb: *x\n<<: {c: d}\n")
	f.Add("? [complex]\n: key\n")
	f.Add("- 1\n-")
	f.Add("\x00\xff: {")
	f.Fuzz(func(t *testing.T, text string) {
		cfg := defaults()
		if err := DecodeYAML("fuzz.yaml", []byte(text), &cfg); err != nil && !strings.HasPrefix(err.Error(), "fuzz.yaml") {
			t.Errorf("the file is not named: %v", err)
		}
	})
}

func TestDefaultsOfOthersLoseToOurOwn(t *testing.T) {
	f := func(file string, want string) {
		t.Helper()
		flags := Flags{}
		if file != "" {
			flags.Config = filepath.Join(t.TempDir(), "wl.yaml")
			if err := os.WriteFile(flags.Config, []byte(file), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		env := NewEnv(flags, io.Discard, io.Discard, nil)
		env.Default("name", "OTHER_NAME", "other")
		cfg := defaults()
		if err := env.Load(&cfg); err != nil || cfg.Name != want {
			t.Errorf("with file %q the name is %q, %v; want %q", file, cfg.Name, err, want)
		}
	}
	f("", "other")
	f("name: file\n", "file")
	env := NewEnv(Flags{}, io.Discard, io.Discard, nil)
	env.Default("nam", "OTHER_NAME", "x")
	cfg := defaults()
	if err := env.Load(&cfg); err == nil || !strings.Contains(err.Error(), "OTHER_NAME") {
		t.Errorf("a default of an unknown key gives %v", err)
	}
}
