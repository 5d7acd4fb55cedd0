-- What is missing between sequence numbers: gap records of kind `missing` among the incidents, and what of them came since.
-- +goose Up
-- +goose StatementBegin
ALTER TABLE {{.Table "incidents"}}
    ADD COLUMN IF NOT EXISTS topic LowCardinality(String) COMMENT 'of missing messages: where they should have come from',
    ADD COLUMN IF NOT EXISTS key_last UInt64 COMMENT 'of missing messages: last_seq again, which cannot join the key',
    MODIFY ORDER BY (site, node, from_us, kind, reason, device, run, first_seq, topic, key_last);
-- +goose StatementEnd
{{- if .Cluster}}
-- +goose StatementBegin
ALTER TABLE incidents {{.OnCluster}} ADD COLUMN IF NOT EXISTS topic LowCardinality(String), ADD COLUMN IF NOT EXISTS key_last UInt64;
-- +goose StatementEnd
{{- end}}

-- The head of every run, which ingest asks for when it meets one, without reading all that the run sent.
-- +goose StatementBegin
ALTER TABLE {{.Table "messages"}} MODIFY SETTING deduplicate_merge_projection_mode = 'rebuild';
-- +goose StatementEnd
-- +goose StatementBegin
ALTER TABLE {{.Table "messages"}} ADD PROJECTION IF NOT EXISTS runs
    (SELECT topic, site, source, run, max(seq), max(last_tick), max(received) GROUP BY topic, site, source, run);
-- +goose StatementEnd
-- +goose StatementBegin
ALTER TABLE {{.Table "messages"}} ADD INDEX IF NOT EXISTS by_seq seq TYPE minmax GRANULARITY 1;
-- +goose StatementEnd
-- +goose StatementBegin
ALTER TABLE {{.Table "messages"}} MATERIALIZE PROJECTION runs;
-- +goose StatementEnd
-- +goose StatementBegin
ALTER TABLE {{.Table "messages"}} MATERIALIZE INDEX by_seq;
-- +goose StatementEnd

-- A gap record stays as it was found; what arrived since is counted when it is read. Each number stands in one line, also where
-- two records overlap.
-- +goose StatementBegin
CREATE OR REPLACE VIEW missing {{.OnCluster}} AS
WITH gaps AS (
    SELECT topic, site, source, run, reason, greatest(first_seq, if(others > 0, toUInt64(covered + 1), toUInt64(0))) AS first_seq, last_seq, from_us, to_us, found
    FROM (
        SELECT topic, site, node AS source, run, reason, first_seq, last_seq, from_us, to_us, received AS found,
            max(last_seq) OVER before AS covered, count() OVER before AS others
        FROM incidents FINAL WHERE kind = 'missing'
        WINDOW before AS (PARTITION BY topic, site, node, run ORDER BY first_seq, last_seq DESC, from_us, reason ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING))
    WHERE others = 0 OR last_seq > covered)
SELECT g.topic AS topic, g.site AS site, g.source AS source, g.run AS run, g.reason AS reason, g.first_seq AS first_seq, g.last_seq AS last_seq,
    toUInt64(g.last_seq - g.first_seq + 1) AS amount, a.arrived AS arrived, toUInt64(g.last_seq - g.first_seq + 1 - a.arrived) AS outstanding,
    fromUnixTimestamp64Micro(g.from_us, 'UTC') AS began, fromUnixTimestamp64Micro(g.to_us, 'UTC') AS ended, g.found AS found
FROM gaps AS g
LEFT JOIN (
    SELECT h.topic AS topic, h.site AS site, h.source AS source, h.run AS run, h.first_seq AS first_seq, uniqExact(m.seq) AS arrived
    FROM gaps AS h
    INNER JOIN (
        SELECT topic, site, source, run, seq FROM messages
        WHERE (topic, site, source) IN (SELECT topic, site, node FROM incidents WHERE kind = 'missing')
            AND run IN (SELECT run FROM incidents WHERE kind = 'missing')) AS m
        ON m.topic = h.topic AND m.site = h.site AND m.source = h.source AND m.run = h.run
    WHERE m.seq >= h.first_seq AND m.seq <= h.last_seq
    GROUP BY topic, site, source, run, first_seq) AS a
    ON a.topic = g.topic AND a.site = g.site AND a.source = g.source AND a.run = g.run AND a.first_seq = g.first_seq;
-- +goose StatementEnd
