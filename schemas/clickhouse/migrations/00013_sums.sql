-- Sums for whoever looks at more than single devices: of the rollups by node, and of the ledger by node and holder. No account rests on
-- them: all can be built again from the rollups, the entries and the device-hours.
-- +goose Up

-- One row per node, model of GPU and bucket, for each level of rollups. Counters are what they grew by since the device's last reading
-- before the bucket, so buckets of any range add up to what the counters grew by. The row that knows most counts, so it does not matter
-- how often a bucket is built, nor in which order. One without devices stands for a model that the inventory corrected: the views leave it out.
{{- range .Sums}}
-- +goose StatementBegin
CREATE TABLE IF NOT EXISTS {{$.Table .Table}}
(
    site LowCardinality(String), node LowCardinality(String),
    model LowCardinality(String) COMMENT 'of the GPUs; empty while the inventory does not know them',
    bucket DateTime('UTC') COMMENT 'its begin; {{.Seconds}} s long' CODEC(Delta, LZ4),
    devices UInt32 COMMENT 'GPUs that were read' CODEC(T64, LZ4),
    power_mw Int64 COMMENT 'sum of their mean power' CODEC(T64, LZ4),
    energy_mj Int64 CODEC(T64, LZ4),
    span_us Int64 COMMENT 'sum of the time that the activity below is of' CODEC(T64, LZ4),
    sm_active_us Int64 CODEC(T64, LZ4), tensor_active_us Int64 CODEC(T64, LZ4), dram_active_us Int64 CODEC(T64, LZ4), gr_engine_active_us Int64 CODEC(T64, LZ4),
    nvlink_bytes Int64 COMMENT 'both ways' CODEC(T64, LZ4), pcie_bytes Int64 COMMENT 'both ways' CODEC(T64, LZ4),
    power_violation_ns Int64 CODEC(T64, LZ4), thermal_violation_ns Int64 CODEC(T64, LZ4),
    ecc_sbe Int64 CODEC(T64, LZ4), ecc_dbe Int64 CODEC(T64, LZ4), pcie_replays Int64 CODEC(T64, LZ4),
    ticks_expected Int64 CODEC(T64, LZ4), ticks_read Int64 CODEC(T64, LZ4),
    gpu_temp_c_max Float32 COMMENT 'NaN: not read' CODEC(LZ4), memory_temp_c_max Float32 COMMENT 'NaN: not read' CODEC(LZ4),
    fb_used_mib Float64 COMMENT 'sum of the most of each' CODEC(LZ4), power_limit_w Float64 COMMENT 'sum of the most of each' CODEC(LZ4),
    xids UInt32 COMMENT 'GPUs that had an XID' CODEC(T64, LZ4),
    received DateTime64(6, 'UTC') COMMENT 'of the last sample in it' CODEC(GCD, Delta, ZSTD(1)),
    known UInt64 COMMENT 'the more, the more samples it is built from' CODEC(T64, LZ4)
)
ENGINE = {{$.Engine .Table "ReplacingMergeTree" "known"}}
PARTITION BY {{.Partition}}(bucket)
ORDER BY (site, {{.Coarse}}(bucket), node, model, bucket)
{{$.Settings "ttl_only_drop_parts = 1"}};
-- +goose StatementEnd
{{$.Distributed .Table "cityHash64(node)"}}
-- +goose StatementBegin
CREATE OR REPLACE VIEW {{.View}} {{$.OnCluster}} AS
SELECT site, node, model, bucket, devices, power_mw, energy_mj, span_us, sm_active_us, tensor_active_us, dram_active_us, gr_engine_active_us,
    nvlink_bytes, pcie_bytes, power_violation_ns, thermal_violation_ns, ecc_sbe, ecc_dbe, pcie_replays, ticks_expected, ticks_read,
    if(isNaN(gpu_temp_c_max), NULL, gpu_temp_c_max) AS gpu_temp_c_max, if(isNaN(memory_temp_c_max), NULL, memory_temp_c_max) AS memory_temp_c_max,
    fb_used_mib, power_limit_w, xids, received
