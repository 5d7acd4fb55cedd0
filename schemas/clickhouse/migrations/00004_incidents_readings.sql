-- What happened on nodes, what meters read, and the epochs of counters that the collector saw.
-- +goose Up
-- An incident stated twice is one: the later statement replaces the earlier. Not partitioned, as they are few and one message
-- may tell of several months.
-- +goose StatementBegin
CREATE TABLE {{.Table "incidents"}}
(
    site LowCardinality(String),
    node LowCardinality(String),
    kind LowCardinality(String) COMMENT 'gap, loss, clock_step, epoch, restart',
    reason LowCardinality(String),
    device String COMMENT 'empty: the whole node',
    from_us Int64 COMMENT 'microseconds since 1970',
    to_us Int64,
    amount Int64 COMMENT 'ticks of a gap, messages of a loss, microseconds of a clock step, mJ of an epoch''s last reading',
    run String COMMENT 'hex, of a loss: the run whose messages are lost',
    first_seq UInt64, last_seq UInt64,
    received DateTime64(6, 'UTC')
)
ENGINE = {{.Engine "incidents" "ReplacingMergeTree" "received"}}
ORDER BY (site, node, from_us, kind, reason, device, run, first_seq)
TTL toDateTime(received) + INTERVAL 400 DAY
{{.Settings ""}};
-- +goose StatementEnd
{{.Distributed "incidents" "cityHash64(node)"}}
-- +goose StatementBegin
CREATE VIEW incident {{.OnCluster}} AS
SELECT site, node, kind, reason, device, fromUnixTimestamp64Micro(from_us, 'UTC') AS began, fromUnixTimestamp64Micro(to_us, 'UTC') AS ended,
    from_us, to_us, amount, run, first_seq, last_seq, received
FROM incidents FINAL;
-- +goose StatementEnd

-- Readings of meters as received. Partitioned by day of receipt and aged by it, as samples are. One meter has one value of a
-- quantity for one time; the later statement replaces the earlier.
-- +goose StatementBegin
CREATE TABLE {{.Table "readings"}}
(
    site LowCardinality(String),
    source LowCardinality(String) COMMENT 'who stated it',
    node LowCardinality(String) COMMENT 'the node that the meter is on; empty: the site''s',
    meter LowCardinality(String),
    quantity LowCardinality(String),
    unit LowCardinality(String),
    from_us Int64 CODEC(DoubleDelta, ZSTD(1)),
    to_us Int64 COMMENT 'equal to from_us for a counter' CODEC(DoubleDelta, ZSTD(1)),
    value Int64 CODEC(Delta, ZSTD(1)),
    counter Bool,
    method LowCardinality(String) COMMENT 'counter or trapezoid',
    epoch String COMMENT 'tells one life of a counter from the next' CODEC(ZSTD(1)),
    run LowCardinality(String) COMMENT 'hex of 16 bytes',
    seq UInt64 CODEC(Delta, ZSTD(1)),
    received DateTime64(6, 'UTC') CODEC(DoubleDelta, ZSTD(1))
)
ENGINE = {{.Engine "readings" "ReplacingMergeTree" "received"}}
PARTITION BY toYYYYMMDD(received)
ORDER BY (site, meter, quantity, from_us, to_us, epoch)
TTL toDateTime(received) + INTERVAL 400 DAY
{{.Settings "ttl_only_drop_parts = 1"}};
-- +goose StatementEnd
{{.Distributed "readings" "cityHash64(meter)"}}
-- +goose StatementBegin
CREATE VIEW reading {{.OnCluster}} AS
SELECT site, source, node, meter, quantity, unit, from_us, to_us, value, counter, method, epoch, run, seq, received
FROM readings FINAL;
-- +goose StatementEnd

-- A database made before collectors stated epochs lacks the column; of what it holds the epochs are not known.
-- +goose StatementBegin
ALTER TABLE {{.Table "samples"}} ADD COLUMN IF NOT EXISTS energy_epoch UInt32 DEFAULT 4294967295 CODEC(ZSTD(1));
-- +goose StatementEnd
{{- if .Cluster}}
-- +goose StatementBegin
ALTER TABLE samples {{.OnCluster}} ADD COLUMN IF NOT EXISTS energy_epoch UInt32 DEFAULT 4294967295;
-- +goose StatementEnd
{{- end}}
-- +goose StatementBegin
ALTER TABLE {{.Table "cuts"}} ADD COLUMN IF NOT EXISTS seen0 Int64 DEFAULT -1 COMMENT 'energy_epoch at t0, −1 when it is not known';
-- +goose StatementEnd
{{- if .Cluster}}
-- +goose StatementBegin
ALTER TABLE cuts {{.OnCluster}} ADD COLUMN IF NOT EXISTS seen0 Int64 DEFAULT -1;
-- +goose StatementEnd
{{- end}}
-- +goose StatementBegin
CREATE OR REPLACE VIEW cut {{.OnCluster}} AS
SELECT u.* FROM cuts AS u FINAL
INNER JOIN (SELECT site, batch, root FROM seals FINAL) AS s ON u.site = s.site AND u.batch = s.batch AND u.root = s.root;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE OR REPLACE VIEW sample {{.OnCluster}} AS
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
