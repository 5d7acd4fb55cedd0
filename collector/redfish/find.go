package redfish

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// maxMembers bounds what is listed of a collection.
const maxMembers = 512

// point is where a chassis's input is read.
type point struct {
	chassis string
	kind    kind
	paths   []string // one, or each power supply's metrics
}

type kind string

// The kinds of point, in order of preference.
const (
	inEnvironment kind = "EnvironmentMetrics"
	inPower       kind = "Power"
	inSensor      kind = "Sensor"
	inSupplies    kind = "PowerSupplies"
)

func (p point) String() string { return p.chassis + " (" + string(p.kind) + ")" }

// finder searches for the points. It keeps what it has read, so that a slow BMC is not asked all of it anew.
type finder struct {
	c    *client
	seen map[string]*resource // nil: there is none
}

// get reads a resource once; it is nil where there is none.
func (f *finder) get(ctx context.Context, path string) (*resource, error) {
	if r, ok := f.seen[path]; ok {
		return r, nil
	}
	r, err := f.c.get(ctx, path)
	if has(err, "not_found") || has(err, "http_500") || has(err, "http_501") || has(err, "malformed") {
		r, err = nil, nil // BMCs answer so where they have nothing
	}
	if err == nil {
		f.seen[path] = r
	}
	return r, err
}

// follow is a link, or where the resource stands by custom when the link is left out.
func follow(l link, parent, name string) string {
	if l != "" {
		return string(l)
	}
	return strings.TrimSuffix(parent, "/") + "/" + name
}

// members lists a collection, page by page.
func (f *finder) members(ctx context.Context, path string) (out []string, err error) {
	for pages := 0; path != "" && pages < maxMembers && len(out) < maxMembers; pages++ {
		r, err := f.get(ctx, path)
		if err != nil || r == nil {
			return out, err
		}
		for _, m := range r.Members {
			if m != "" && !slices.Contains(out, string(m)) {
				out = append(out, string(m))
			}
		}
		path = string(r.Next)
	}
	return out, nil
}

// chassis is a chassis with its path.
type chassis struct {
	path string
	*resource
}

func (c chassis) is(name string) bool {
	return name == c.path || name == string(c.Id) || name == path.Base(c.path)
}

// larger and smaller than a node: their power is not its input.
var (
	larger  = []string{"rack", "rackgroup", "row", "pod", "facility", "zone", "shelf", "enclosure", "cabinet", "powerstrip"}
	smaller = []string{"module", "component", "card", "cartridge", "expansion", "storageenclosure", "drawer", "riser"}
)

// find returns where the node's input is read: one point, or one for each chassis that the configuration names.
func (f *finder) find(ctx context.Context) ([]point, error) {
	if strings.HasPrefix(f.c.cfg.Sensor, "/") {
		return []point{{chassis: f.c.cfg.Sensor, kind: inSensor, paths: []string{f.c.cfg.Sensor}}}, nil
	}
	root, err := f.get(ctx, rootPath)
	if err != nil {
		return nil, err
	}
	if root == nil {
		return nil, fault("not_found", "%s: no Redfish service at %s", rootPath, f.c.base.Host)
	}
	if s := root.Links.is.Sessions; s != "" {
		f.c.sessions = string(s)
	}
	all, err := f.chassis(ctx, follow(root.Chassis, rootPath, "Chassis"))
	if err != nil {
		return nil, err
	}
	if len(f.c.cfg.Chassis) > 0 {
		return f.named(ctx, all)
	}
	return f.guess(ctx, all, follow(root.Systems, rootPath, "Systems"))
}

func (f *finder) chassis(ctx context.Context, path string) (all []chassis, err error) {
	paths, err := f.members(ctx, path)
	if err != nil {
		return nil, err
	}
	for _, p := range paths {
		r, err := f.get(ctx, p)
		if err != nil {
			return nil, err
		}
		if r != nil {
			all = append(all, chassis{p, r})
		}
	}
	return all, nil
}

// named returns the chassis that the configuration names. Each of them must be readable.
func (f *finder) named(ctx context.Context, all []chassis) (points []point, err error) {
	for _, name := range f.c.cfg.Chassis {
		i := slices.IndexFunc(all, func(c chassis) bool { return c.is(name) })
		if i < 0 {
			return nil, fault("not_found", "chassis: the BMC has no %q; it has %s", name, names(all))
		}
		p, ok, err := f.probe(ctx, all[i])
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, fault("no_power", "chassis: %q has no power or energy that is the whole of it", name)
		}
		points = append(points, p)
	}
	return points, nil
}

