-- The ledger. No TTL: what was booked stays. Cuts and entries are inserted first; the row in `seals` is the commit, so
-- readers use the views `cut` and `entry`, in which an unfinished or rival attempt at a batch does not appear.
-- +goose Up
-- +goose StatementBegin
CREATE TABLE {{.Table "cuts"}}
(
    site LowCardinality(String), device String,
    epoch Int64 COMMENT 'time stamp of the epoch''s first sample, microseconds',
    boot String, driver String,
    t Int64 COMMENT 'the edge, microseconds since 1970',
    t0 Int64, c0 Int64, t1 Int64, c1 Int64,
    run String, integral0 Int64 COMMENT 'integral of power at t0, −1 when it was not read',
    c Int64 COMMENT 'value of the counter at t, mJ',
    low Int64 COMMENT 'c cannot be less', high Int64 COMMENT 'c cannot be more',
    open Bool COMMENT 'no sample after t was known',
    interpolated Bool COMMENT 'the samples around t are more than three periods apart',
    edition UInt32,
    batch UInt64, root String COMMENT 'hex, the seal this cut was inserted for'
)
ENGINE = {{.Engine "cuts" "ReplacingMergeTree" "edition"}}
PARTITION BY intDiv(t, 2678400000000)
ORDER BY (site, device, t, epoch, edition, batch, root)
{{.Settings ""}};
-- +goose StatementEnd
{{.Distributed "cuts" "cityHash64(device)"}}
-- +goose StatementBegin
CREATE TABLE {{.Table "entries"}}
(
    id String COMMENT 'SHA-256 of the canonical entry, hex',
    site LowCardinality(String), batch UInt64, root String COMMENT 'hex, the seal this entry was inserted for',
    position UInt32,
    hour DateTime('UTC'),
    kind Enum8('closing' = 1, 'adjustment' = 2),
    account Enum8('tenant' = 1, 'unallocated' = 2),
    node LowCardinality(String), device LowCardinality(String), device_kind LowCardinality(String), model LowCardinality(String),
    tenant LowCardinality(String), project LowCardinality(String), allocation String, workload String, model_id String,
    purpose LowCardinality(String),
    from_us Int64, to_us Int64,
    device_time Int64 COMMENT 'milliseconds × thousandths of the device',
    unavailable_time Int64 COMMENT 'of an unallocated entry: the part in which the device was not there, same unit',
    gpu_mj Int64, cpu_mj Int64, node_rest_mj Int64, it_shared_mj Int64, facility_mj Int64,
    measured_mj Int64, estimated_mj Int64, modelled_mj Int64,
    interpolated_mj Int64 COMMENT 'measured, but its place in time is not',
    bound_low_mj Int64, bound_high_mj Int64,
    sm_active_us Int64,
    ticks_expected Int64, ticks_read Int64,
    carbon_ug Int64,
    rules String COMMENT 'edition of the rules', split LowCardinality(String), factor String COMMENT 'source, edition and boundary of the carbon factor',
    flags Array(LowCardinality(String)),
    corrects String COMMENT 'id of the entry an adjustment corrects', reason String,
    canonical String COMMENT 'the hashed bytes' CODEC(ZSTD(3))
)
ENGINE = {{.Engine "entries" "ReplacingMergeTree"}}
PARTITION BY toYYYYMM(hour)
ORDER BY (site, batch, root, position)
{{.Settings ""}};
-- +goose StatementEnd
{{.Distributed "entries" "cityHash64(site)"}}
-- +goose StatementBegin
CREATE TABLE {{.Table "seals"}}
(
    site LowCardinality(String), batch UInt64, root String, previous String,
    hour DateTime('UTC'),
    entries UInt32,
    measured_mj Int64, estimated_mj Int64, modelled_mj Int64, device_time Int64, carbon_ug Int64,
    closing LowCardinality(String) COMMENT 'complete or lateness', reason String, rules String,
    inserted DateTime64(6, 'UTC') DEFAULT now64(6) COMMENT 'not part of any hash'
)
ENGINE = {{.Engine "seals" "ReplacingMergeTree"}}
ORDER BY (site, batch)
{{.Settings ""}};
-- +goose StatementEnd
{{.Distributed "seals" "cityHash64(site)"}}
-- +goose StatementBegin
CREATE VIEW entry {{.OnCluster}} AS
SELECT e.* FROM entries AS e FINAL
INNER JOIN (SELECT site, batch, root FROM seals FINAL) AS s ON e.site = s.site AND e.batch = s.batch AND e.root = s.root;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE VIEW cut {{.OnCluster}} AS
SELECT u.* FROM cuts AS u FINAL
INNER JOIN (SELECT site, batch, root FROM seals FINAL) AS s ON u.site = s.site AND u.batch = s.batch AND u.root = s.root;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TABLE {{.Table "documents"}}
(
    id String COMMENT 'SHA-256 of the content, hex', kind LowCardinality(String), tenant LowCardinality(String),
    period_from DateTime('UTC'), period_to DateTime('UTC'), as_of UInt64 COMMENT 'seals the document is made from',
    media_type LowCardinality(String), name String, content String CODEC(ZSTD(3)),
    issued DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = {{.Engine "documents" "ReplacingMergeTree"}}
ORDER BY (kind, tenant, period_from, id);
-- +goose StatementEnd
{{.Distributed "documents" "cityHash64(id)"}}
