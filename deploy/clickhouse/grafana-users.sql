-- The logins of the Grafana data source: they read, within limits, and nothing else.
--
-- NOT RUN by our tests: the embedded engine knows no users. What is tested is that ClickHouse's own parser reads each statement. Read
-- it, change names, passwords and limits to yours, and run it as an administrator:
--
--     clickhouse-client --queries-file grafana-users.sql
--
-- On a cluster add ON CLUSTER <name> after each CREATE and GRANT's object, and see the note on row policies below.
--
-- docs/grafana.md explains which data source takes which login.

-- Limits. readonly = 2 reads only, and lets the data source set its own limits for a statement, below these.
CREATE SETTINGS PROFILE OR REPLACE wattledger_dashboards SETTINGS
    readonly = 2 CONST,
    allow_ddl = 0 CONST,
    allow_introspection_functions = 0 CONST,
    max_execution_time = 30 MIN 1 MAX 300,
    max_memory_usage = 4294967296 MAX 8589934592,
    max_result_rows = 200000 MAX 1000000,
    max_result_bytes = 268435456 MAX 1073741824,
    max_rows_to_read = 2000000000 MAX 20000000000,
    max_concurrent_queries_for_user = 64 CONST,
    cancel_http_readonly_queries_on_client_close = 1;

-- Reading, of Wattledger's database only. Its views read the tables below them with the rights of whoever asks, so the tables are granted, too.
CREATE ROLE OR REPLACE wattledger_dashboards SETTINGS PROFILE 'wattledger_dashboards';
GRANT SELECT, SHOW TABLES, SHOW COLUMNS ON wattledger.* TO wattledger_dashboards;

-- What one login may take in an hour. It bounds a dashboard that was left open on a wall, or a loop in somebody's script.
CREATE QUOTA OR REPLACE wattledger_dashboards KEYED BY user_name
    FOR INTERVAL 1 hour MAX queries = 500000, errors = 20000, execution_time = 36000
    TO wattledger_dashboards;

-- The operators' data source: scope operator, and scope identity.
CREATE USER OR REPLACE grafana_operator
    IDENTIFIED WITH sha256_password BY 'change-me-operator'
    HOST ANY
    DEFAULT ROLE wattledger_dashboards
    DEFAULT DATABASE wattledger;
GRANT wattledger_dashboards TO grafana_operator;

-- A tenant's data source: scope tenant. Once for each tenant that has one of its own; "example" is its id.
--
-- The data source asks for this tenant's lines only. The policies are a second wall, in the server, round what is of others in the
-- ledger: whoever got hold of this login still reads no line of theirs. They do not stand round allocations and telemetry: to know
-- whether a tenant held a GPU alone, the statements have to see when others held it. So keep this login's password as you
-- keep the operators', and let it in from Grafana's address only.
CREATE ROLE OR REPLACE wattledger_tenant_example SETTINGS PROFILE 'wattledger_dashboards';
GRANT SELECT, SHOW TABLES, SHOW COLUMNS ON wattledger.* TO wattledger_tenant_example;

CREATE ROW POLICY OR REPLACE wattledger_tenant_example
    ON wattledger.entries, wattledger.subtotals, wattledger.hour_sums
    FOR SELECT USING tenant = 'example' AND account IN ('tenant', 'held_idle')
    TO wattledger_tenant_example;

CREATE ROW POLICY OR REPLACE wattledger_tenant_example
    ON wattledger.tenants
    FOR SELECT USING id = 'example'
    TO wattledger_tenant_example;

CREATE ROW POLICY OR REPLACE wattledger_tenant_example
    ON wattledger.node_10s, wattledger.node_1m, wattledger.node_1h, wattledger.quality_sums
    FOR SELECT USING 0
    TO wattledger_tenant_example;

-- A table with a policy shows its rows to nobody else on servers where users_without_row_policies_can_read_rows is off. Everybody but
-- tenants' logins goes on as before. Name each tenant's role here.
CREATE ROW POLICY OR REPLACE wattledger_everybody_else
    ON wattledger.entries, wattledger.subtotals, wattledger.hour_sums, wattledger.tenants,
       wattledger.node_10s, wattledger.node_1m, wattledger.node_1h, wattledger.quality_sums
    FOR SELECT USING 1
    TO ALL EXCEPT wattledger_tenant_example;

CREATE USER OR REPLACE grafana_tenant_example
    IDENTIFIED WITH sha256_password BY 'change-me-tenant'
    HOST ANY
    DEFAULT ROLE wattledger_tenant_example
    DEFAULT DATABASE wattledger;
GRANT wattledger_tenant_example TO grafana_tenant_example;

-- The quota holds for tenants' logins, too.
ALTER QUOTA wattledger_dashboards TO wattledger_dashboards, wattledger_tenant_example;

-- On a cluster a table is a Distributed one over <table>_local on each shard. Policies belong on the local tables: repeat each CREATE ROW
-- POLICY with entries_local, subtotals_local, … and ON CLUSTER, and give the cluster a secret, so that shards know who asks.
