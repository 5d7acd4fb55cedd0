package clickhouse

// Unmeasured are the tables of which no statistics are made.
var Unmeasured = unmeasuredTables
