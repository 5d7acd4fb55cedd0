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

-- Who asks for a node reads its devices only: keys lead with devices, which lie in no order of nodes. And who asks for XIDs, which are few, reads what has
-- any. Samples and the finer rollups do not live long: what is stored from now on has the indices.
-- +goose StatementBegin
ALTER TABLE {{.Table "samples"}} ADD INDEX IF NOT EXISTS by_node node TYPE bloom_filter GRANULARITY 1, ADD INDEX IF NOT EXISTS by_xid xid TYPE set(4) GRANULARITY 1;
-- +goose StatementEnd
{{- range .Tiers}}
-- +goose StatementBegin
ALTER TABLE {{$.Table .Table}} ADD INDEX IF NOT EXISTS by_node node TYPE bloom_filter GRANULARITY 1, ADD INDEX IF NOT EXISTS by_xid xid TYPE set(4) GRANULARITY 1;
-- +goose StatementEnd
{{- end}}
-- +goose StatementBegin
ALTER TABLE {{.Table "rollup_1h"}} MATERIALIZE INDEX by_node;
-- +goose StatementEnd
-- +goose StatementBegin
ALTER TABLE {{.Table "rollup_1h"}} MATERIALIZE INDEX by_xid;
-- +goose StatementEnd

-- Who held which GPU: an allocation of a MIG instance has its slices' part of its GPU.
-- +goose StatementBegin
CREATE OR REPLACE VIEW gpu_allocation {{.OnCluster}} AS
SELECT a.id AS id, a.site AS site, if(m.parent_uuid = '', a.device, m.parent_uuid) AS gpu, if(m.parent_uuid = '', '', a.device) AS instance,
    a.thousandths / 1000. * if(m.parent_uuid = '', 1., m.slices / 7.) AS part, a.start_us AS start_us, a.end_us AS end_us,
    a.tenant AS tenant, a.project AS project, a.workload AS workload, a.model_id AS model_id, a.purpose AS purpose
FROM (SELECT id, site, device, thousandths, start_us, end_us, tenant, project, workload, model_id, purpose FROM allocations FINAL) AS a
LEFT ANY JOIN (SELECT uuid, parent_uuid, slices FROM devices FINAL WHERE kind = 'mig') AS m ON m.uuid = a.device;
-- +goose StatementEnd
