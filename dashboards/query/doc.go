// Package query holds the questions that dashboards ask and turns each into SQL: the only SQL that reads for people.
//
// A question names a kind, a metric, dimensions and filters; it never carries SQL, and what it carries goes to the engine as
// parameters. Who asks is a Scope, which the caller takes from a verified identity or from configuration and which no question can
// widen. The level that is read follows from the range and the width of the panel, so that no panel gets more points than pixels.
// Amounts come from the ledger as they stand there: nothing here adds a factor, a price or a rule.
//
// The package does no I/O and knows no client library: dashboards/clickhouse runs what it plans.
package query
