// Package kafka connects ingest to Kafka: it consumes the topics that have a table, and publishes.
//
// It owns the order fetch, deliver, commit for each partition it is assigned, and the publishing of refused messages and
// of what the import commands read. It promises that an offset is committed only after everything below it took effect.
// What a batch is belongs to ingest/pipeline, the group and its generations to internal/kafkaconn.
package kafka
