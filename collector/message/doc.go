// Package message is what leaves a node: encoded messages with their topic, their key, and the mark by which they are known.
//
// It owns how the collector's words become bytes. It promises that a message that ingest would refuse is refused here
// first, and that the bytes of a message follow from its content alone. Where messages wait and how they travel is a
// Sink's business: the spool on the node's disk, or Kafka itself.
package message
