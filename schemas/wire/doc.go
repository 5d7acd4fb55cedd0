// Package wire turns records into the protobuf messages of the Kafka topics and back.
//
// It owns topic names, the schema version, what a valid message is, and the order of columns. A sample message is
// columnar, so that ingest appends whole columns and parses nothing per value. The messages are in wattledger/v1.
package wire
