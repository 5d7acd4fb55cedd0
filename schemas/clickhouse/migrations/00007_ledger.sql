-- What a ledger entry rests on, what is known about the quality of an hour, and the sums that a tenant's statement is proved by.
-- +goose Up
-- +goose StatementBegin
ALTER TABLE {{.Table "entries"}}
    MODIFY COLUMN account Enum8('tenant' = 1, 'unallocated' = 2, 'held_idle' = 3, 'platform' = 4),
    ADD COLUMN IF NOT EXISTS uncertainty_mj Int64 COMMENT 'by how much sensors and models can be off, in sum',
    ADD COLUMN IF NOT EXISTS idle_limit Int64 COMMENT 'activity in thousandths under which held time is held_idle',
    ADD COLUMN IF NOT EXISTS carbon_market_ug Int64 COMMENT 'market-based; carbon_ug is location-based, and the two are never summed',
    ADD COLUMN IF NOT EXISTS carbon_embodied_ug Int64 COMMENT 'of the hardware, by the time held',
    ADD COLUMN IF NOT EXISTS water_ul Int64 COMMENT 'microlitres',
    ADD COLUMN IF NOT EXISTS heat_reused_mj Int64 COMMENT 'heat handed on to be used; in no total',
    ADD COLUMN IF NOT EXISTS rest_source LowCardinality(String) COMMENT 'the meter or factor node_rest_mj came from',
    ADD COLUMN IF NOT EXISTS it_shared_source LowCardinality(String),
    ADD COLUMN IF NOT EXISTS facility_source LowCardinality(String),
    ADD COLUMN IF NOT EXISTS water_source LowCardinality(String),
    ADD COLUMN IF NOT EXISTS heat_source LowCardinality(String),
    ADD COLUMN IF NOT EXISTS factor_market LowCardinality(String),
    ADD COLUMN IF NOT EXISTS factor_embodied LowCardinality(String);
-- +goose StatementEnd
{{- if .Cluster}}
-- +goose StatementBegin
ALTER TABLE entries {{.OnCluster}}
    MODIFY COLUMN account Enum8('tenant' = 1, 'unallocated' = 2, 'held_idle' = 3, 'platform' = 4),
    ADD COLUMN IF NOT EXISTS uncertainty_mj Int64,
    ADD COLUMN IF NOT EXISTS idle_limit Int64,
    ADD COLUMN IF NOT EXISTS carbon_market_ug Int64,
    ADD COLUMN IF NOT EXISTS carbon_embodied_ug Int64,
    ADD COLUMN IF NOT EXISTS water_ul Int64,
    ADD COLUMN IF NOT EXISTS heat_reused_mj Int64,
    ADD COLUMN IF NOT EXISTS rest_source LowCardinality(String),
    ADD COLUMN IF NOT EXISTS it_shared_source LowCardinality(String),
    ADD COLUMN IF NOT EXISTS facility_source LowCardinality(String),
    ADD COLUMN IF NOT EXISTS water_source LowCardinality(String),
    ADD COLUMN IF NOT EXISTS heat_source LowCardinality(String),
    ADD COLUMN IF NOT EXISTS factor_market LowCardinality(String),
    ADD COLUMN IF NOT EXISTS factor_embodied LowCardinality(String);
-- +goose StatementEnd
{{- end}}
-- +goose StatementBegin
ALTER TABLE {{.Table "seals"}}
    ADD COLUMN IF NOT EXISTS adjustments UInt32 COMMENT 'those of the entries that are no closings',
    ADD COLUMN IF NOT EXISTS carbon_market_ug Int64,
    ADD COLUMN IF NOT EXISTS carbon_embodied_ug Int64,
    ADD COLUMN IF NOT EXISTS water_ul Int64,
    ADD COLUMN IF NOT EXISTS cuts String COMMENT 'digest of the cuts of the batch, hex',
    ADD COLUMN IF NOT EXISTS device_hours String COMMENT 'digest of the device-hours of the batch, hex',
    ADD COLUMN IF NOT EXISTS samples String COMMENT 'digest of the raw rows it was made from, hex',
    ADD COLUMN IF NOT EXISTS sample_rows Int64,
    ADD COLUMN IF NOT EXISTS inputs String COMMENT 'up to which Kafka offsets the batch saw; in no hash';