// guess returns the one chassis that has power and is inside no other of a node's size. What is inside another is not
// taken for the whole, even if the other shows nothing now. Chassis that a computer system names come before others; where
// more than one is left, none is taken.
func (f *finder) guess(ctx context.Context, all []chassis, systems string) ([]point, error) {
	nodes := slices.DeleteFunc(slices.Clone(all), func(c chassis) bool {
		kind := strings.ToLower(string(c.ChassisType))
		return slices.Contains(larger, kind) || slices.Contains(smaller, kind)
	})
	outer := slices.DeleteFunc(slices.Clone(nodes), func(c chassis) bool {
		by := string(c.Links.is.ContainedBy)
		return by != c.path && slices.ContainsFunc(nodes, func(o chassis) bool { return o.path == by })
	})
	found := map[string]point{}
	for _, c := range outer {
		p, ok, err := f.probe(ctx, c)
		if err != nil {
			return nil, err
		}
		if ok {
			found[c.path] = p
		}
	}
	outer = slices.DeleteFunc(outer, func(c chassis) bool { _, ok := found[c.path]; return !ok })
	if len(outer) > 1 {
		hosts, err := f.hosts(ctx, systems)
		if err != nil {
			return nil, err
		}
		if of := slices.DeleteFunc(slices.Clone(outer), func(c chassis) bool { return !slices.Contains(hosts, c.path) }); len(of) == 1 {
			outer = of
		}
	}
	switch len(outer) {
	case 0:
		return nil, fault("no_power", "of the chassis %s none that is inside no other has power or energy that is the whole of it; name the node's in redfish.chassis, or a sensor in redfish.sensor", names(all))
	case 1:
		return []point{found[outer[0].path]}, nil
	default:
		return nil, fault("ambiguous", "the chassis %s all have power, and none is inside another; name the node's in redfish.chassis", names(outer))
	}
}

// hosts lists the chassis that computer systems say they are in.
func (f *finder) hosts(ctx context.Context, systems string) (out []string, err error) {
	paths, err := f.members(ctx, systems)
	if err != nil {
		return nil, err
	}
	for _, p := range paths {
		r, err := f.get(ctx, p)
		if err != nil {
			return nil, err
		}
		if r == nil {
			continue
		}
		for _, c := range r.Links.is.Chassis {
			out = append(out, string(c))
		}
	}
	return out, nil
}

// probe finds where a chassis's input is read: the first place that has a value now. A chassis that has a place and no
// value in it is waited for.
func (f *finder) probe(ctx context.Context, c chassis) (p point, ok bool, err error) {
	at := func(k kind, paths ...string) (point, bool, error) { return point{c.path, k, paths}, true, nil }
	promised := false
	if f.c.cfg.Sensor == "" {
		path := follow(c.EnvironmentMetrics, c.path, "EnvironmentMetrics")
		if r, err := f.get(ctx, path); err != nil {
			return p, false, err
		} else if r != nil {
			if r.environment().any() {
				return at(inEnvironment, path)
			}
			promised = r.environment().promised()
		}
		path = follow(c.Power, c.path, "Power")
		if r, err := f.get(ctx, path); err != nil {
			return p, false, err
		} else if r != nil {
			w, there := r.total()
			if w != "" {
				return at(inPower, path)
			}
			promised = promised || there
		}
	}
	sensor, err := f.sensor(ctx, follow(c.Sensors, c.path, "Sensors"))
	if err != nil {
		return p, false, err
	}
	if sensor != "" {
		return at(inSensor, sensor)
	}
	if f.c.cfg.Sensor != "" {
		return p, false, nil
	}
	supplies, err := f.supplies(ctx, c)
	switch {
	case err != nil:
		return p, false, err
	case len(supplies) > 0:
		return at(inSupplies, supplies...)
	case promised:
		return p, false, fault("no_value", "chassis %q shows no power now: a node that is switched off may have none", path.Base(c.path))
	default:
		return p, false, nil
	}
}

// aTotal is how BMCs call the sensor of a chassis's input.
var aTotal = regexp.MustCompile(`(?i)^(total|chassis|sys|system|input)[ _-]?(input[ _-]?)?(power|pwr)$`)

// sensor is the one sensor that is configured, or the one that is called the total; empty when there is none or more.
func (f *finder) sensor(ctx context.Context, collection string) (string, error) {
	paths, err := f.members(ctx, collection)
	if err != nil {
		return "", err
	}
	var found []string
	for _, p := range paths {
		id := path.Base(p)
		if want := f.c.cfg.Sensor; want != "" {
			if id == want {
				return p, nil
			}
			continue
		}
		if !aTotal.MatchString(id) {
			continue
		}
		r, err := f.get(ctx, p)
		if err != nil {
			return "", err
		}
		if r != nil && r.sensor().any() && !isPart(r.PhysicalContext) {
			found = append(found, p)
		}
	}
	if len(found) != 1 {
		return "", nil
	}
	return found[0], nil
}

// supplies lists the metrics of the power supplies, if each has an input power.
func (f *finder) supplies(ctx context.Context, c chassis) ([]string, error) {
	r, err := f.get(ctx, follow(c.PowerSubsystem, c.path, "PowerSubsystem"))
	if err != nil || r == nil {
		return nil, err
	}
	paths, err := f.members(ctx, follow(r.PowerSupplies, follow(c.PowerSubsystem, c.path, "PowerSubsystem"), "PowerSupplies"))
	if err != nil {
		return nil, err
	}
	var out []string
	for _, p := range paths {
		s, err := f.get(ctx, p)
		if err != nil {
			return nil, err
		}
		if s == nil {
			return nil, nil
		}
		p = follow(s.Metrics, p, "Metrics")
		m, err := f.get(ctx, p)
		if err != nil {
			return nil, err
		}
		if m == nil || m.InputPowerWatts.reading == "" {
			return nil, nil
		}
		out = append(out, p)
	}
	return out, nil
}

func names(all []chassis) string {
	var out []string
	for _, c := range all {
		out = append(out, fmt.Sprintf("%q", path.Base(c.path)))
	}
	if len(out) == 0 {
		return "(none)"
	}
	return strings.Join(out, ", ")
}
