-- Codecs as docs/storage.md found them, and rollups. A new codec holds for parts written from now on; merges rewrite the others.
-- +goose Up
-- +goose StatementBegin
ALTER TABLE {{.Table "samples"}}
    MODIFY COLUMN seq CODEC({{.RowCodec "seq"}}),
    MODIFY COLUMN tick CODEC({{.RowCodec "tick"}}),
    MODIFY COLUMN energy_ts CODEC({{.RowCodec "energy_ts"}}),
    MODIFY COLUMN period_ms CODEC({{.RowCodec "period_ms"}}),
    MODIFY COLUMN received CODEC({{.RowCodec "received"}}),
    MODIFY COLUMN kafka_partition CODEC({{.RowCodec "kafka_partition"}}),
    MODIFY COLUMN kafka_offset CODEC({{.RowCodec "kafka_offset"}})
{{- range .Counters}},
    MODIFY COLUMN {{.Name}} CODEC({{$.Codec .}})
{{- end}}
{{- range .Gauges}},
    MODIFY COLUMN {{.Name}} CODEC({{$.Codec .}})
{{- end}}
{{- range .Codes}},
    MODIFY COLUMN {{.Name}} CODEC({{$.Codec .}})
{{- end}};
-- +goose StatementEnd
-- Rollups look for what came lately, whatever hours it is of.
-- +goose StatementBegin
ALTER TABLE {{.Table "samples"}} ADD INDEX IF NOT EXISTS by_tick tick TYPE minmax GRANULARITY 1;
-- +goose StatementEnd
-- +goose StatementBegin
ALTER TABLE {{.Table "messages"}}
    MODIFY COLUMN seq CODEC(Delta, ZSTD(3)),
    MODIFY COLUMN previous_run_last_seq CODEC(ZSTD(3)),
    MODIFY COLUMN schema_version CODEC(ZSTD(3)),
    MODIFY COLUMN complete_up_to CODEC(Delta, ZSTD(3)),
    MODIFY COLUMN rows CODEC(ZSTD(3)),
    MODIFY COLUMN first_tick CODEC(Delta, ZSTD(3)),
    MODIFY COLUMN last_tick CODEC(Delta, ZSTD(3)),
    MODIFY COLUMN received CODEC(GCD, Delta, ZSTD(1)),
    MODIFY COLUMN kafka_partition CODEC(ZSTD(3)),
    MODIFY COLUMN kafka_offset CODEC(Delta, ZSTD(1)),
    ADD INDEX IF NOT EXISTS by_received received TYPE minmax GRANULARITY 1;
-- +goose StatementEnd
-- A part that one insert makes has one file for all columns; a file for each of fifty columns would cost more than to write them.
-- Merges soon make large parts, and those have a file for each column, which queries of few columns want.
-- +goose StatementBegin
ALTER TABLE {{.Table "samples"}} MODIFY SETTING min_bytes_for_wide_part = 268435456;
-- +goose StatementEnd
-- Lines go with whole parts, as samples do, and nothing is rewritten for it. How long they are kept is configured.
-- +goose StatementBegin
ALTER TABLE {{.Table "messages"}} MODIFY SETTING ttl_only_drop_parts = 1;
-- +goose StatementEnd

-- One row per device, run, energy epoch and bucket, built from all samples of the bucket that are stored. The row that knows most
-- ticks counts, so it does not matter how often a bucket is built, nor in which order. A counter's first value in a bucket is its least.
-- Sentinels stand for absent values, as in samples. Aged by receipt, as samples are.
{{- range .Tiers}}
-- +goose StatementBegin
CREATE TABLE IF NOT EXISTS {{$.Table .Table}}
(
    site LowCardinality(String),
    node LowCardinality(String),
    device LowCardinality(String),
    run LowCardinality(String) COMMENT 'hex of 16 bytes',
    energy_epoch UInt32 CODEC(ZSTD(1)),
    bucket DateTime('UTC') COMMENT 'its begin; {{.Seconds}} s long' CODEC(Delta, ZSTD(3)),
    ticks UInt32 COMMENT 'distinct ticks of the samples it is built from' CODEC(ZSTD(1)),
    first_tick DateTime64(6, 'UTC') CODEC(Delta, ZSTD(3)),
    last_tick DateTime64(6, 'UTC') CODEC(Delta, ZSTD(3)),
    first_energy_ts UInt64 CODEC(Delta, ZSTD(3)),
    last_energy_ts UInt64 CODEC(Delta, ZSTD(3)),
    received DateTime64(6, 'UTC') COMMENT 'of the last sample in it' CODEC(GCD, Delta, ZSTD(1))
{{- range $.Counters}},
    {{.Name}}_min UInt64 CODEC({{$.Codec .}}),
    {{.Name}}_max UInt64 CODEC({{$.Codec .}})
{{- end}}
{{- range $.Gauges}},
    {{.Name}}_min Float32 CODEC({{$.Codec .}}),
    {{.Name}}_max Float32 CODEC({{$.Codec .}})
{{- end}}
{{- range $.Rolled}},
    {{.Name}} UInt32 CODEC({{$.Codec .}})
{{- end}}
)
ENGINE = {{$.Engine .Table "ReplacingMergeTree" "ticks"}}
PARTITION BY {{.Partition}}(bucket)
ORDER BY (site, {{.Coarse}}(bucket), device, run, energy_epoch, bucket)
{{$.Settings "ttl_only_drop_parts = 1"}};
-- +goose StatementEnd
{{$.Distributed .Table "cityHash64(device)"}}
{{- end}}

-- How far each level has come in each Kafka partition.
-- +goose StatementBegin
CREATE TABLE IF NOT EXISTS {{.Table "rollup_progress"}}
(
    tier LowCardinality(String),
    kafka_partition Int32,
    kafka_offset Int64 COMMENT 'messages up to it are rolled up',
    received DateTime64(6, 'UTC') COMMENT 'of the latest of them',
    at DateTime64(6, 'UTC') COMMENT 'when that was'
)
ENGINE = {{.Engine "rollup_progress" "ReplacingMergeTree" "at"}}
ORDER BY (tier, kafka_partition)
{{.Settings ""}};
-- +goose StatementEnd
{{.Distributed "rollup_progress" "kafka_partition"}}
