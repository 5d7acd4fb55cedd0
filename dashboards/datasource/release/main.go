// Command release packs the Grafana data source and all that an operator puts beside it: make grafana runs it.
//
// It is handed the built front end with the backends in it (-dist) and the dashboards (-grafana), and fills a folder (-out): the zip
// with its checksums, the plugin unpacked, provisioning that points at ClickHouse (-url), dashboards, alert rules and logins. The same sources
// give the same zip, byte for byte. What breaks a rule of Grafana's catalogue is not written.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

func main() {
	err := run(os.Args[1:], os.Stdout)
	if err != nil && !errors.Is(err, flag.ErrHelp) { // who asked for help got it
		fmt.Fprintf(os.Stderr, "release: %v\n", err)
		os.Exit(1)
	}
}

type options struct {
	dist, grafana, root, out string
	target                   target
}

func run(args []string, stdout io.Writer) error {
	var o options
	f := flag.NewFlagSet("release", flag.ContinueOnError)
	f.StringVar(&o.dist, "dist", "dashboards/datasource/dist", "folder of the built plugin, front end and backends")
	f.StringVar(&o.grafana, "grafana", "dashboards/grafana", "folder of dashboards, provisioning and alert rules")
	f.StringVar(&o.root, "root", ".", "root of the sources")
	f.StringVar(&o.out, "out", "grafana-out", "folder to fill")
	f.StringVar(&o.target.url, "url", "http://127.0.0.1:8123", "where the plugin finds ClickHouse: http, https, native or natives (TLS)")
	f.StringVar(&o.target.username, "username", "grafana_operator", "login of the data source, as clickhouse/grafana-users.sql makes it")
	f.StringVar(&o.target.passwordFile, "password-file", "/etc/grafana/secrets/grafana_operator", "file, on Grafana's machine, that holds the login's password")
	if err := f.Parse(args); err != nil {
		return err
	}
	return release(o, stdout)
}

func release(o options, stdout io.Writer) error {
	out, err := filepath.Abs(o.out)
	if err != nil {
		return fmt.Errorf("output folder: %w", err)
	}
	// Grafana opens the file from a folder of its own.
	if o.target.passwordFile, err = filepath.Abs(o.target.passwordFile); err != nil {
		return fmt.Errorf("password file: %w", err)
	}
	files, err := readTree(o.dist)
	if err != nil {
		return fmt.Errorf("read the built plugin (make grafana builds it): %w", err)
	}
	manifest, err := buildManifest(o.root)
	if err != nil {
		return err
	}
	files["go_plugin_build_manifest"] = manifest
	about, err := readMetadata(files["plugin.json"])
	if err != nil {
		return err
	}
	packed, err := pack(about, files)
	if err != nil {
		return err
	}
	name := about.ID + "-" + about.Info.Version + ".zip"
	if faults := Check(name, packed); len(faults) > 0 {
		return fmt.Errorf("%s breaks rules of Grafana's catalogue: %w", name, errors.Join(faults...))
	}
	if err := empty(out); err != nil {
		return err
	}
	for path, body := range files {
		if err := write(filepath.Join(out, "plugins", about.ID, filepath.FromSlash(path)), body, mode(about, path)); err != nil {
			return err
		}
	}
	sums, err := checksums(out, name, packed)
	if err != nil {
		return err
	}
	provisioned, err := provision(o.grafana, out, o.target)
	if err != nil {
		return err
	}
	// Logins that may only read, for who keeps ClickHouse.
	users, err := os.ReadFile(filepath.Join(o.root, "deploy/clickhouse/grafana-users.sql"))
	if err != nil {
		return fmt.Errorf("read the logins of ClickHouse: %w", err)
	}
	if err := write(filepath.Join(out, "clickhouse", "grafana-users.sql"), users, 0o644); err != nil {
		return err
	}
	provisioned = append(provisioned, "clickhouse/       logins that may only read, as SQL: look at it before you run it")
	fmt.Fprint(stdout, howTo(out, about, o.target, sums, provisioned))
	return nil
}

// empty removes what an earlier run has written, so that nothing of an earlier version stays behind; and nothing else.
func empty(out string) error {
	found, err := os.ReadDir(out)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("output folder: %w", err)
	}
	if len(found) > 0 && !slices.ContainsFunc(found, func(e fs.DirEntry) bool { return e.Name() == sumsFile }) {
		return fmt.Errorf("%s holds something and is not of make grafana: name another folder with -out, or empty it", out)
	}
	if err := os.RemoveAll(out); err != nil {
		return fmt.Errorf("empty the output folder: %w", err)
	}
	return nil
}

func write(path string, body []byte, perm os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.WriteFile(path, body, perm); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// howTo says how to start Grafana with what was written.
func howTo(out string, about metadata, to target, sums string, provisioned []string) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, `%s holds
  %s-%s.zip   the plugin, for linux/amd64 and linux/arm64, and its checksums:
%s  plugins/          the same, unpacked
`, out, about.ID, about.Info.Version, sums)
	for _, p := range provisioned {
		fmt.Fprintf(&b, "  %s\n", p)
	}
	fmt.Fprintf(&b, `
The data source asks %s as %s, with the password in
  %s
which has to be there, and readable for Grafana, before it starts: it does not start without.

Start Grafana %s with them (what it keeps itself, it keeps in GF_PATHS_DATA):

  GF_PATHS_PLUGINS=%s/plugins \
  GF_PATHS_PROVISIONING=%s/provisioning \
  GF_PATHS_DATA=$HOME/.local/share/grafana GF_PATHS_LOGS=$HOME/.local/share/grafana/log \
  GF_PLUGINS_ALLOW_LOADING_UNSIGNED_PLUGINS=%s \
  grafana server --homepath /usr/share/grafana

and open http://127.0.0.1:3000/d/wattledger-fleet. For a Grafana that runs already: docs/grafana.md.

The plugin is not signed: a signature needs a key of Grafana's catalogue, which Grafana gives to the owner of the name. Until then
GF_PLUGINS_ALLOW_LOADING_UNSIGNED_PLUGINS is needed. See https://grafana.com/developers/plugin-tools/publish-a-plugin/sign-a-plugin
Alert rules in prometheus/ belong to the Prometheus that scrapes Wattledger's processes: rule_files in its configuration. Half of the
dashboard Pipeline health asks it; provisioning/datasources/wattledger.yaml has its address (http://127.0.0.1:9090).
`, to.url, to.username, to.passwordFile, about.Dependencies.GrafanaDependency, out, out, about.ID)
	return b.String()
}
