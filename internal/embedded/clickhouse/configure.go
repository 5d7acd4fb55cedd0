package clickhouse

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// The engine would take a config.xml that happens to lie in the working directory, so it is given ours, written anew at each start.

// Merges take half of the processors. With the engine's own sixteen threads small parts are merged two or five at a time as they come, and
// again soon after; with few threads they wait for one another, and each row is rewritten less often.
const serverXML = `<clickhouse>
	<max_server_memory_usage>%d</max_server_memory_usage>
	<mark_cache_size>67108864</mark_cache_size>
	<background_pool_size>%d</background_pool_size>
	<background_merges_mutations_concurrency_ratio>2</background_merges_mutations_concurrency_ratio>
	<merge_tree>
		<number_of_free_entries_in_pool_to_lower_max_size_of_merge>1</number_of_free_entries_in_pool_to_lower_max_size_of_merge>
		<number_of_free_entries_in_pool_to_execute_mutation>1</number_of_free_entries_in_pool_to_execute_mutation>
		<number_of_free_entries_in_pool_to_execute_optimize_entire_partition>1</number_of_free_entries_in_pool_to_execute_optimize_entire_partition>
	</merge_tree>
	<users_config>%s</users_config>
</clickhouse>
`

// usersXML gives the only user no source to read from or write to: what is not granted is refused by the engine itself.
// An insert's data needs no grant, because the client side of the engine reads it.
const usersXML = `<clickhouse>
	<profiles><default>
		<max_memory_usage>%[1]d</max_memory_usage>
		<max_query_size>%[2]d</max_query_size>
		<query_profiler_real_time_period_ns>0</query_profiler_real_time_period_ns>
		<query_profiler_cpu_time_period_ns>0</query_profiler_cpu_time_period_ns>
		<allow_introspection_functions>0</allow_introspection_functions>
		<constraints><max_memory_usage><min>1</min><max>%[1]d</max></max_memory_usage></constraints>
	</default></profiles>
	<quotas><default></default></quotas>
	<users><default>
		<password></password>
		<networks><ip>::/0</ip></networks>
		<profile>default</profile>
		<quota>default</quota>
		<grants><query>GRANT SHOW, SELECT, INSERT, ALTER, CREATE DATABASE, CREATE TABLE, CREATE VIEW, CREATE FUNCTION, CREATE TEMPORARY TABLE, DROP, UNDROP TABLE, TRUNCATE, OPTIMIZE, KILL QUERY, SYSTEM, dictGet, TABLE ENGINE ON *.*</query></grants>
	</default></users>
</clickhouse>
`

// configure writes the engine's configuration and answers the arguments that point to it.
func (h *Host) configure(dir string) ([]string, error) {
	var users bytes.Buffer
	usersPath := filepath.Join(dir, "users.xml")
	if err := xml.EscapeText(&users, []byte(usersPath)); err != nil {
		return nil, fmt.Errorf("embedded clickhouse: configuration: %w", err)
	}
	configPath := filepath.Join(dir, "config.xml")
	for path, content := range map[string]string{
		usersPath:  fmt.Sprintf(usersXML, h.cfg.MaxQueryMemory, maxQuery+4096),
		configPath: fmt.Sprintf(serverXML, h.cfg.MaxServerMemory, max(1, runtime.NumCPU()/2), users.String()),
	} {
		if err := writeFile(path, content); err != nil {
			return nil, fmt.Errorf("embedded clickhouse: configuration: %w", err)
		}
	}
	store := filepath.Join(dir, "store")
	// libchdb 26.5 starts its clean-up tasks only where it finds metadata; on a wholly new path DROP … SYNC would wait for ever.
	if err := os.MkdirAll(filepath.Join(store, "metadata"), 0o700); err != nil {
		return nil, fmt.Errorf("embedded clickhouse: data directory: %w", err)
	}
	return []string{"clickhouse", "--config-file=" + configPath, "--path=" + store}, nil
}
