package query

import (
	"math"
	"time"
)

// Kind is what a question is about. Each kind has its metrics, see Metrics.
type Kind string

// The kinds.
const (
	// KindFleet is power and activity of many devices over time, from sums per node that are kept beside the rollups.
	KindFleet Kind = "fleet"
	// KindDevice is what single devices read over time: one series for each device.
	KindDevice Kind = "device"
	// KindUsage is device time from the ledger, by hour and coarser.
	KindUsage Kind = "usage"
	// KindEnergy is energy from the ledger.
	KindEnergy Kind = "energy"
	// KindCarbon is carbon, water and reused heat from the ledger.
	KindCarbon Kind = "carbon"
	// KindLedger is the ledger itself: batches, entries, adjustments, the state of each hour.
	KindLedger Kind = "ledger"
	// KindCoverage is how good the data are: coverage, gaps, second opinion, bounds.
	KindCoverage Kind = "coverage"
	// KindPipeline is how fresh the data are: age of the last sample, delay from tick to row, rows per second, open hours.
	KindPipeline Kind = "pipeline"
	// KindSovereignty is where device time ran and whether the tenant allows it.
	KindSovereignty Kind = "sovereignty"
	// KindEvents is what happened: XIDs, incidents, violations, closings. Also the annotations.
	KindEvents Kind = "events"
	// KindInventory is what exists: sites, nodes, devices, tenants, allocations.
	KindInventory Kind = "inventory"
	// KindSQL is a statement of the operator's own. Never with a tenant scope, and off unless the data source allows it.
	KindSQL Kind = "sql"
)

// Form is the shape of the answer.
type Form string

// The forms.
const (
	// FormSeries is one frame per series: a time column and a number column with labels. Gaps are absent numbers.
	FormSeries Form = "series"
	// FormTable is one frame with a row per combination of the dimensions asked for, over the whole range.
	FormTable Form = "table"
	// FormTotal is one frame with one row: one number over the whole range.
	FormTotal Form = "total"
)

// Dimension is something to filter and to group by.
type Dimension string

// The dimensions. Which of them a metric knows, Metrics says.
const (
	Site       Dimension = "site"
	Rack       Dimension = "rack"
	Node       Dimension = "node"
	DeviceID   Dimension = "device"
	Model      Dimension = "model"
	Tenant     Dimension = "tenant"
	Account    Dimension = "account"
	Project    Dimension = "project"
	Workload   Dimension = "workload"
	Allocation Dimension = "allocation"
	ModelID    Dimension = "model_id"
	Purpose    Dimension = "purpose"
	Verdict    Dimension = "verdict"
	EventKind  Dimension = "event"
	EntryID    Dimension = "entry"      // an entry of the ledger by its id
	Component  Dimension = "component"  // of energy: gpu, cpu, node_rest, it_shared, facility
	Provenance Dimension = "provenance" // of energy: measured, estimated, modelled
)

// Filter keeps what has one of the values. No values keep all. A value is compared as it is, never as a pattern.
type Filter struct {
	Dimension Dimension `json:"dimension"`
	Values    []string  `json:"values"`
}

// Query is what a panel asks, as it stands in a dashboard's JSON.
type Query struct {
	Kind   Kind   `json:"kind"`
	Metric string `json:"metric"`
	Form   Form   `json:"form"`
	// By are the dimensions to group by; empty gives one line for all.
	By      []Dimension `json:"by,omitempty"`
	Filters []Filter    `json:"filters,omitempty"`
	// Limit keeps the largest so many series or rows; 0 is the metric's own limit. What is left out is said in a notice, and of
	// series that add up it is summed as "other".
	Limit int `json:"limit,omitempty"`
	// ClosedOnly leaves out provisional hours, which are otherwise a series or rows of their own.
	ClosedOnly bool `json:"closedOnly,omitempty"`
	// SQL is the statement of KindSQL.
	SQL string `json:"sql,omitempty"`
}

// Span is the time asked for and how finely the panel can show it.
type Span struct {
	From, To time.Time
	// MaxPoints is how many points the panel has pixels for; 0 stands for 1,000.
	MaxPoints int
	// Interval is the least the panel wants between two points; 0 leaves it to MaxPoints.
	Interval time.Duration
	// Zone is whose midnight begins a day where points are a day or more apart; nil is UTC.
	Zone *time.Location
}

// Scope is who asks. The zero value may see nothing: a read path that forgets to set it answers ErrNoScope.
type Scope struct {
	// All is the operator, who sees every tenant.
	All bool
	// Tenant sees its own: its entries, and what devices read while it held the whole of them (or of the MIG instance).
	Tenant string
}

// Type is that of a column.
type Type uint8

// The types.
const (
	Time Type = iota + 1
	Number
	Text
	Flag
)

// Column is one field of a frame. The slice of its type has a value for each row.
type Column struct {
	Name string
	Type Type
	// Unit is Grafana's id of it (watt, watth, massg, …); empty is a plain number.
	Unit string
	// Labels tell one series from another: dimension and value, and account, boundary or method where they matter.
	Labels map[string]string
	// Provisional marks what no closed hour of the ledger stands behind yet.
	Provisional bool

	Times   []time.Time
	Numbers []float64 // Absent where there is none
	Texts   []string
	Flags   []bool
}

// Absent is the value of a number that is not known. It is drawn as a gap, never as zero.
var Absent = math.NaN()

// Frame is one table of an answer.
type Frame struct {
	// Name is that of the series or table.
	Name    string
	Columns []Column
	// Notices are said beside the figures: what was left out, what is estimated, what a number rests on.
	Notices []string
	// Source is the level that was read: samples, rollup_10s, …, subtotal, entry.
	Source string
	// Step is the time between two points of a series.
	Step time.Duration
	// AsOf is, of ledger figures, the number of batches of each site that they rest on.
	AsOf map[string]uint64
}

// Value is one choice of a variable.
type Value struct {
	Text  string `json:"text"`
	Value string `json:"value"`
}
