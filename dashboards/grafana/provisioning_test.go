package grafana

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/wattledger/wattledger/dashboards/datasource/pkg/settings"
)

// provisioned is a file that Grafana reads at its start; fields as its documentation has them.
// https://grafana.com/docs/grafana/latest/administration/provisioning/
type provisioned struct {
	APIVersion  int `yaml:"apiVersion"`
	DataSources []struct {
		Name           string            `yaml:"name"`
		UID            string            `yaml:"uid"`
		OrgID          int               `yaml:"orgId"`
		Type           string            `yaml:"type"`
		Access         string            `yaml:"access"`
		URL            string            `yaml:"url"`
		IsDefault      bool              `yaml:"isDefault"`
		Editable       bool              `yaml:"editable"`
		JSONData       map[string]any    `yaml:"jsonData"`
		SecureJSONData map[string]string `yaml:"secureJsonData"`
	} `yaml:"datasources"`
	Providers []struct {
		Name                  string `yaml:"name"`
		OrgID                 int    `yaml:"orgId"`
		Type                  string `yaml:"type"`
		Folder                string `yaml:"folder"`
		FolderUID             string `yaml:"folderUid"`
		AllowUIUpdates        bool   `yaml:"allowUiUpdates"`
		DisableDeletion       bool   `yaml:"disableDeletion"`
		UpdateIntervalSeconds int    `yaml:"updateIntervalSeconds"`
		Options               struct {
			Path                      string `yaml:"path"`
			FoldersFromFilesStructure bool   `yaml:"foldersFromFilesStructure"`
		} `yaml:"options"`
	} `yaml:"providers"`
}

// secret is a value that names where a secret is, instead of the secret.
var secret = regexp.MustCompile(`^(\$__file\{/[^}]+\}|\$\{[A-Z0-9_]+\})$`)

// settle reads a data source as the plugin does, which names what it does not know and what contradicts itself.
func settle(t *testing.T, file string, fields map[string]any, secrets map[string]string) {
	t.Helper()
	body, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	s, err := settings.Parse(body, secrets)
	if err != nil {
		t.Errorf("%s: the plugin says %v", file, err)
	}
	if len(s.Unknown) > 0 {
		t.Errorf("%s: the plugin does not know %v", file, s.Unknown)
	}
}

func TestProvisioning(t *testing.T) {
	scopes := map[any]bool{}
	logins, err := os.ReadFile("../../deploy/clickhouse/grafana-users.sql")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("provisioning/*/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var p provisioned
		if err := yaml.UnmarshalWithOptions(body, &p, yaml.Strict()); err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if p.APIVersion != 1 || len(p.DataSources)+len(p.Providers) == 0 {
			t.Errorf("%s: it provisions nothing, or in a version that Grafana does not know", file)
		}
		for _, d := range p.DataSources {
			if d.Type != Wattledger && d.Type != Prometheus || d.Access != "proxy" || d.Editable || d.OrgID == 0 || d.Name == "" || d.UID == "" {
				t.Errorf("%s: the data source %s: %+v", file, d.Name, d)
			}
			for name, value := range d.SecureJSONData {
				if !secret.MatchString(value) {
					t.Errorf("%s: %s of %s is not read from a file or the environment: %q", file, name, d.Name, value)
				}
			}
			if d.Type == Wattledger {
				if login := "CREATE USER OR REPLACE " + d.JSONData["username"].(string) + "\n"; !strings.Contains(string(logins), login) {
					t.Errorf("%s: nobody makes the login %v of %s: deploy/clickhouse/grafana-users.sql does not", file, d.JSONData["username"], d.Name)
				}
				settle(t, file, d.JSONData, d.SecureJSONData)
				scopes[d.JSONData["scope"]] = true
				active := strings.HasSuffix(file, ".yaml")
				if active != (d.JSONData["scope"] == "operator") {
					t.Errorf("%s: only the operator's data source is read as it lies here", file)
				}
			}
		}
		for _, d := range p.Providers {
			if d.Type != "file" || d.AllowUIUpdates || !filepath.IsAbs(d.Options.Path) {
				t.Errorf("%s: the provider %s: %+v", file, d.Name, d)
			}
		}
	}
	for _, scope := range []string{"operator", "tenant", "identity"} {
		if !scopes[scope] {
			t.Errorf("there is no example of a data source with scope %s", scope)
		}
	}
}
