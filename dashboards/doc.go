// Package dashboards shows what the ledger and the telemetry say, and computes no amount of its own.
//
//	query/       the questions that panels ask, and the only SQL that reads for them: by scope, with rollups chosen by range
//	clickhouse/  runs those questions on the engine
//	datasource/  the Grafana data source plugin: pkg/ in Go, src/ in TypeScript
//	grafana/     dashboards as code, alert rules, what an operator provisions
//	render/      draws dashboards in a browser, without Grafana, for tests
package dashboards
