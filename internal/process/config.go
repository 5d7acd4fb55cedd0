package process

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// Validator is a configuration that can say everything that is wrong with it, joined by errors.Join.
type Validator interface{ Validate() error }

// Load fills cfg, which holds the defaults, from the file named by --config, then from the environment
// (WATTLEDGER_SECTION_KEY), then from the flags (--set section.key=value and what the command gave to
// Override), each winning over the one before. Then everything is validated. All faults come back in one
// error, which is one of usage (exit code 2).
//
// A binary has one configuration struct for all its roles, so that one file and one environment serve
// them all and an unknown key is always a mistake. cfg is a pointer to it.
func (e *Env) Load(cfg any) error {
	v := reflect.ValueOf(cfg)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("load configuration into %T: a pointer to a struct is needed", cfg)
	}
	leaves, byEnv := map[string]leaf{}, map[string]leaf{}
	collectLeaves(v.Elem().Type(), "", nil, func(l leaf) {
		leaves[l.path] = l
		byEnv[EnvName(l.path)] = l
	})
	faults := apply(v.Elem(), leaves, e.defaults)
	if file := e.Flags.Config; file != "" {
		data, err := os.ReadFile(file)
		if err != nil {
			return Usage(fmt.Errorf("configuration file: %w", err))
		}
		if err := DecodeYAML(file, data, cfg); err != nil {
			return Usage(faultList("configuration", err))
		}
	}
	faults = append(faults, e.fromEnvironment(v.Elem(), byEnv)...)
	faults = append(faults, apply(v.Elem(), leaves, e.overrides)...)
	if len(faults) == 0 {
		faults = validate(v, "")
	}
	if len(faults) > 0 {
		return Usage(faultList("configuration", errors.Join(faults...)))
	}
	return nil
}

// apply sets the keys that are named, in order.
func apply(v reflect.Value, leaves map[string]leaf, list []override) (faults []error) {
	for _, o := range list {
		l, ok := leaves[o.path]
		if !ok {
			faults = append(faults, fmt.Errorf("%s: unknown key%s", o.from, suggestion(o.path, "", leaves)))
			continue
		}
		if err := set(fieldByIndex(v, l.index), o.value); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", o.from, err))
		}
	}
	return faults
}

func (e *Env) fromEnvironment(v reflect.Value, byEnv map[string]leaf) (faults []error) {
	for _, entry := range e.environ {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, EnvPrefix) || slices.Contains(reservedEnv, name) || slices.Contains(e.knownEnv, name) {
			continue
		}
		l, ok := byEnv[name]
		if !ok {
			faults = append(faults, fmt.Errorf("environment variable %s: unknown%s", name, suggestion(name, "", byEnv)))
			continue
		}
		if err := set(fieldByIndex(v, l.index), value); err != nil {
			faults = append(faults, fmt.Errorf("environment variable %s: %w", name, err))
		}
	}
	return faults
}

// Override gives one configuration value from a flag of the command; Load applies it last. An empty
// value counts as not given, so that a command can hand over all its flags.
func (e *Env) Override(path, flag, value string) {
	if value != "" {
		e.overrides = append(e.overrides, override{path: path, value: value, from: flag})
	}
}

// Default gives one configuration value that file, environment and flags win over: what another program's settings mean
// here. from names where it was found.
func (e *Env) Default(path, from, value string) {
	e.defaults = append(e.defaults, override{path: path, value: value, from: from})
}

type override struct{ path, value, from string }

// EnvPrefix begins the name of each environment variable we read.
const EnvPrefix = "WATTLEDGER_"

