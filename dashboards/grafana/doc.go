// Package grafana holds the dashboards that an operator provisions, and reads them back for whoever has to know what they ask.
//
// The dashboards are written in TypeScript under src with Grafana's Foundation SDK; the JSON under boards is generated from it
// (npm run generate -w wattledger-grafana, part of make generate) and never edited. What the package promises of every dashboard
// stands in its tests: each question is one that the catalogue of dashboards/query knows, each link leads to a dashboard that takes
// its variables, each unit is the metric's own. Alert rules lie in alerts, what Grafana reads at its start in provisioning.
package grafana
