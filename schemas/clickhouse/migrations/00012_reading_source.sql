-- Who states a site's meters, and must declare its readings complete before an hour closes.
-- +goose Up
-- +goose StatementBegin
ALTER TABLE {{.Table "sites"}} ADD COLUMN IF NOT EXISTS reading_source String;
-- +goose StatementEnd
{{- if .Cluster}}
-- +goose StatementBegin
ALTER TABLE sites {{.OnCluster}} ADD COLUMN IF NOT EXISTS reading_source String;
-- +goose StatementEnd
{{- end}}