// EnvName is the environment variable of a configuration key: kafka.client_id is WATTLEDGER_KAFKA_CLIENT_ID.
func EnvName(path string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// Keys lists the configuration keys of a struct in its order: what --set takes and, through EnvName, the environment.
func Keys(cfg any) (paths []string) {
	t := reflect.TypeOf(cfg)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	collectLeaves(t, "", nil, func(l leaf) { paths = append(paths, l.path) })
	return paths
}

type leaf struct {
	path  string
	index []int
}

func collectLeaves(t reflect.Type, path string, index []int, f func(leaf)) {
	yamlFields(t, func(key string, field reflect.StructField, i []int) {
		at := append(slices.Clone(index), i...)
		ft := field.Type
		if ft.Kind() == reflect.Pointer {
			ft = ft.Elem()
		}
		if ft.Kind() == reflect.Struct && !opaque(ft) {
			collectLeaves(ft, path+key+".", at, f)
			return
		}
		f(leaf{path: path + key, index: at})
	})
}

// fieldByIndex is reflect's, but it makes room behind nil pointers on its way.
func fieldByIndex(v reflect.Value, index []int) reflect.Value {
	for _, i := range index {
		for v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(i)
	}
	return v
}

// set writes a value given as text. A list of strings may come with commas instead of YAML brackets.
func set(v reflect.Value, text string) error {
	switch {
	case v.Kind() == reflect.String && !opaque(v.Type()):
		v.SetString(text) // as it is: 007 and yes are strings
		return nil
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.String && !strings.HasPrefix(strings.TrimSpace(text), "["):
		list := reflect.MakeSlice(v.Type(), 0, 1)
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part != "" {
				list = reflect.Append(list, reflect.ValueOf(part).Convert(v.Type().Elem()))
			}
		}
		v.Set(list)
		return nil
	}
	fresh := reflect.New(v.Type())
	if err := yaml.UnmarshalWithOptions([]byte(text), fresh.Interface(), yaml.Strict()); err != nil {
		var y yaml.Error
		if errors.As(err, &y) {
			msg, _, _ := strings.Cut(y.GetMessage(), "\n")
			return fmt.Errorf("%q: %s", text, msg)
		}
		return fmt.Errorf("%q: %w", text, err)
	}
	v.Set(fresh.Elem())
	return nil
}

// validate asks every struct that can validate itself; such a struct speaks for all that it contains.
func validate(v reflect.Value, path string) (faults []error) {
	if v.CanAddr() && v.Addr().CanInterface() {
		if val, ok := v.Addr().Interface().(Validator); ok {
			return named(path, val.Validate())
		}
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			return validate(v.Elem(), path)
		}
	case reflect.Struct:
		yamlFields(v.Type(), func(key string, _ reflect.StructField, index []int) {
			if f, err := v.FieldByIndexErr(index); err == nil {
				faults = append(faults, validate(f, path+key+".")...)
			}
		})
	case reflect.Slice:
		for i := range v.Len() {
			faults = append(faults, validate(v.Index(i), fmt.Sprintf("%s[%d].", strings.TrimSuffix(path, "."), i))...)
		}
	}
	return faults
}

// named puts the path before each fault that was joined.
func named(path string, err error) (faults []error) {
	for _, fault := range flatten(err) {
		if path != "" {
			fault = fmt.Errorf("%s: %w", strings.TrimSuffix(path, "."), fault)
		}
		faults = append(faults, fault)
	}
	return faults
}

// flatten takes joined errors apart; one that only wraps others in a sentence stays whole.
func flatten(err error) []error {
	if err == nil {
		return nil
	}
	if j, ok := err.(interface{ Unwrap() []error }); ok && fmt.Sprintf("%T", err) == "*errors.joinError" {
		var all []error
		for _, e := range j.Unwrap() {
			all = append(all, flatten(e)...)
		}
		return all
	}
	return []error{err}
}

// faultList keeps one fault on one line and gives several a line each.
func faultList(of string, err error) error {
	faults := flatten(err)
	if len(faults) == 1 {
		return fmt.Errorf("%s: %w", of, faults[0])
	}
	return &listError{of: of, faults: faults}
}

type listError struct {
	of     string
	faults []error
}

func (e *listError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s has %d faults:", e.of, len(e.faults))
	for _, f := range e.faults {
		fmt.Fprintf(&b, "\n  - %v", f)
	}
	return b.String()
}

func (e *listError) Unwrap() []error { return e.faults }
