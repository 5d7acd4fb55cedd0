// Package pipeline turns the messages of one Kafka partition into batches of rows.
//
// It owns what a message must be to be stored (decoded, valid, with an identity), which deliveries are repeats, where
// sequences have holes, how rows are gathered by column, and in which order a batch takes effect. It promises that a
// message lands in exactly one place: the rows of a batch, the repeats, or the refused; and that a batch lies within one
// day of receipt, so that no insert spans two table partitions.
//
// It does no I/O: time, what the database holds, the store and the quarantine are handed in. One goroutine at a time
// uses a Pipeline. How rows are written belongs to ingest/clickhouse, how messages come to ingest/kafka.
package pipeline
