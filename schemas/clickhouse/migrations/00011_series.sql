-- Samples as closing reads them, by the million: what is absent reads as −1, which costs nothing, where the view `sample` has
-- NULL, which costs a column more.
-- +goose Up
-- +goose StatementBegin
CREATE OR REPLACE VIEW series {{.OnCluster}} AS
SELECT site, device, run, boot, driver, CAST(energy_source, 'Int8') AS source, period_ms, reinterpretAsInt32(energy_epoch) AS epoch, tick,
    reinterpretAsInt64(energy_ts) AS energy_ts, reinterpretAsInt64(energy_mj) AS energy_mj, reinterpretAsInt64(power_integral_mj) AS power_integral_mj,
    reinterpretAsInt64(sm_active_us) AS sm_active_us, reinterpretAsInt64(ticks_expected) AS ticks_expected, reinterpretAsInt64(ticks_read) AS ticks_read
FROM samples;
-- +goose StatementEnd
-- Entries lie in order of batch, which is nearly that of the hours they apply to: whoever asks for an hour, a day or a month reads little else.
-- +goose StatementBegin
ALTER TABLE {{.Table "entries"}} ADD INDEX IF NOT EXISTS by_hour hour TYPE minmax GRANULARITY 1;
-- +goose StatementEnd
-- +goose StatementBegin
ALTER TABLE {{.Table "entries"}} MATERIALIZE INDEX by_hour;
-- +goose StatementEnd
