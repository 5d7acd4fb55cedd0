-- What a later batch has to look at again: when a statement was stored, and where the ledger holds an allocation. The time is the
-- server's own and no account rests on it: it only says where to look.
-- +goose Up
{{- range $table := .Stated}}
-- +goose StatementBegin
ALTER TABLE {{$.Table $table}} ADD COLUMN IF NOT EXISTS stated DateTime64(6, 'UTC') MATERIALIZED now64(6) COMMENT 'when this server stored the row';
-- +goose StatementEnd
{{- if $.Cluster}}
-- +goose StatementBegin
ALTER TABLE {{$table}} {{$.OnCluster}} ADD COLUMN IF NOT EXISTS stated DateTime64(6, 'UTC') MATERIALIZED now64(6);
-- +goose StatementEnd
{{- end}}
-- Rows from before get the time of this migration, once, instead of the time at which they are read.
-- +goose StatementBegin
ALTER TABLE {{$.Table $table}} MATERIALIZE COLUMN stated;
-- +goose StatementEnd
{{- end}}
-- +goose StatementBegin
ALTER TABLE {{.Table "entries"}} ADD INDEX IF NOT EXISTS by_allocation allocation TYPE bloom_filter GRANULARITY 1;
-- +goose StatementEnd
