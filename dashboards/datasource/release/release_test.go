package main

import (
	"archive/zip"
	"bytes"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/wattledger/wattledger/dashboards/datasource/pkg/settings"
)

// built is the plugin as make grafana builds it, but for the backends: programs that do nothing stand for them.
func built(t *testing.T) map[string][]byte {
	t.Helper()
	if _, err := os.Stat("../../node_modules/webpack"); errors.Is(err, fs.ErrNotExist) {
		t.Skip("dashboards/node_modules is not there, which the front end is built with: npm ci --prefix dashboards")
	}
	files, err := frontEnd()
	if err != nil {
		t.Fatal(err)
	}
	files = maps.Clone(files)
	files["gpx_wattledger_linux_amd64"] = program(elf.EM_X86_64)
	files["gpx_wattledger_linux_arm64"] = program(elf.EM_AARCH64)
	files["go_plugin_build_manifest"] = []byte("00:pkg/main.go\n")
	return files
}

// frontEnd is built once for all tests.
var frontEnd = sync.OnceValues(func() (map[string][]byte, error) {
	dist, err := os.MkdirTemp("", "front-end")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dist)
	if out, err := exec.Command("node", "../build.mjs", dist).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the front end: %w: %s", err, out)
	}
	return readTree(dist)
})

// program is the head of a static program.
func program(m elf.Machine) []byte {
	var b bytes.Buffer
	ident := [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)}
	h := elf.Header64{Ident: ident, Type: uint16(elf.ET_EXEC), Machine: uint16(m), Version: uint32(elf.EV_CURRENT), Ehsize: 64, Phentsize: 56, Shentsize: 64}
	if err := binary.Write(&b, binary.LittleEndian, h); err != nil {
		panic(err)
	}
	return b.Bytes()
}

const zipName = "wattledger-wattledger-datasource-0.1.0.zip"

