// Package clickhouse writes batches of ingest/pipeline to ClickHouse and recalls what is stored.
//
// It owns the inserts into samples, messages and the dimension tables, and the reading of samples and messages by offset
// and by identity. It promises that one insert is one block into one table partition, hence stored whole or not at all;
// that the same call makes the same bytes under the same deduplication token; and that an error says whether the rows are
// at fault (pipeline.ErrRows) or the world is. Waiting and trying again belong to pipeline.Deliverer, tables to
// schemas/clickhouse.
//
// Rows travel as ClickHouse's Native format, column by column, with no call per value.
package clickhouse
