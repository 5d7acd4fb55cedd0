package main

import (
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// target is where the plugin finds ClickHouse.
type target struct{ url, username, passwordFile string }

// provision copies what Grafana and Prometheus read beside the plugin, and points it at the target and at where it lies. It answers a
// line for each folder it filled.
func provision(from, out string, to target) ([]string, error) {
	source, err := to.datasource()
	if err != nil {
		return nil, err
	}
	replaced := map[string]map[string]string{
		"provisioning/datasources/wattledger.yaml": source,
		"provisioning/dashboards/wattledger.yaml":  {"path: /var/lib/grafana/dashboards/wattledger": "path: " + filepath.Join(out, "dashboards")},
	}
	var said []string
	for _, part := range []struct{ from, to, suffix, says string }{
		{"provisioning", "provisioning", "", "provisioning/     the data source, the folder of dashboards"},
		{"boards", "dashboards", ".json", "dashboards/       the dashboards"},
		{"alerts", "prometheus", ".rules.yaml", "prometheus/       recording rules and alerts"},
		{"alerts", "prometheus", "prometheusrule.yaml", ""},
	} {
		n, err := copyTree(filepath.Join(from, part.from), filepath.Join(out, part.to), part.suffix, part.from, replaced)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return nil, fmt.Errorf("%s holds nothing that ends in %q: the dashboards are not complete", filepath.Join(from, part.from), part.suffix)
		}
		if part.says != "" {
			said = append(said, part.says)
		}
	}
	for name := range replaced {
		return nil, fmt.Errorf("%s is not there, which should be pointed at the target", name)
	}
	return said, nil
}

// copyTree copies files with a suffix. What replaced says is put in their place, once each, and struck off the list.
func copyTree(from, to, suffix, part string, replaced map[string]map[string]string) (int, error) {
	tree, copied := os.DirFS(from), 0
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, suffix) {
			return err
		}
		if d.Name() != name && part == "alerts" {
			return nil // its test data
		}
		body, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		key := part + "/" + name
		for before, after := range replaced[key] {
			if strings.Count(string(body), before) != 1 {
				return fmt.Errorf("%s: %q must stand there once, to be pointed at the target", filepath.Join(from, name), before)
			}
			body = []byte(strings.Replace(string(body), before, after, 1))
		}
		delete(replaced, key)
		copied++
		return write(filepath.Join(to, filepath.FromSlash(name)), body, 0o644)
	})
	return copied, err
}

// datasource is what of the provisioned data source is replaced by what.
func (t target) datasource() (map[string]string, error) {
	u, err := url.Parse(t.url)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("-url %q: must be scheme://host:port, with the scheme http, https, native or natives; the login has flags of its own", t.url)
	}
	protocol, tls, port := "http", "false", "8123"
	switch u.Scheme {
	case "http":
	case "https":
		tls, port = "true", "8443"
	case "native":
		protocol, port = "native", "9000"
	case "natives":
		protocol, tls, port = "native", "true", "9440"
	default:
		return nil, fmt.Errorf("-url %q: the scheme must be http, https, native or natives", t.url)
	}
	if u.Port() != "" {
		port = u.Port()
	}
	for _, s := range []string{u.Hostname(), t.username, t.passwordFile} {
		if s == "" || strings.ContainsAny(s, "\n\"'{}#$") {
			return nil, fmt.Errorf("%q cannot stand in the data source's YAML as it is: edit the file by hand instead", s)
		}
	}
	host := u.Hostname()
	if ip := net.ParseIP(host); ip != nil && ip.To4() == nil {
		host = `"` + host + `"`
	}
	return map[string]string{
		"host: 127.0.0.1":            "host: " + host,
		"port: 8123":                 "port: " + port,
		"protocol: http":             "protocol: " + protocol,
		"tls: false":                 "tls: " + tls,
		"username: grafana_operator": "username: " + t.username,
		"$__file{/etc/grafana/secrets/grafana_operator}": "$__file{" + t.passwordFile + "}",
	}, nil
}
