// Package schemas is the shared language of the collector, ingest, aggregator and dashboards trees.
//
// Its packages own units, records, wire messages, tables and factors. They import nothing else of ours,
// so that the four trees meet as bytes in Kafka and rows in ClickHouse and nowhere else.
package schemas
