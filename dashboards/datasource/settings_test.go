package datasource_test

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/wattledger/wattledger/dashboards/datasource/pkg/settings"
)

var (
	tsInterface = regexp.MustCompile(`(?s)export interface (\w+)[^{]*\{(.*?)\n\}`)
	tsField     = regexp.MustCompile(`(?m)^  (\w+)\??: ([^;]+);`)
)

// Both sides of the data source name the same settings: what the browser stores is what the backend reads, and nothing is left out.
func TestTheBrowserAndTheBackendHaveTheSameSettings(t *testing.T) {
	source, err := os.ReadFile("src/settings.ts")
	if err != nil {
		t.Fatal(err)
	}
	browser := map[string]map[string]string{}
	for _, m := range tsInterface.FindAllStringSubmatch(string(source), -1) {
		fields := map[string]string{}
		for _, f := range tsField.FindAllStringSubmatch(m[2], -1) {
			fields[f[1]] = f[2]
		}
		browser[m[1]] = fields
	}
	for name, of := range map[string]reflect.Type{
		"Settings": reflect.TypeFor[settings.Settings](), "Limits": reflect.TypeFor[settings.Limits](),
		"Verification": reflect.TypeFor[settings.Verification](), "Line": reflect.TypeFor[settings.Line](),
	} {
		backend := map[string]string{}
		for i := range of.NumField() {
			if tag, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ","); tag != "" && tag != "-" {
				backend[tag] = kind(of.Field(i).Type)
			}
		}
		for field, want := range backend {
			got, ok := browser[name][field]
			if !ok {
				t.Errorf("the backend reads %s.%s, which the browser does not know", name, field)
			} else if want != "" && got != want {
				t.Errorf("%s.%s is %s in the backend and %s in the browser", name, field, want, got)
			}
		}
		for field := range browser[name] {
			if _, ok := backend[field]; !ok {
				t.Errorf("the browser stores %s.%s, which the backend does not read", name, field)
			}
		}
	}
}

// kind is the TypeScript of a plain type; empty for what has a type of its own there, or a narrower one.
func kind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "boolean"
	case reflect.Int:
		return "number"
	}
	return ""
}

// The secrets that the browser sends are those that the backend reads: each ends in its own place.
func TestTheBrowserAndTheBackendHaveTheSameSecrets(t *testing.T) {
	source, err := os.ReadFile("src/settings.ts")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range tsInterface.FindAllStringSubmatch(string(source), -1) {
		if m[1] == "Secrets" {
			for _, f := range tsField.FindAllStringSubmatch(m[2], -1) {
				names = append(names, f[1])
			}
		}
	}
	if len(names) == 0 {
		t.Fatal("the browser has no secrets")
	}
	secure := map[string]string{}
	for _, name := range names {
		secure[name] = "the value of " + name
	}
	s, _ := settings.Parse([]byte(`{"tls": true, "scope": "operator"}`), secure) // that they are no certificates, it says later
	var read []string
	held := reflect.ValueOf(s.Secrets)
	for i := range held.NumField() {
		if v := held.Field(i); v.Kind() == reflect.String && v.String() != "" {
			read = append(read, strings.TrimPrefix(v.String(), "the value of "))
		}
	}
	slices.Sort(names)
	slices.Sort(read)
	if !slices.Equal(names, read) {
		t.Errorf("the browser sends %v, the backend reads %v", names, read)
	}
}

// The defaults that the browser shows where nothing is set are those that the backend takes.
func TestTheBrowserShowsTheBackendsDefaults(t *testing.T) {
	source, err := os.ReadFile("src/settings.ts")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(source), "export const DEFAULTS = {")
	shown, _, _ := strings.Cut(rest, "\n}")
	shown = strings.NewReplacer("_", "", "'", "").Replace(shown)
	f := func(of any) {
		v := reflect.ValueOf(of)
		for i := range v.NumField() {
			name := v.Type().Field(i).Tag.Get("json")
			m := regexp.MustCompile(`\b` + regexp.QuoteMeta(name) + `: ([\w.]+)`).FindStringSubmatch(shown)
			if m == nil {
				continue
			}
			if got := strings.TrimSpace(m[1]); got != text(v.Field(i)) {
				t.Errorf("the browser shows %s for %s, the backend takes %s", got, name, text(v.Field(i)))
			}
		}
	}
	f(settings.Default())
	f(settings.Default().SQL)
}

func text(v reflect.Value) string {
	if v.CanInt() {
		return strconv.FormatInt(v.Int(), 10)
	}
	return v.String()
}
