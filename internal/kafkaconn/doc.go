// Package kafkaconn is how every process of ours reaches Kafka.
//
// It owns the connection settings, a producer whose nil error means durable, and a
// consumer that commits nothing on its own: a partition is claimed for one generation of
// the group, its owner decides what a batch is and when it is stored, and only then
// commits. A claim whose generation is over cannot commit any more (ErrFenced), and a
// range the broker has thrown away is an error with both offsets, never a silent jump.
//
// It knows no topic and no message format; those belong to the trees that use it.
package kafkaconn
