// Package kafka runs a Kafka broker inside the process, so that one machine needs no server.
//
// It owns DATA/kafka: the log and the committed offsets under log/, a lock that keeps a second
// broker away, and the file endpoint, where other processes find the address. It speaks the real
// protocol over TCP (the broker is franz-go's kfake), so that the code under test is the code
// that runs against a cluster.
//
// What it promises: an acknowledged message and a committed offset are in the operating system's
// hands, so they survive the end of the process, kill -9 included. A loss of power or a crash of
// the kernel may take the last seconds, as with Kafka's own defaults on one node, unless
// SyncWrites asks for an fsync per batch. What it leaves out: replication, logins, quotas, and
// everything else that needs more than one machine.
package kafka
