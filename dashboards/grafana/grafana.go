package grafana

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/wattledger/wattledger/dashboards/query"
)

//go:embed boards/*.json
var generated embed.FS

// The types of the data sources that dashboards ask.
const (
	Wattledger = "wattledger-wattledger-datasource"
	Prometheus = "prometheus"
)

// Dashboard is what of a dashboard matters to who asks its questions, draws it or checks it.
type Dashboard struct {
	UID           string   `json:"uid"`
	Title         string   `json:"title"`
	Description   string   `json:"description"`
	SchemaVersion int      `json:"schemaVersion"`
	Refresh       string   `json:"refresh"`
	Timezone      string   `json:"timezone"`
	Tags          []string `json:"tags"`
	Time          struct {
		From string `json:"from"`
		To   string `json:"to"`
	} `json:"time"`
	Panels     []Panel `json:"panels"`
	Links      []Link  `json:"links"`
	Templating struct {
		List []Variable `json:"list"`
	} `json:"templating"`
	Annotations struct {
		List []Annotation `json:"list"`
	} `json:"annotations"`
}

// Panel is one of a dashboard, or the head of a row: its Type is row then.
type Panel struct {
	ID          int        `json:"id"`
	Type        string     `json:"type"`
	Title       string     `json:"title"`
	Description string     `json:"description"`
	Datasource  DataSource `json:"datasource"`
	GridPos     struct {
		H, W, X, Y int
	} `json:"gridPos"`
	Targets     []Target `json:"targets"`
	FieldConfig struct {
		Defaults  FieldConfig `json:"defaults"`
		Overrides []Override  `json:"overrides"`
	} `json:"fieldConfig"`
}

// FieldConfig is how values are shown.
type FieldConfig struct {
	Unit       string     `json:"unit"`
	Links      []Link     `json:"links"`
	Thresholds Thresholds `json:"thresholds"`
	Custom     struct {
		Stacking struct {
			Mode string `json:"mode"`
		} `json:"stacking"`
	} `json:"custom"`
}

// Thresholds are colours by value.
type Thresholds struct {
	Steps []struct {
		Value *float64 `json:"value"`
		Color string   `json:"color"`
	} `json:"steps"`
}

// Override changes how some of a panel's fields are shown.
type Override struct {
	Matcher struct {
		ID      string `json:"id"`
		Options any    `json:"options"`
	} `json:"matcher"`
	Properties []struct {
		ID    string          `json:"id"`
		Value json.RawMessage `json:"value"`
	} `json:"properties"`
}

// Link leads to another dashboard.
type Link struct {
	Title       string   `json:"title"`
	URL         string   `json:"url"`
	Type        string   `json:"type"`
	Tags        []string `json:"tags"`
	IncludeVars bool     `json:"includeVars"`
	KeepTime    bool     `json:"keepTime"`
}

// DataSource is whom a panel, a target or a variable asks; the uid is a variable of the dashboard.
type DataSource struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

// Variable is one of a dashboard's.
type Variable struct {
	Name       string     `json:"name"`
	Label      string     `json:"label"`
	Type       string     `json:"type"`
	Datasource DataSource `json:"datasource"`
	Multi      bool       `json:"multi"`
	IncludeAll bool       `json:"includeAll"`
	// Query is the name of a plugin where Type is datasource, else what Values answers to.
	Query json.RawMessage `json:"query"`
}

// Values is what a variable asks for: the values of a dimension, of those that pass the filters.
type Values struct {
	RefID     string          `json:"refId"`
	Dimension query.Dimension `json:"dimension"`
	Filters   []query.Filter  `json:"filters"`
}

// Annotation is something drawn across panels; one that Grafana keeps itself has no target.
type Annotation struct {
	Name       string     `json:"name"`
	Datasource DataSource `json:"datasource"`
	Enable     bool       `json:"enable"`
	Hide       bool       `json:"hide"`
	IconColor  string     `json:"iconColor"`
	BuiltIn    int        `json:"builtIn"`
	Target     *Target    `json:"target"`
}