func packFiles(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	about, err := readMetadata(files["plugin.json"])
	if err != nil {
		t.Fatal(err)
	}
	packed, err := pack(about, files)
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

// The package keeps the rules of Grafana's catalogue, and each rule notices when it is broken.
func TestThePackageKeepsTheRulesOfTheCatalogue(t *testing.T) {
	files := built(t)
	for _, fault := range Check(zipName, packFiles(t, files)) {
		t.Error(fault)
	}
	if again := packFiles(t, files); !bytes.Equal(again, packFiles(t, files)) {
		t.Error("the same files do not give the same zip")
	}

	breaks := func(what, fault string, change func(files map[string][]byte)) {
		t.Helper()
		broken := maps.Clone(files)
		change(broken)
		expect(t, what, fault, Check(zipName, packFiles(t, broken)))
	}
	edit := func(path, old, now string) func(map[string][]byte) {
		return func(files map[string][]byte) {
			if !bytes.Contains(files[path], []byte(old)) {
				t.Fatalf("%s has no %q, which the test changes", path, old)
			}
			files[path] = bytes.ReplaceAll(files[path], []byte(old), []byte(now))
		}
	}
	drop := func(path string) func(map[string][]byte) {
		return func(files map[string][]byte) { delete(files, path) }
	}
	add := func(path, body string) func(map[string][]byte) {
		return func(files map[string][]byte) { files[path] = []byte(body) }
	}

	for _, path := range []string{"README.md", "CHANGELOG.md", "LICENSE", "module.js", "module.js.map", "img/logo.svg", "img/query.png", "go_plugin_build_manifest", "gpx_wattledger_linux_arm64"} {
		breaks("without "+path, strings.TrimPrefix(path, "img/"), drop(path))
	}
	breaks("signed", "MANIFEST.txt", add("MANIFEST.txt", "-----BEGIN PGP SIGNED MESSAGE-----"))
	breaks("with a source", "does not belong", add("module.ts", ""))
	breaks("with a test's harness", "does not belong", add("main.js", ""))
	breaks("with another's source map", "does not belong", add("other.js.map", "{}"))
	breaks("with a package of npm's", "does not belong", add("node_modules/react/index.js", ""))
	breaks("with a debugger's program", "does not belong", add("gpx_wattledger_linux_amd64_debug", ""))
	breaks("with a plugin within", "a plugin within the plugin", add("nested/plugin.json", "{}"))
	breaks("with a dashboard that nobody names", "does not include", add("dashboards/more.json", "{}"))
	breaks("without a dashboard that is named", "no dashboard of that name", drop("dashboards/wattledger-fleet.json"))
	breaks("with a script in the logo", "has a script", edit("img/logo.svg", "<rect", "<script>alert(1)</script><rect"))
	breaks("with a logo that loads", "has a script", edit("img/logo.svg", "<rect", `<image href="https://example.org/x.png"/><rect`))
	breaks("with an empty picture", "no PNG", add("img/query.png", ""))
	breaks("with a backend for another machine", "no program for linux_arm64", func(files map[string][]byte) {
		files["gpx_wattledger_linux_arm64"] = files["gpx_wattledger_linux_amd64"]
	})
	breaks("with module.js as another kind of module", "no AMD module", add("module.js", "export const plugin = 1"))
	breaks("with a module that nobody hands it", "asks for left-pad", edit("module.js", `define(["`, `define(["left-pad","`))
	breaks("with npm's packages in the source map", "not ours", add("module.js.map", `{"sources":["webpack://x/../node_modules/react/index.js"]}`))
	breaks("with this machine's folders in the source map", "names a machine's folder", add("module.js.map", `{"sources":["/home/somebody/src/module.ts"]}`))
	breaks("with a short page", "says little", add("README.md", "# Plugin"))
	breaks("with a template's comment", "has HTML", edit("README.md", "## Requirements", "<!-- remove me -->\n## Requirements"))
	breaks("with a link that leads nowhere in the catalogue", "links there are whole", edit("README.md", "](https://github.com/wattledger/wattledger/issues)", "](docs/help.md)"))
	breaks("with a changelog that lags", "no section ## 0.1.0", edit("CHANGELOG.md", "## 0.1.0", "## 0.0.9"))
	breaks("under another licence", "Apache", add("LICENSE", "All rights reserved."))
	breaks("with a link that is not safe", "not https", edit("plugin.json", "https://github.com/wattledger/wattledger/issues", "http://github.com/wattledger/wattledger/issues"))
	breaks("for any Grafana", "no range of versions", edit("plugin.json", ">=13.0.0", "any"))
	breaks("of another kind", "type is not datasource", edit("plugin.json", `"type": "datasource"`, `"type": "panel"`))
	breaks("in a category of its own", "category is none", edit("plugin.json", `"tsdb"`, `"gpu"`))
	for name, fault := range map[string]string{"keywords": "info.keywords", "screenshots": "there is no screenshot", "links": "info.links leads nowhere"} {
		breaks("without "+name, fault, func(files map[string][]byte) {
			var about map[string]any
			if err := json.Unmarshal(files["plugin.json"], &about); err != nil {
				t.Fatal(err)
			}
			about["info"].(map[string]any)[name] = []any{}
			files["plugin.json"], _ = json.Marshal(about) // what was read can be written
		})
	}
	breaks("without a backend", "alerting needs a backend", edit("plugin.json", `"backend": true`, `"backend": false`))
	breaks("with an executable that is not there", "there is no gpx_other_linux_amd64", edit("plugin.json", `"gpx_wattledger"`, `"gpx_other"`))

	expect(t, "under another name", "the archive is named", Check("plugin.zip", packFiles(t, files)))
	expect(t, "no zip", "is no zip", Check(zipName, []byte("PK")))
}

// What pack cannot make, a careless packer can.
func TestACarelessPackageIsRefused(t *testing.T) {
	packed := packFiles(t, built(t))
	rewrite := func(change func(h *zip.FileHeader), extra ...zip.FileHeader) []byte {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		r, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range r.File {
			h := f.FileHeader
			change(&h)
			src, err := f.OpenRaw()
			if err != nil {
				t.Fatal(err)
			}
			dst, err := w.CreateRaw(&h)
			if err != nil {
				t.Fatal(err)
			}
			var body bytes.Buffer
			if _, err := body.ReadFrom(src); err != nil {
				t.Fatal(err)
			}
			if _, err := dst.Write(body.Bytes()); err != nil {
				t.Fatal(err)
			}
		}
		for _, h := range extra {
			if _, err := w.CreateHeader(&h); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	keep := func(*zip.FileHeader) {}
	const top = "wattledger-wattledger-datasource/"
	expect(t, "in the folder dist", `the folder is named "dist"`, Check(zipName, rewrite(func(h *zip.FileHeader) { h.Name = "dist/" + strings.TrimPrefix(h.Name, top) })))
	expect(t, "with a file beside the folder", "beside the one folder", Check(zipName, rewrite(keep, zip.FileHeader{Name: "README.md"})))
	expect(t, "with a way out", "no plain path", Check(zipName, rewrite(keep, zip.FileHeader{Name: top + "../evil"})))
	expect(t, "with a file twice", "packed twice", Check(zipName, rewrite(keep, zip.FileHeader{Name: top + "LICENSE"})))
	link := zip.FileHeader{Name: top + "img/more.svg"}
	link.SetMode(fs.ModeSymlink | 0o777)
	expect(t, "with a link", "no plain file", Check(zipName, rewrite(keep, link)))
	expect(t, "with a backend that cannot be run", "not 0755", Check(zipName, rewrite(func(h *zip.FileHeader) { h.SetMode(0o644) })))
	expect(t, "with all executable", "only read", Check(zipName, rewrite(func(h *zip.FileHeader) { h.SetMode(0o755) })))
	expect(t, "without plugin.json", "there is no wattledger-wattledger-datasource/plugin.json", Check(zipName, rewrite(func(h *zip.FileHeader) {
		h.Name = strings.Replace(h.Name, "/plugin.json", "/img/plugin-json.svg", 1)
	})))
}

func expect(t *testing.T, what, fault string, got []error) {
	t.Helper()
	for _, err := range got {
		if strings.Contains(err.Error(), fault) {
			if !strings.Contains(err.Error(), "https://") {
				t.Errorf("%s: %q does not say where the rule is written", what, err)
			}
			return
		}
	}
	t.Errorf("a package %s passes; want a fault with %q, got %v", what, fault, got)
}

// The whole folder is written, again into the same place, and never over somebody's files.
func TestTheFolderIsWritten(t *testing.T) {
	dist, out := t.TempDir(), filepath.Join(t.TempDir(), "out")
	for path, body := range built(t) {
		if err := write(filepath.Join(dist, path), body, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"-dist", dist, "-grafana", "../../grafana", "-root", "../../..", "-out", out, "-url", "https://clickhouse.example.org"}
	var said, again bytes.Buffer
	if err := run(args, &said); err != nil {
		t.Fatal(err)
	}
	if err := write(filepath.Join(out, "plugins/left-behind"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := run(args, &again); err != nil {
		t.Fatal(err)
	}
	if said.String() != again.String() {
		t.Errorf("the same sources give another package:\n%s\n%s", said.String(), again.String())
	}
	if _, err := os.Stat(filepath.Join(out, "plugins/left-behind")); err == nil {
		t.Error("what an earlier run has left is still there")
	}
	for _, want := range []string{"GF_PATHS_PLUGINS=" + out + "/plugins", "GF_PATHS_PROVISIONING=" + out + "/provisioning", "GF_PLUGINS_ALLOW_LOADING_UNSIGNED_PLUGINS=wattledger-wattledger-datasource", "/etc/grafana/secrets/grafana_operator"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("nobody is told %s:\n%s", want, said.String())
		}
	}
	sum := exec.CommandContext(t.Context(), "sha256sum", "--check", "--strict", sumsFile)
	sum.Dir = out
	if text, err := sum.CombinedOutput(); err != nil {
		t.Errorf("the checksums do not hold: %v: %s", err, text)
	}
	info, err := os.Stat(filepath.Join(out, "plugins/wattledger-wattledger-datasource/gpx_wattledger_linux_amd64"))
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the unpacked backend cannot be run: %v, %v", info, err)
	}

	if _, err := os.Stat(filepath.Join(out, "clickhouse/grafana-users.sql")); err != nil {
		t.Error(err)
	}
	manifest, err := os.ReadFile(filepath.Join(out, "plugins/wattledger-wattledger-datasource/go_plugin_build_manifest"))
	if err != nil || !strings.Contains(string(manifest), ":dashboards/datasource/pkg/main.go\n") || strings.Contains(string(manifest), "node_modules") {
		t.Errorf("the manifest does not list the sources, and them alone: %v", err)
	}

	theirs := t.TempDir()
	if err := write(filepath.Join(theirs, "thesis.txt"), []byte("years of work"), 0o644); err != nil {
		t.Fatal(err)
	}
	args[len(args)-3] = theirs
	if err := run(args, &said); err == nil || !strings.Contains(err.Error(), "is not of make grafana") {
		t.Errorf("somebody's folder is emptied: %v", err)
	}
	if _, err := os.Stat(filepath.Join(theirs, "thesis.txt")); err != nil {
		t.Error(err)
	}
}

// plugin.json, package.json and the changelog speak of one version.
func TestOneVersion(t *testing.T) {
	body, err := os.ReadFile("../src/plugin.json")
	if err != nil {
		t.Fatal(err)
	}
	about, err := readMetadata(body)
	if err != nil {
		t.Fatal(err)
	}
	var npm struct{ Name, Version string }
	if body, err = os.ReadFile("../package.json"); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(body, &npm); err != nil {
		t.Fatal(err)
	}
	if npm.Version != about.Info.Version || npm.Name != about.ID {
		t.Errorf("package.json is %s %s, plugin.json %s %s", npm.Name, npm.Version, about.ID, about.Info.Version)
	}
}

// What is provisioned points at the target, and the backend takes it as it stands.
func TestWhatIsProvisionedIsTakenByTheBackend(t *testing.T) {
	f := func(url, host string, port int, protocol string, tls bool) {
		t.Helper()
		out := t.TempDir()
		said, err := provision("../../grafana", out, target{url, "reader", "/run/secrets/reader"})
		if err != nil || len(said) != 3 {
			t.Fatalf("provision %s: %v, %v", url, said, err)
		}
		var file struct {
			Datasources []struct {
				Type           string
				JSONData       map[string]any    `yaml:"jsonData"`
				SecureJSONData map[string]string `yaml:"secureJsonData"`
			}
		}
		body, err := os.ReadFile(filepath.Join(out, "provisioning/datasources/wattledger.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(body, &file); err != nil {
			t.Fatal(err)
		}
		raw, err := yaml.MarshalWithOptions(file.Datasources[0].JSONData, yaml.JSON())
		if err != nil {
			t.Fatal(err)
		}
		s, err := settings.Parse(raw, nil)
		if err != nil || len(s.Unknown) > 0 {
			t.Errorf("%s: the backend says %v, unknown %v, of %s", url, err, s.Unknown, raw)
		}
		if s.Host != host || s.Port != port || s.Protocol != protocol || s.TLS != tls || s.Username != "reader" {
			t.Errorf("%s: the backend is told %s:%d %s tls=%t as %s", url, s.Host, s.Port, s.Protocol, s.TLS, s.Username)
		}
		if got := file.Datasources[0].SecureJSONData["password"]; got != "$__file{/run/secrets/reader}" {
			t.Errorf("%s: the password is %q", url, got)
		}
		provider, err := os.ReadFile(filepath.Join(out, "provisioning/dashboards/wattledger.yaml"))
		if err != nil || !strings.Contains(string(provider), "path: "+filepath.Join(out, "dashboards")+"\n") {
			t.Errorf("the dashboards are not looked for where they lie: %v\n%s", err, provider)
		}
		for _, want := range []string{"dashboards/wattledger-fleet.json", "prometheus/wattledger.rules.yaml", "prometheus/prometheusrule.yaml"} {
			if _, err := os.Stat(filepath.Join(out, want)); err != nil {
				t.Error(err)
			}
		}
	}
	f("http://127.0.0.1:8123", "127.0.0.1", 8123, "http", false)
	f("https://clickhouse.example.org", "clickhouse.example.org", 8443, "http", true)
	f("native://10.0.0.7:9001", "10.0.0.7", 9001, "native", false)
	f("natives://[2001:db8::1]", "2001:db8::1", 9440, "native", true)

	for _, bad := range []string{"", "clickhouse:8123", "ftp://clickhouse", "http://user:secret@clickhouse", "http://a/b", "http://a?b=c", "http://a#b"} {
		if _, err := provision("../../grafana", t.TempDir(), target{bad, "reader", "/run/secrets/reader"}); err == nil {
			t.Errorf("-url %q is taken", bad)
		}
	}
	if _, err := provision("../../grafana", t.TempDir(), target{"http://a", "reader\nscope: operator", "/x"}); err == nil {
		t.Error("a login with a line break is taken")
	}
}

func FuzzCheck(f *testing.F) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range []string{"x/plugin.json", "x/README.md", "x/../y"} {
		if e, err := w.Create(name); err != nil {
			f.Fatal(err)
		} else if _, err := e.Write([]byte("{}")); err != nil {
			f.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, packed []byte) {
		if len(Check(zipName, packed)) == 0 {
			t.Error("nobody writes a plugin by chance")
		}
	})
}
