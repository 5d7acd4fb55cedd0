// Package kafkacluster runs Apache Kafka itself on this machine, for tests and for trying things out.
//
// It owns the brokers' processes, their configuration and their data, which lie in one folder of the caller's. It promises
// that every broker answers when Start returns, that each keeps its address and its data through Kill and Restart, and that
// none outlives the process that started it. The brokers are in KRaft mode, each is a controller as well, and they listen
// on loopback only. `make kafka` fetches what they are made of. What is sent to them is left to others.
package kafkacluster
