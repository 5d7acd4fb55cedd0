-- The transparency log: a record for each seal, never an entry, and the checkpoints that were signed over them.
-- +goose Up
-- +goose StatementBegin
CREATE TABLE IF NOT EXISTS {{.Table "log_records"}}
(
    position UInt64 COMMENT 'place in the log, from 0',
    site LowCardinality(String), batch UInt64, root String COMMENT 'hex, of the seal',
    record String COMMENT 'the hashed bytes',
    inserted DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = {{.Engine "log_records" "MergeTree"}}
ORDER BY position
{{.Settings ""}};
-- +goose StatementEnd
{{.Distributed "log_records" "cityHash64('log')"}}
-- +goose StatementBegin
CREATE TABLE IF NOT EXISTS {{.Table "log_checkpoints"}}
(
    size UInt64 COMMENT 'records that it covers', root String COMMENT 'base64, of the log',
    note String COMMENT 'the signed checkpoint',
    inserted DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = {{.Engine "log_checkpoints" "MergeTree"}}
ORDER BY size
{{.Settings ""}};
-- +goose StatementEnd
{{.Distributed "log_checkpoints" "cityHash64('log')"}}
