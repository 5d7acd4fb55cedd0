package main

import (
	"archive/zip"
	"bytes"
	"debug/elf"
	"encoding/json"
	"fmt"
	"image/png"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Where the rules are written.
const (
	packaging = "https://grafana.com/developers/plugin-tools/publish-a-plugin/package-a-plugin"
	reference = "https://grafana.com/developers/plugin-tools/reference/plugin-json"
	practices = "https://grafana.com/developers/plugin-tools/publish-a-plugin/publishing-best-practices"
	signing   = "https://grafana.com/developers/plugin-tools/publish-a-plugin/sign-a-plugin"
	licences  = "https://grafana.com/legal/plugins/"
	validator = "https://github.com/grafana/plugin-validator#analyzers"
)

// metadata is plugin.json. All fields that the schema knows and ours has: another one is a slip of the pen.
type metadata struct {
	Schema      string `json:"$schema"`
	Type        string `json:"type"`
	Name        string `json:"name"`
	ID          string `json:"id"`
	Category    string `json:"category"`
	Metrics     bool   `json:"metrics"`
	Annotations bool   `json:"annotations"`
	Alerting    bool   `json:"alerting"`
	Streaming   bool   `json:"streaming"`
	Backend     bool   `json:"backend"`
	Executable  string `json:"executable"`
	Info        struct {
		Description string   `json:"description"`
		Author      link     `json:"author"`
		Keywords    []string `json:"keywords"`
		Logos       struct {
			Small string `json:"small"`
			Large string `json:"large"`
		} `json:"logos"`
		Links       []link `json:"links"`
		Screenshots []struct {
			Name string `json:"name"`
			Path string `json:"path"`
		} `json:"screenshots"`
		Version string `json:"version"`
		Updated string `json:"updated"`
	} `json:"info"`
	Dependencies struct {
		GrafanaDependency string `json:"grafanaDependency"`
		Plugins           []any  `json:"plugins"`
	} `json:"dependencies"`
	Includes []struct {
		Type string `json:"type"`
		Name string `json:"name"`
		Path string `json:"path"`
	} `json:"includes"`
}

type link struct {
	Name string `json:"name"`
	URL  string `json:"url"`
}

func readMetadata(body []byte) (metadata, error) {
	var m metadata
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return metadata{}, fmt.Errorf("plugin.json: %w (%s)", err, reference)
	}
	return m, nil
}

// The patterns of plugin.json's schema.
var (
	idPattern         = regexp.MustCompile(`^[0-9a-z]+-([0-9a-z]+-)?(app|panel|datasource)$`)
	versionPattern    = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?$`)
	updatedPattern    = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}$`)
	dependencyPattern = regexp.MustCompile(`^(<=|>=|<|>|=|~|\^)?([0-9]+)(\.[0-9x*]+)(\.[0-9x*]+)?(\s(<=|>=|<|=>)?([0-9]+)(\.[0-9x]+)(\.[0-9x]+))?$`)
	categories        = []string{"tsdb", "logging", "cloud", "tracing", "profiling", "sql", "enterprise", "iot", "other"}
)

// allowed are the files that a data source consists of. Sources, tests, tools and leftovers are none.
var allowed = []*regexp.Regexp{
	regexp.MustCompile(`^(plugin\.json|README\.md|CHANGELOG\.md|LICENSE|module\.js|module\.js\.map|go_plugin_build_manifest)$`),
	regexp.MustCompile(`^img/[a-z0-9-]+\.(svg|png)$`),
	regexp.MustCompile(`^dashboards/[a-z0-9-]+\.json$`),
	regexp.MustCompile(`^[a-z_]+_(linux|darwin|windows)_(amd64|arm64|arm)(\.exe)?$`),
}

