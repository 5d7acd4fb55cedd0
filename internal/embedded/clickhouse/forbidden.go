package clickhouse

import "strings"

// deniedEngines are the table and database engines that reach outside the data directory. The engine's grants stop their
// reads, not their making. A test holds that every engine the library knows is either here or in allowedEngines.
var deniedEngines = lowerSet(`ArrowStream AzureBlobStorage AzureQueue COSN DeltaLake DeltaLakeAzure DeltaLakeLocal DeltaLakeS3
	EmbeddedRocksDB Executable ExecutablePool File FileLog FuzzJSON FuzzQuery GCS HDFS Hudi Iceberg IcebergAzure IcebergHDFS IcebergLocal
	IcebergS3 JDBC Kafka KeeperMap Loop MaterializedPostgreSQL MongoDB MySQL NATS ODBC OSS Paimon PaimonAzure PaimonHDFS PaimonLocal PaimonS3
	PostgreSQL RabbitMQ Redis S3 S3Queue SQLite TimeSeries URL YTsaurus
	Filesystem Overlay Backup DataLakeCatalog MaterializedMySQL Remote`)

// allowedEngines keep their data in the data directory, in memory, or nowhere.
var allowedEngines = lowerSet(`MergeTree ReplacingMergeTree SummingMergeTree AggregatingMergeTree CollapsingMergeTree CoalescingMergeTree
	VersionedCollapsingMergeTree GraphiteMergeTree ReplicatedMergeTree ReplicatedReplacingMergeTree ReplicatedSummingMergeTree
	ReplicatedAggregatingMergeTree ReplicatedCollapsingMergeTree ReplicatedCoalescingMergeTree ReplicatedVersionedCollapsingMergeTree
	ReplicatedGraphiteMergeTree Memory Null View MaterializedView WindowView Merge Distributed Buffer Log TinyLog StripeLog Set Join
	Dictionary GenerateRandom Alias Atomic Ordinary Replicated Lazy`)

func lowerSet(words string) map[string]bool { return wordSet(strings.ToLower(words)) }

// forbidden refuses what the engine itself would let through. It sees every word with the two before it.
func (p *parser) forbidden(t token) error {
	name := t.kind == tokenWord || t.kind == tokenQuoted
	switch {
	case name && strings.EqualFold(t.text, "file"):
		// The scalar function reads any file and asks no grant; APPLY(file) and arrayMap(file, …) need no parenthesis after it.
		return refuse(codeAccessDenied, "file", "file() is not available in the embedded engine; a table or column cannot be named file")
	case p.last.is("INTO") && t.is("OUTFILE"):
		return refuse(codeAccessDenied, "outfile", "INTO OUTFILE is not available over HTTP: write the response to a file")
	case p.last.is("FROM") && t.is("INFILE"):
		return refuse(codeAccessDenied, "infile", "FROM INFILE is not available over HTTP: send the file as the request's body")
	case p.create && p.last.is("FROM") && t.kind == tokenString:
		// ATTACH TABLE … FROM 'path' moves a directory of the machine into the engine's own.
		return refuse(codeAccessDenied, "outside", "FROM with a path is not available in the embedded engine")
	case p.create && t.isPunct('(') && strings.EqualFold(p.last.text, "disk"):
		return refuse(codeAccessDenied, "outside", "disk(…) is not available in the embedded engine: tables lie in the data directory")
	case p.create && name && p.afterEngine() && deniedEngines[strings.ToLower(t.text)]:
		return refuse(codeAccessDenied, "engine", "ENGINE = %s is not available in the embedded engine, because it reaches outside the data directory", t.text)
	}
	return nil
}

func (p *parser) afterEngine() bool {
	return p.last.is("ENGINE") || p.last.isPunct('=') && p.beforeLast.is("ENGINE")
}