// Target is one question of a panel: to Wattledger, or to Prometheus.
type Target struct {
	RefID      string
	Datasource DataSource
	// Query is set where Datasource.Type is Wattledger. Its filters may name variables of the dashboard: $site.
	Query query.Query
	// Expr is set where Datasource.Type is Prometheus. It may hold variables of Grafana: $__rate_interval.
	Expr    string
	Instant bool
}

// UnmarshalJSON refuses what neither the catalogue's questions nor Grafana's targets have.
func (t *Target) UnmarshalJSON(body []byte) error {
	var frame struct {
		RefID      string     `json:"refId"`
		Datasource DataSource `json:"datasource"`
	}
	if err := json.Unmarshal(body, &frame); err != nil {
		return err
	}
	t.RefID, t.Datasource = frame.RefID, frame.Datasource
	switch frame.Datasource.Type {
	case Wattledger:
		asked := struct {
			RefID      string     `json:"refId"`
			Datasource DataSource `json:"datasource"`
			Hide       bool       `json:"hide"`
			query.Query
		}{}
		if err := strictly(body, &asked); err != nil {
			return fmt.Errorf("target %s: %w", frame.RefID, err)
		}
		t.Query = asked.Query
	case Prometheus:
		asked := struct {
			RefID        string     `json:"refId"`
			Datasource   DataSource `json:"datasource"`
			Expr         string     `json:"expr"`
			LegendFormat string     `json:"legendFormat"`
			Format       string     `json:"format"`
			Instant      bool       `json:"instant"`
			Range        bool       `json:"range"`
		}{}
		if err := strictly(body, &asked); err != nil {
			return fmt.Errorf("target %s: %w", frame.RefID, err)
		}
		t.Expr, t.Instant = asked.Expr, asked.Instant
	default:
		return fmt.Errorf("target %s asks a data source of type %q: ours are %s and %s", frame.RefID, frame.Datasource.Type, Wattledger, Prometheus)
	}
	return nil
}

func strictly(body []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

// Dashboards are all that are provisioned, in the order of their uids.
func Dashboards() ([]Dashboard, error) {
	files, err := Files()
	if err != nil {
		return nil, err
	}
	names, err := fs.Glob(files, "*.json")
	if err != nil {
		return nil, fmt.Errorf("list dashboards: %w", err)
	}
	var out []Dashboard
	for _, name := range names {
		body, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("read dashboard: %w", err)
		}
		d, err := parse(body)
		if err != nil {
			return nil, fmt.Errorf("read dashboard %s: %w", strings.TrimSuffix(path.Base(name), ".json"), err)
		}
		out = append(out, d)
	}
	return out, nil
}

func parse(body []byte) (Dashboard, error) {
	var d Dashboard
	err := json.Unmarshal(body, &d)
	return d, err
}

// Files are the dashboards as Grafana reads them, one file each, named after the uid.
func Files() (fs.FS, error) {
	sub, err := fs.Sub(generated, "boards")
	if err != nil {
		return nil, fmt.Errorf("open the dashboards: %w", err)
	}
	return sub, nil
}

// Expression is one PromQL of a panel.
type Expression struct {
	Dashboard string
	Panel     int
	RefID     string
	Expr      string
}

// PromQL are the expressions of all panels that ask Prometheus. They may hold variables of Grafana, such as $__rate_interval.
func PromQL(dashboards []Dashboard) []Expression {
	var out []Expression
	for _, d := range dashboards {
		for _, p := range d.Panels {
			for _, t := range p.Targets {
				if t.Datasource.Type == Prometheus {
					out = append(out, Expression{Dashboard: d.UID, Panel: p.ID, RefID: t.RefID, Expr: t.Expr})
				}
			}
		}
	}
	return out
}
