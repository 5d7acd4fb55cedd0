// Package kafka holds what Apache Kafka for tests is made of (pom.xml, and the digests of its jars), and the tests that run
// the pipeline against it: collector's queue, Kafka, ingest, the embedded engine.
//
// It promises that what the embedded broker is told to be, Kafka is: stored = sent, nothing twice, whatever broker is killed,
// over TLS, with a login, with the rights that docs/kafka.md names and no others. Without Java and jars the tests are skipped.
package kafka
