// Package rollup decides which buckets of samples are built, and in which order.
//
// Each level is built from the one below: 10 s from samples, a minute from 10 s, an hour from minutes. Sums by node follow, from the level
// of the same width. What has to be built follows from
// the lines of messages stored since the last pass, by Kafka offset: they say whose samples of which time came in, be it the last minute
// or last month. A bucket is always built whole, from all that is stored of it, and the row that knows more ticks replaces the
// other. So a pass may be cut off, repeated, or made by two ingesters at once: the rows are the same.
//
// A bucket of a sum rests on the last readings before it, too: counters are what they grew by since. So of sums the buckets that follow
// what was touched are built with it.
//
// It promises that a level never goes further than the one below it, and that the progress noted is never ahead of the rows built. It does
// no I/O and is handed its time; ingest/clickhouse reads and builds.
package rollup
