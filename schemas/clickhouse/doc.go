// Package clickhouse owns the tables: numbered migrations in SQL, rendered in one of two flavours from one source and
// applied by goose.
//
// Single is one server with MergeTree tables. Cluster is Replicated tables named X_local on every server of the cluster
// and a Distributed table X over them. Forward only: a table that went wrong is mended by the next migration.
package clickhouse