var (
	activeSVG    = regexp.MustCompile(`(?i)<script|<foreignobject|\son[a-z]+\s*=|javascript:|(href|src)\s*=\s*["'](https?:|//|data:)|<!ENTITY`)
	relativeLink = regexp.MustCompile(`!?\[[^\]]*\]\((?:<)?([^)\s>]+)`)
	htmlInPage   = regexp.MustCompile(`(?i)<(!--|script|iframe|img|a\s|div|style)`)
)

// Check holds a packed plugin against the rules of Grafana's catalogue: each fault names the page that has the rule. It answers for the
// package alone; what the validator asks of accounts at Grafana, signatures and links that resolve, it cannot know.
func Check(name string, packed []byte) []error {
	c := &checker{files: map[string]*zip.File{}}
	r, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
	if err != nil {
		return []error{fmt.Errorf("%s is no zip: %w (%s)", name, err, packaging)}
	}
	c.layout(r)
	body := c.read("plugin.json")
	if body == nil {
		return append(c.faults, fmt.Errorf("there is no %s/plugin.json (%s)", c.top, reference))
	}
	m, err := readMetadata(body)
	if err != nil {
		return append(c.faults, err)
	}
	c.about = m
	if c.top != m.ID {
		c.fault(packaging, "the folder is named %q, the plugin %q", c.top, m.ID)
	}
	if want := m.ID + "-" + m.Info.Version + ".zip"; name != want {
		c.fault(packaging, "the archive is named %q, not %q", name, want)
	}
	c.metadata()
	c.pictures()
	c.backends()
	c.frontEnd()
	c.pages()
	c.dashboards()
	return c.faults
}

type checker struct {
	top    string
	files  map[string]*zip.File // by their path in the folder
	about  metadata
	faults []error
}

func (c *checker) fault(page, format string, args ...any) {
	c.faults = append(c.faults, fmt.Errorf(format+" (%s)", append(args, page)...))
}

// read is a file's content; nil where there is none.
func (c *checker) read(path string) []byte {
	f := c.files[path]
	if f == nil {
		return nil
	}
	r, err := f.Open()
	if err != nil {
		c.fault(packaging, "%s cannot be read: %v", path, err)
		return nil
	}
	defer r.Close()
	body, err := io.ReadAll(io.LimitReader(r, 200<<20))
	if err != nil {
		c.fault(packaging, "%s cannot be read: %v", path, err)
		return nil
	}
	return body
}

