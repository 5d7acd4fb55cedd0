-- What exists and who held it. A later revision of the same key replaces the earlier one; readers use FINAL.
-- +goose Up
-- +goose StatementBegin
CREATE TABLE {{.Table "sites"}}
(
    id String, country LowCardinality(String), zone LowCardinality(String), operator String,
    operator_country LowCardinality(String), pue_thousandths UInt32, allocation_source String, revision UInt64
)
ENGINE = {{.Engine "sites" "ReplacingMergeTree" "revision"}} ORDER BY id;
-- +goose StatementEnd
{{.Distributed "sites" "cityHash64(id)"}}
-- +goose StatementBegin
CREATE TABLE {{.Table "nodes"}}
(
    id String, site LowCardinality(String), rack String, model LowCardinality(String), rest_mw Int64,
    from_us Int64, to_us Int64, revision UInt64
)
ENGINE = {{.Engine "nodes" "ReplacingMergeTree" "revision"}} ORDER BY (site, id);
-- +goose StatementEnd
{{.Distributed "nodes" "cityHash64(id)"}}
-- +goose StatementBegin
CREATE TABLE {{.Table "devices"}}
(
    uuid String, parent_uuid String, node String, kind Enum8('unknown' = 0, 'gpu' = 1, 'mig' = 2, 'cpu' = 3),
    model LowCardinality(String), serial String, driver LowCardinality(String), vbios LowCardinality(String),
    gpu_index UInt32, slices UInt32,
    energy_source Enum8('unknown' = 0, 'hardware' = 1, 'integrated' = 2, 'none' = 3),
    limit_mw Int64, idle_mw Int64, from_us Int64, to_us Int64, revision UInt64
)
ENGINE = {{.Engine "devices" "ReplacingMergeTree" "revision"}} ORDER BY (node, uuid);
-- +goose StatementEnd
{{.Distributed "devices" "cityHash64(node)"}}
-- +goose StatementBegin
CREATE TABLE {{.Table "tenants"}}
(
    id String, name String, sector LowCardinality(String), size_class LowCardinality(String), country LowCardinality(String),
    vat_id String, allowed_countries Array(LowCardinality(String)), revision UInt64
)
ENGINE = {{.Engine "tenants" "ReplacingMergeTree" "revision"}} ORDER BY id;
-- +goose StatementEnd
{{.Distributed "tenants" "cityHash64(id)"}}
-- +goose StatementBegin
CREATE TABLE {{.Table "allocations"}}
(
    id String, site LowCardinality(String), device String, thousandths UInt32, start_us Int64,
    end_us Int64 COMMENT '0 while it runs', tenant LowCardinality(String), project LowCardinality(String), workload String,
    model_id String, purpose LowCardinality(String), scheduler_ref String, revision UInt64
)
ENGINE = {{.Engine "allocations" "ReplacingMergeTree" "revision"}} ORDER BY (site, device, id);
-- +goose StatementEnd
{{.Distributed "allocations" "cityHash64(device)"}}
