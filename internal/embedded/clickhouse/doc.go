// Package clickhouse runs the ClickHouse engine inside this process and answers ClickHouse's HTTP interface for it.
//
// It owns one data directory (DATA/clickhouse), the lock on it, the password that guards it and the loopback listener.
// It promises that an acknowledged insert survives the death of the process, that a statement cannot read or write files
// outside the data directory, and that whatever it refuses is answered with a ClickHouse exception and counted.
// It leaves the library itself to `make setup`, clients to internal/chconn and tables to schemas/clickhouse.
//
// The engine is libchdb, loaded at run time without cgo. A process holds one engine on one data path; every HTTP request
// gets a session of its own, so that nothing one request sets can be seen by the next.
//
// Three walls keep a statement inside the data directory, because no single one is enough:
// the engine's own grants (no sources at all: no file, url, s3, remote), readonly for everything that is not a write,
// and a look at the statement's words for what the engine does not check: the scalar function file(), INTO OUTFILE,
// FROM INFILE, and table engines that reach outside.
package clickhouse
