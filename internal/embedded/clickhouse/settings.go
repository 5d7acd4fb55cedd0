package clickhouse

// allowedSettings are the engine's settings that a request may set, by URL parameter or SETTINGS clause.
// They change how a statement runs and what its rows look like, not what it may reach.
// The limits among them can only be lowered below the configured ones, which the engine enforces as constraints.
var allowedSettings = wordSet(`
	max_execution_time timeout_overflow_mode max_threads max_insert_threads max_block_size preferred_block_size_bytes max_memory_usage
	max_bytes_before_external_group_by max_bytes_before_external_sort max_rows_to_read max_bytes_to_read read_overflow_mode
	max_result_rows max_result_bytes result_overflow_mode max_rows_to_group_by group_by_overflow_mode max_partitions_per_insert_block
	max_query_size max_ast_depth max_ast_elements max_expanded_ast_elements max_parser_depth
	max_insert_block_size min_insert_block_size_rows min_insert_block_size_bytes
	insert_deduplicate insert_deduplication_token deduplicate_blocks_in_dependent_materialized_views deduplicate_insert
	deduplicate_insert_select insert_null_as_default insert_quorum insert_distributed_sync distributed_foreground_insert
	async_insert wait_for_async_insert async_insert_deduplicate async_insert_busy_timeout_ms async_insert_max_data_size
	final join_algorithm join_use_nulls any_join_distinct_right_table_keys optimize_read_in_order optimize_move_to_prewhere
	optimize_aggregation_in_order optimize_throw_if_noop optimize_skip_unused_shards do_not_merge_across_partitions_select_final
	mutations_sync alter_sync replication_alter_partitions_sync lightweight_deletes_sync select_sequential_consistency
	enable_analyzer allow_experimental_analyzer allow_suspicious_low_cardinality_types allow_suspicious_codecs
	allow_suspicious_types_in_order_by allow_experimental_projection_optimization optimize_use_projections
	aggregate_functions_null_for_empty transform_null_in extremes session_timezone use_uncompressed_cache use_query_cache
	allow_nondeterministic_mutations allow_ddl prefer_localhost_replica skip_unavailable_shards load_balancing
	distributed_product_mode distributed_ddl_task_timeout distributed_ddl_output_mode database_replicated_allow_explicit_uuid
	date_time_input_format date_time_output_format decimal_check_overflow compile_expressions
	input_format_skip_unknown_fields input_format_null_as_default input_format_defaults_for_omitted_fields
	input_format_with_names_use_header input_format_with_types_use_header input_format_allow_errors_num input_format_allow_errors_ratio
	input_format_import_nested_json input_format_values_interpret_expressions input_format_parallel_parsing
	input_format_csv_empty_as_default input_format_tsv_empty_as_default format_csv_delimiter format_csv_allow_single_quotes
	output_format_json_quote_64bit_integers output_format_json_quote_denormals output_format_json_quote_decimals
	output_format_json_quote_64bit_floats output_format_json_named_tuples_as_objects output_format_pretty_max_rows
	output_format_pretty_color output_format_csv_crlf_end_of_line output_format_tsv_crlf_end_of_line output_format_write_statistics
	output_format_decimal_trailing_zeros output_format_parquet_compression_method output_format_parquet_string_as_string
	low_cardinality_allow_in_native_format output_format_native_write_json_as_string`)

// syncSettings are accepted and not passed on: an insert is answered when it is stored, which is more than they ask.
var syncSettings = wordSet(`async_insert wait_for_async_insert async_insert_deduplicate async_insert_busy_timeout_ms async_insert_max_data_size`)

// ignoredParameters belong to the protocol or to the client's telemetry, and change nothing here.
var ignoredParameters = wordSet(`quota_key buffer_size send_progress_in_http_headers http_headers_progress_interval_ms
	enable_http_compression http_zlib_compression_level network_zstd_compression_level add_http_cors_header
	cancel_http_readonly_queries_on_client_close send_logs_level send_profile_events log_comment log_queries stacktrace http_wait_end_of_query
	http_write_exception_in_output_format http_response_buffer_size http_make_head_request log_profile_events`)

func checkSetting(name string) error {
	if allowedSettings[name] {
		return nil
	}
	return refuse(codeUnknownSetting, "setting", "Setting %s is not on the list that the embedded engine takes", name)
}

// settingsClause follows the SETTINGS clauses through the words of a statement.
type settingsClause struct {
	state clauseState
	depth int // of the brackets around the clause
	name  string
}

type clauseState uint8

const (
	clauseNone       clauseState = iota
	clauseFirstName              // after SETTINGS: a name, if this is a clause and not a column called settings
	clauseFirstEqual             // after the first name
	clauseValue                  // after =, after a sign, or inside the brackets of a value
	clauseComma                  // after a value: a comma goes on
	clauseName                   // after a comma
	clauseEqual                  // after a further name
)

// observe takes the next word and the depth of brackets after it, and answers the setting whose name ends here, if any.
func (c *settingsClause) observe(t token, depth int) (string, error) {
	isName := t.kind == tokenWord || t.kind == tokenQuoted
	switch c.state {
	case clauseNone:
		if t.is("SETTINGS") {
			c.state, c.depth = clauseFirstName, depth
		}
	case clauseFirstName:
		c.name, c.state = t.text, clauseFirstEqual
		if !isName {
			c.state = clauseNone
		}
	case clauseFirstEqual:
		if !t.isPunct('=') {
			c.state = clauseNone
			return "", nil
		}
		c.state = clauseValue
		return c.name, checkSetting(c.name)
	case clauseValue:
		if depth <= c.depth && !t.isPunct('-') && !t.isPunct('+') {
			c.state = clauseComma
		}
	case clauseComma:
		switch {
		case t.isPunct(',') && depth == c.depth:
			c.state = clauseName
		case t.isPunct('.'), depth > c.depth: // 1.5, map(…)
			c.state = clauseValue
		default:
			c.state = clauseNone
		}
	case clauseName, clauseEqual:
		if c.state == clauseName && isName {
			c.name, c.state = t.text, clauseEqual
			return "", nil
		}
		if c.state == clauseEqual && t.isPunct('=') {
			c.state = clauseValue
			return c.name, checkSetting(c.name)
		}
		return "", refuse(codeSyntax, "syntax", "Syntax error at position %d: a SETTINGS clause wants name = value", t.start+1)
	}
	return "", nil
}
