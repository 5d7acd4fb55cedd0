-- Samples as received: one wide row per device and tick. Nobody but ingest reads this table; the view `sample` turns
-- sentinels into NULL. Partitioned by day of receipt, and aged by it, so that old logs can be replayed. Ordered by hour
-- first: closing an hour then reads that hour only.
-- +goose Up
-- +goose StatementBegin
CREATE TABLE {{.Table "samples"}}
(
    site LowCardinality(String),
    node LowCardinality(String),
    device LowCardinality(String),
    run LowCardinality(String) COMMENT 'hex of 16 bytes',
    seq UInt64,
    boot LowCardinality(String) COMMENT 'hex of 16 bytes',
    driver LowCardinality(String),
    energy_source Enum8('unknown' = 0, 'hardware' = 1, 'integrated' = 2, 'none' = 3),
    tick DateTime64(6, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    energy_ts UInt64 COMMENT 'microseconds since 1970 by the counter''s own clock; all ones: absent' CODEC(DoubleDelta, ZSTD(1)),
    period_ms UInt32 CODEC(ZSTD(1)),
    received DateTime64(6, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    kafka_partition Int32 CODEC(ZSTD(1)),
    kafka_offset Int64 CODEC(Delta, ZSTD(1)),
{{- range .Counters}}
    {{.Name}} UInt64 COMMENT '{{.Help}}' CODEC(Delta, ZSTD(1)),
{{- end}}
{{- range .Gauges}}
    {{.Name}} Float32 COMMENT '{{.Help}}' CODEC(ZSTD(1)),
{{- end}}
{{- range .Codes}}
    {{.Name}} UInt32 COMMENT '{{.Help}}' CODEC(ZSTD(1)),
{{- end}}
    INDEX by_offset (kafka_partition, kafka_offset) TYPE minmax GRANULARITY 1
)
ENGINE = {{.Engine "samples" "MergeTree"}}
PARTITION BY toYYYYMMDD(received)
ORDER BY (site, toStartOfHour(tick), device, tick)
TTL toDateTime(received) + INTERVAL 400 DAY
{{.Settings "ttl_only_drop_parts = 1"}};
-- +goose StatementEnd
{{.Distributed "samples" "cityHash64(node)"}}
-- +goose StatementBegin
CREATE VIEW sample {{.OnCluster}} AS
SELECT site, node, device, run, seq, boot, driver, energy_source, tick, period_ms, received, kafka_partition, kafka_offset,
    if(energy_ts = 18446744073709551615, NULL, toInt64(energy_ts)) AS energy_ts
{{- range .Counters}},
    nullIf({{.Name}}, 18446744073709551615) AS {{.Name}}
{{- end}}
{{- range .Gauges}},
    if(isNaN({{.Name}}), NULL, {{.Name}}) AS {{.Name}}
{{- end}}
{{- range .Codes}},
    nullIf({{.Name}}, 4294967295) AS {{.Name}}
{{- end}}
FROM samples;
-- +goose StatementEnd

-- One row per message stored: what was declared complete, what is missing between sequences, what came twice.
-- +goose StatementBegin
CREATE TABLE {{.Table "messages"}}
(
    topic LowCardinality(String),
    site LowCardinality(String),
    source LowCardinality(String) COMMENT 'the node, or the scheduler or meter that sent it',
    run LowCardinality(String),
    seq UInt64,
    previous_run LowCardinality(String),
    previous_run_last_seq UInt64,
    schema_version UInt32,
    complete_up_to DateTime64(6, 'UTC'),
    rows UInt32,
    first_tick DateTime64(6, 'UTC'),
    last_tick DateTime64(6, 'UTC'),
    received DateTime64(6, 'UTC'),
    kafka_partition Int32,
    kafka_offset Int64,
    INDEX by_run run TYPE bloom_filter GRANULARITY 1,
    INDEX by_offset (kafka_partition, kafka_offset) TYPE minmax GRANULARITY 1
)
ENGINE = {{.Engine "messages" "MergeTree"}}
PARTITION BY toYYYYMM(received)
ORDER BY (topic, site, source, complete_up_to)
{{.Settings ""}};
-- +goose StatementEnd
{{.Distributed "messages" "cityHash64(source)"}}