-- +goose StatementEnd
{{- if .Cluster}}
-- +goose StatementBegin
ALTER TABLE seals {{.OnCluster}}
    ADD COLUMN IF NOT EXISTS adjustments UInt32,
    ADD COLUMN IF NOT EXISTS carbon_market_ug Int64,
    ADD COLUMN IF NOT EXISTS carbon_embodied_ug Int64,
    ADD COLUMN IF NOT EXISTS water_ul Int64,
    ADD COLUMN IF NOT EXISTS cuts String,
    ADD COLUMN IF NOT EXISTS device_hours String,
    ADD COLUMN IF NOT EXISTS samples String,
    ADD COLUMN IF NOT EXISTS sample_rows Int64,
    ADD COLUMN IF NOT EXISTS inputs String;
-- +goose StatementEnd
{{- end}}
-- +goose StatementBegin
CREATE OR REPLACE VIEW entry {{.OnCluster}} AS
SELECT e.* FROM entries AS e FINAL
INNER JOIN (SELECT site, batch, root FROM seals FINAL) AS s ON e.site = s.site AND e.batch = s.batch AND e.root = s.root;
-- +goose StatementEnd

-- The quality of device-hours, and of the hours of meters. Of two batches that speak of one line the higher one counts.
-- +goose StatementBegin
CREATE TABLE IF NOT EXISTS {{.Table "device_hours"}}
(
    site LowCardinality(String), hour DateTime('UTC'), node LowCardinality(String), device LowCardinality(String),
    kind LowCardinality(String) COMMENT 'gpu, cpu, or node or site of a meter', model LowCardinality(String),
    counter_mj Int64, estimated_mj Int64, interpolated_mj Int64,
    integral_mj Int64 COMMENT 'integral of power, −1 when it is not known',
    excess_mj Int64 COMMENT 'by how much the parts read more than the meter of the whole',
    bound_low_mj Int64, bound_high_mj Int64,
    present_us Int64, covered_us Int64, ticks_expected Int64, ticks_read Int64,
    allocated_time Int64 COMMENT 'milliseconds × thousandths, as all device time', unallocated_time Int64, unavailable_time Int64,
    resets Int32, clock_steps Int32,
    sensor LowCardinality(String), flags Array(LowCardinality(String)),
    batch UInt64, root String COMMENT 'hex, the seal this line was inserted for'
)
ENGINE = {{.Engine "device_hours" "ReplacingMergeTree"}}
PARTITION BY toYYYYMM(hour)
ORDER BY (site, hour, node, device, kind, batch, root)
{{.Settings ""}};
-- +goose StatementEnd
{{.Distributed "device_hours" "cityHash64(site)"}}
-- +goose StatementBegin
CREATE OR REPLACE VIEW device_hour {{.OnCluster}} AS
SELECT d.* FROM device_hours AS d FINAL
INNER JOIN (SELECT site, batch, root FROM seals FINAL) AS s ON d.site = s.site AND d.batch = s.batch AND d.root = s.root;
-- +goose StatementEnd

-- Sums of a batch's entries by hour, account and tenant: the leaves of its seal, and what panels above device level read.
-- +goose StatementBegin
CREATE TABLE IF NOT EXISTS {{.Table "subtotals"}}
(
    site LowCardinality(String), hour DateTime('UTC'),
    account Enum8('tenant' = 1, 'unallocated' = 2, 'held_idle' = 3, 'platform' = 4), tenant LowCardinality(String),
    entries UInt32,
    tree String COMMENT 'hex, root of the tree over the salted leaves of these entries',
    device_time Int64, unavailable_time Int64,
    gpu_mj Int64, cpu_mj Int64, node_rest_mj Int64, it_shared_mj Int64, facility_mj Int64,
    measured_mj Int64, estimated_mj Int64, modelled_mj Int64, interpolated_mj Int64,
    bound_low_mj Int64, bound_high_mj Int64, uncertainty_mj Int64,
    sm_active_us Int64, ticks_expected Int64, ticks_read Int64,
    carbon_ug Int64, carbon_market_ug Int64, carbon_embodied_ug Int64, water_ul Int64, heat_reused_mj Int64,
    batch UInt64, root String COMMENT 'hex, the seal these sums were inserted for'
)
ENGINE = {{.Engine "subtotals" "ReplacingMergeTree"}}
PARTITION BY toYYYYMM(hour)
ORDER BY (tenant, site, hour, account, batch, root)
{{.Settings ""}};
-- +goose StatementEnd
{{.Distributed "subtotals" "cityHash64(site)"}}
-- +goose StatementBegin
CREATE OR REPLACE VIEW subtotal {{.OnCluster}} AS
SELECT t.* FROM subtotals AS t FINAL
INNER JOIN (SELECT site, batch, root FROM seals FINAL) AS s ON t.site = s.site AND t.batch = s.batch AND t.root = s.root;
-- +goose StatementEnd
