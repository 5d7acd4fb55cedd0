-- What panels ask often, without reading all that it is drawn from: how much came and how long it was under way, how far each node is, and a
-- node without its neighbours. Projections are parts of the table's own parts: they hold what it holds, also after a repeated insert.
-- +goose Up

-- Ten seconds of ticks by site and partition: what panels of the pipeline and the progress of rollups are read from.
-- +goose StatementBegin
ALTER TABLE {{.Table "messages"}} ADD PROJECTION IF NOT EXISTS ticks
    (SELECT toStartOfInterval(last_tick, INTERVAL 10 SECOND), topic, site, kafka_partition, rows > 0, count(), sum(rows), max(kafka_offset), max(received), min(first_tick), max(last_tick),
        sum(greatest(toUnixTimestamp64Micro(received) - toUnixTimestamp64Micro(last_tick), 0)), max(greatest(toUnixTimestamp64Micro(received) - toUnixTimestamp64Micro(last_tick), 0))
    GROUP BY toStartOfInterval(last_tick, INTERVAL 10 SECOND), topic, site, kafka_partition, rows > 0);
-- +goose StatementEnd
-- +goose StatementBegin
ALTER TABLE {{.Table "messages"}} MATERIALIZE PROJECTION ticks;
-- +goose StatementEnd

-- The head of every run, with how far it is complete.
-- +goose StatementBegin
ALTER TABLE {{.Table "messages"}} ADD PROJECTION IF NOT EXISTS heads
    (SELECT topic, site, source, run, max(seq), max(last_tick), max(received), max(complete_up_to) GROUP BY topic, site, source, run);
-- +goose StatementEnd
-- +goose StatementBegin
ALTER TABLE {{.Table "messages"}} MATERIALIZE PROJECTION heads;
-- +goose StatementEnd
-- +goose StatementBegin
ALTER TABLE {{.Table "messages"}} DROP PROJECTION IF EXISTS runs;
-- +goose StatementEnd

-- Who asks for a node reads its devices only: keys lead with devices, which lie in no order of nodes. Samples and the finer rollups do not live
-- long: what is stored from now on has the index.
-- +goose StatementBegin
ALTER TABLE {{.Table "samples"}} ADD INDEX IF NOT EXISTS by_node node TYPE bloom_filter GRANULARITY 1;
-- +goose StatementEnd
{{- range .Tiers}}
-- +goose StatementBegin
ALTER TABLE {{$.Table .Table}} ADD INDEX IF NOT EXISTS by_node node TYPE bloom_filter GRANULARITY 1;
-- +goose StatementEnd
{{- end}}
-- +goose StatementBegin
ALTER TABLE {{.Table "rollup_1h"}} MATERIALIZE INDEX by_node;
-- +goose StatementEnd