FROM {{.Table}} FINAL WHERE devices > 0;
-- +goose StatementEnd
{{- end}}
-- Who looks for the last reading before a long gap asks by run; one that has just begun is in none of it.
{{- range .Tiers}}{{if ne .Source "samples"}}
-- +goose StatementBegin
ALTER TABLE {{$.Table .Table}} ADD INDEX IF NOT EXISTS by_run run TYPE bloom_filter GRANULARITY 1;
-- +goose StatementEnd
-- +goose StatementBegin
ALTER TABLE {{$.Table .Table}} MATERIALIZE INDEX by_run;
-- +goose StatementEnd
{{- end}}{{end}}

-- A batch's entries by hour, node and holder. Rows add up: what later batches adjust is in rows of theirs.
-- +goose StatementBegin
CREATE TABLE IF NOT EXISTS {{.Table "hour_sums"}}
(
    site LowCardinality(String), hour DateTime('UTC') CODEC(Delta, LZ4), node LowCardinality(String), model LowCardinality(String),
    account Enum8('tenant' = 1, 'unallocated' = 2, 'held_idle' = 3, 'platform' = 4), tenant LowCardinality(String),
    project LowCardinality(String), model_id LowCardinality(String), purpose LowCardinality(String),
    entries UInt32 CODEC(T64, LZ4)
{{- range .Added}},
    {{.}} Int64 CODEC(T64, LZ4)
{{- end}},
    batch UInt64 CODEC(T64, LZ4), root LowCardinality(String) COMMENT 'hex, the seal these sums were inserted for',
    sealed UInt64 DEFAULT cityHash64(site, batch, root) COMMENT 'tells seals apart faster than their roots do' CODEC(LZ4)
)
ENGINE = {{.Engine "hour_sums" "ReplacingMergeTree"}}
PARTITION BY toYYYYMM(hour)
ORDER BY (site, toStartOfDay(hour), tenant, node, hour, model, account, project, model_id, purpose, batch, root)
{{.Settings ""}};
-- +goose StatementEnd
{{.Distributed "hour_sums" "cityHash64(site)"}}
-- +goose StatementBegin
CREATE OR REPLACE VIEW hour_sum {{.OnCluster}} AS
SELECT site, hour, node, model, account, tenant, project, model_id, purpose, entries{{range .Added}}, {{.}}{{end}}, batch, root
FROM hour_sums FINAL WHERE sealed IN (SELECT cityHash64(site, batch, root) FROM seals FINAL);
-- +goose StatementEnd

-- What a batch says of the quality of device-hours, by hour and node: of lines that it says again, the difference to what was said
-- before. So rows add up, as entries and their adjustments do, and the sum is that of the lines that count.
-- +goose StatementBegin
CREATE TABLE IF NOT EXISTS {{.Table "quality_sums"}}
(
    site LowCardinality(String), hour DateTime('UTC') CODEC(Delta, LZ4), node LowCardinality(String),
    kind LowCardinality(String) COMMENT 'gpu, cpu, or node or site of a meter', model LowCardinality(String)
{{- range .Quality}},
    {{.}} Int64 CODEC(T64, LZ4)
{{- end}},
    batch UInt64 CODEC(T64, LZ4), root LowCardinality(String) COMMENT 'hex, the seal these sums were inserted for',
    sealed UInt64 DEFAULT cityHash64(site, batch, root) COMMENT 'tells seals apart faster than their roots do' CODEC(LZ4)
)
ENGINE = {{.Engine "quality_sums" "ReplacingMergeTree"}}
PARTITION BY toYYYYMM(hour)
ORDER BY (site, toStartOfDay(hour), node, hour, kind, model, batch, root)
{{.Settings ""}};
-- +goose StatementEnd
{{.Distributed "quality_sums" "cityHash64(site)"}}
-- +goose StatementBegin
CREATE OR REPLACE VIEW quality_sum {{.OnCluster}} AS
SELECT site, hour, node, kind, model{{range .Quality}}, {{.}}{{end}}, batch, root
FROM quality_sums FINAL WHERE sealed IN (SELECT cityHash64(site, batch, root) FROM seals FINAL);
-- +goose StatementEnd

-- What is in the ledger already, batch by batch: entries lie in that order, so it takes little memory. Done twice it is done once.
-- +goose StatementBegin
{{.SumEntries "1"}} SETTINGS optimize_aggregation_in_order = 1, distributed_product_mode = 'global';
-- +goose StatementEnd
-- +goose StatementBegin
{{.SumQuality "1"}} SETTINGS distributed_product_mode = 'global';
-- +goose StatementEnd