// layout: one folder, plain files in it, each once, and none that does not belong to a plugin.
func (c *checker) layout(r *zip.Reader) {
	for _, f := range r.File {
		top, rest, inside := strings.Cut(f.Name, "/")
		if c.top == "" {
			c.top = top
		}
		switch {
		case !inside || top != c.top:
			c.fault(packaging, "%s lies beside the one folder of the plugin, %s", f.Name, c.top)
			continue
		case path.Clean(f.Name) != strings.TrimSuffix(f.Name, "/") || strings.Contains(f.Name, `\`) || strings.HasPrefix(top, ".."):
			c.fault(packaging, "%s is no plain path", f.Name)
			continue
		case f.FileInfo().IsDir():
			continue
		case !f.Mode().IsRegular():
			c.fault(packaging, "%s is no plain file but %s", f.Name, f.Mode())
		case c.files[rest] != nil:
			c.fault(packaging, "%s is packed twice", f.Name)
		case rest == "MANIFEST.txt":
			c.fault(signing, "there is a MANIFEST.txt, the mark of a signed plugin: what is submitted first is not signed")
		case path.Base(rest) == "plugin.json" && rest != "plugin.json":
			c.fault(validator, "%s is a plugin within the plugin", f.Name)
		case !slices.ContainsFunc(allowed, func(p *regexp.Regexp) bool { return p.MatchString(rest) }):
			c.fault(practices, "%s does not belong in a package", f.Name)
		}
		c.files[rest] = f
	}
}

func (c *checker) metadata() {
	m := c.about
	for _, rule := range []struct {
		broken bool
		what   string
	}{
		{m.Type != "datasource", "type is not datasource"},
		{!idPattern.MatchString(m.ID), "id is not owner-name-datasource"},
		{!strings.HasSuffix(m.ID, "-"+m.Type), "id does not end in the type"},
		{strings.TrimSpace(m.Name) == "", "name is empty"},
		{!slices.Contains(categories, m.Category), "category is none of the schema's"},
		{!versionPattern.MatchString(m.Info.Version), "info.version is no semantic version"},
		{!updatedPattern.MatchString(m.Info.Updated), "info.updated is no date"},
		{!dependencyPattern.MatchString(m.Dependencies.GrafanaDependency), "dependencies.grafanaDependency is no range of versions"},
		{m.Alerting && !m.Backend, "alerting needs a backend"},
		{m.Backend && m.Executable == "", "backend needs an executable"},
		{!m.Metrics && !m.Annotations, "neither metrics nor annotations are offered"},
	} {
		if rule.broken {
			c.fault(reference, "plugin.json: %s", rule.what)
		}
	}
	if len(m.Info.Keywords) == 0 || strings.TrimSpace(m.Info.Description) == "" {
		c.fault(practices, "plugin.json: info.keywords and info.description are what people find the plugin by")
	}
	if m.Info.Author.Name == "" {
		c.fault(practices, "plugin.json: info.author is empty")
	}
	if len(m.Info.Links) == 0 {
		c.fault(practices, "plugin.json: info.links leads nowhere")
	}
	for _, l := range append([]link{m.Info.Author}, m.Info.Links...) {
		if !strings.HasPrefix(l.URL, "https://") || l.Name == "" {
			c.fault(validator, "plugin.json: the link %q of %q is not https", l.URL, l.Name)
		}
	}
}

func (c *checker) pictures() {
	for _, logo := range []string{c.about.Info.Logos.Small, c.about.Info.Logos.Large} {
		body := c.read(logo)
		if path.Ext(logo) != ".svg" || !bytes.Contains(body, []byte("<svg")) {
			c.fault(reference, "plugin.json: the logo %q is no SVG of the package", logo)
		}
	}
	for name := range c.files {
		if path.Ext(name) == ".svg" && activeSVG.Match(c.read(name)) {
			c.fault(validator, "%s has a script, or loads something", name)
		}
	}
	if len(c.about.Info.Screenshots) == 0 {
		c.fault(practices, "plugin.json: there is no screenshot")
	}
	for _, s := range c.about.Info.Screenshots {
		if s.Name == "" {
			c.fault(reference, "plugin.json: the screenshot %q has no name", s.Path)
		}
		if _, err := png.DecodeConfig(bytes.NewReader(c.read(s.Path))); err != nil {
			c.fault(validator, "the screenshot %q is no PNG of the package: %v", s.Path, err)
		}
	}
}

// backends: one for each platform that is named, which the system can run.
func (c *checker) backends() {
	if !c.about.Backend {
		return
	}
	machines := map[string]elf.Machine{"linux_amd64": elf.EM_X86_64, "linux_arm64": elf.EM_AARCH64}
	for platform, machine := range machines {
		name := c.about.Executable + "_" + platform
		f := c.files[name]
		if f == nil {
			c.fault(packaging, "there is no %s", name)
			continue
		}
		if f.Mode().Perm() != 0o755 {
			c.fault(packaging, "%s has the mode %o, not 0755", name, f.Mode().Perm())
		}
		program, err := elf.NewFile(bytes.NewReader(c.read(name)))
		if err != nil || program.Machine != machine {
			c.fault(validator, "%s is no program for %s: %v", name, platform, err)
			continue
		}
		if slices.ContainsFunc(program.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
			c.fault(packaging, "%s asks for a C library, which Grafana's image need not have: build with CGO_ENABLED=0", name)
		}
	}
	for name, f := range c.files {
		if !strings.HasPrefix(name, c.about.Executable+"_") && f.Mode().Perm() != 0o644 {
			c.fault(packaging, "%s has the mode %o, though it is only read", name, f.Mode().Perm())
		}
	}
	if len(c.read("go_plugin_build_manifest")) == 0 {
		c.fault(validator, "there is no go_plugin_build_manifest, which says what the backends were built of")
	}
}

// shared are the modules that Grafana hands to plugins; what a plugin asks for beside them it does not get.
var shared = []string{
	"lodash", "moment", "react", "react/jsx-runtime", "react-dom", "react-redux", "redux", "rxjs", "i18next", "react-router", "d3", "module",
	"@emotion/css", "@emotion/react", "@grafana/data", "@grafana/runtime", "@grafana/ui",
}

// amd is the head of a module, with the modules it asks for.
var amd = regexp.MustCompile(`^define\(\s*(?:"[^"]*",\s*)?(\[[^\]]*\])`)

func (c *checker) frontEnd() {
	head := amd.FindSubmatch(bytes.TrimSpace(c.read("module.js")))
	if head == nil {
		c.fault(validator, "module.js is not there, or no AMD module")
	} else {
		var asked []string
		if err := json.Unmarshal(head[1], &asked); err != nil {
			c.fault(validator, "module.js asks for modules in no list: %v", err)
		}
		for _, name := range asked {
			if !slices.Contains(shared, name) {
				c.fault(practices, "module.js asks for %s, which Grafana does not hand to plugins", name)
			}
		}
	}
	var sources struct {
		Sources []string `json:"sources"`
	}
	if err := json.Unmarshal(c.read("module.js.map"), &sources); err != nil || len(sources.Sources) == 0 {
		c.fault(validator, "module.js.map is not there, or names no sources")
	}
	for _, s := range sources.Sources {
		if strings.Contains(s, "node_modules") || strings.HasPrefix(s, "/") || strings.HasPrefix(s, "file:") {
			c.fault(practices, "module.js.map has %s, which is not ours or names a machine's folder", s)
		}
	}
}

func (c *checker) pages() {
	readme := string(c.read("README.md"))
	if len(readme) < 1000 || !strings.HasPrefix(readme, "# ") {
		c.fault(practices, "README.md is not there, or says little: it is the plugin's page in the catalogue")
	}
	if tag := htmlInPage.FindString(readme); tag != "" {
		c.fault(validator, "README.md has HTML (%s…), which the catalogue does not show", tag)
	}
	for _, l := range relativeLink.FindAllStringSubmatch(readme, -1) {
		if !strings.HasPrefix(l[1], "https://") && !strings.HasPrefix(l[1], "#") {
			c.fault(practices, "README.md links to %s, which the catalogue does not have: links there are whole", l[1])
		}
	}
	if !strings.Contains(string(c.read("CHANGELOG.md")), "\n## "+c.about.Info.Version) {
		c.fault(practices, "CHANGELOG.md has no section ## %s", c.about.Info.Version)
	}
	if licence := string(c.read("LICENSE")); !strings.Contains(licence, "Apache License") || !strings.Contains(licence, "Version 2.0") {
		c.fault(licences, "LICENSE is not there, or is not the Apache License 2.0")
	}
}

func (c *checker) dashboards() {
	included := map[string]bool{}
	for _, i := range c.about.Includes {
		included[i.Path] = true
		var board struct{ Title, UID string }
		if err := json.Unmarshal(c.read(i.Path), &board); err != nil || i.Type != "dashboard" || board.Title != i.Name || board.UID == "" {
			c.fault(reference, "plugin.json: includes %q (%s), which is no dashboard of that name in the package: %v", i.Name, i.Path, err)
		}
	}
	for name := range c.files {
		if strings.HasPrefix(name, "dashboards/") && !included[name] {
			c.fault(reference, "%s is packed and plugin.json does not include it", name)
		}
	}
}
