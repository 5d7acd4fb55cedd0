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

-- The operator's word on when nodes and devices are expected; a later revision of the same stay replaces the earlier one. The
-- views `node` and `device` put it before the from and to of the tables, with a row for each stay that is not empty. A device
-- is there only while its node is.
-- +goose StatementBegin
CREATE TABLE {{.Table "stays"}}
(
    site LowCardinality(String), node String, device String COMMENT 'empty: the node itself',
    from_us Int64, to_us Int64, reason String, revision UInt64
)
ENGINE = {{.Engine "stays" "ReplacingMergeTree" "revision"}} ORDER BY (site, node, device, from_us);
-- +goose StatementEnd
{{.Distributed "stays" "cityHash64(node)"}}
-- +goose StatementBegin
CREATE VIEW node {{.OnCluster}} AS
SELECT id, site, rack, model, rest_mw, from_us, to_us, revision FROM (
    SELECT n.id AS id, n.site AS site, n.rack AS rack, n.model AS model, n.rest_mw AS rest_mw, n.revision AS revision,
        if(w.word = 1, w.stay_from, n.from_us) AS from_us, if(w.word = 1, w.stay_to, n.to_us) AS to_us
    FROM nodes AS n FINAL
    LEFT JOIN (SELECT site, node, from_us AS stay_from, to_us AS stay_to, 1 AS word FROM stays FINAL WHERE device = '') AS w
        ON w.site = n.site AND w.node = n.id)
WHERE to_us = 0 OR to_us > from_us;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE VIEW device {{.OnCluster}} AS
SELECT site, uuid, parent_uuid, node, kind, model, serial, driver, vbios, gpu_index, slices, energy_source, limit_mw, idle_mw,
    greatest(own_from, node_from) AS from_us, multiIf(own_to = 0, node_to, node_to = 0, own_to, least(own_to, node_to)) AS to_us, revision
FROM (
    SELECT h.site AS site, d.uuid AS uuid, d.parent_uuid AS parent_uuid, d.node AS node, d.kind AS kind, d.model AS model, d.serial AS serial,
        d.driver AS driver, d.vbios AS vbios, d.gpu_index AS gpu_index, d.slices AS slices, d.energy_source AS energy_source,
        d.limit_mw AS limit_mw, d.idle_mw AS idle_mw, d.revision AS revision, h.from_us AS node_from, h.to_us AS node_to,
        if(w.word = 1, w.stay_from, d.from_us) AS own_from, if(w.word = 1, w.stay_to, d.to_us) AS own_to
    FROM devices AS d FINAL
    INNER JOIN (SELECT id, site, from_us, to_us FROM node) AS h ON h.id = d.node
    LEFT JOIN (SELECT site, node, device, from_us AS stay_from, to_us AS stay_to, 1 AS word FROM stays FINAL WHERE device != '') AS w
        ON w.site = h.site AND w.node = d.node AND w.device = d.uuid)
WHERE (own_to = 0 OR own_to > own_from) AND (to_us = 0 OR to_us > from_us);
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
