-- Editions of factors: carbon intensity, instruments, PUE, WUE, embodied footprints. Rows are only ever added: a value that its publisher
-- revises is another row with a higher sequence, and as of the older sequence the old value still counts. No TTL: figures rest on them.
-- +goose Up
-- +goose StatementBegin
CREATE TABLE IF NOT EXISTS {{.Table "factors"}}
(
    id String COMMENT 'SHA-256 of the content, hex: all but sequence, committed and inserted',
    kind LowCardinality(String) COMMENT 'grid, residual, instrument, pue, wue, heat_reuse, embodied',
    key LowCardinality(String) COMMENT 'grid zone, site or device model',
    from_us Int64, to_us Int64 COMMENT 'microseconds since 1970; 0 is open',
    value Int64 COMMENT 'µg CO2e per kWh, thousandths, µl per kWh or µg CO2e, by kind',
    boundary LowCardinality(String), resolution LowCardinality(String), method LowCardinality(String), estimated Bool,
    source LowCardinality(String), name LowCardinality(String), licence LowCardinality(String),
    volume_mj Int64 COMMENT 'of an instrument: per hour', cover_ppm Int64 COMMENT 'of an instrument: share of consumption', matching LowCardinality(String),
    life_ms Int64 COMMENT 'of an embodied footprint',
    sequence UInt64 COMMENT 'of two that say something about the same hour the higher one counts; one for all rows of an import',
    committed Bool COMMENT 'from the tables that the program brings, which count after all else',
    inserted DateTime64(6, 'UTC') DEFAULT now64(6) COMMENT 'not part of any hash'
)
ENGINE = {{.Engine "factors" "ReplacingMergeTree"}}
ORDER BY (kind, key, resolution, from_us, source, id, sequence)
{{.Settings ""}};
-- +goose StatementEnd
{{.Distributed "factors" "cityHash64(key)"}}
