package clickhouse

import (
	"github.com/wattledger/wattledger/ingest/pipeline"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
)

const (
	word   = "LowCardinality(String)"
	moment = "DateTime64(6, 'UTC')"
	energy = "Enum8('unknown' = 0, 'hardware' = 1, 'integrated' = 2, 'none' = 3)"
	kind   = "Enum8('unknown' = 0, 'gpu' = 1, 'mig' = 2, 'cpu' = 3)"
)

// samplesBlock is the rows of the entries. Their rows lie side by side in the batch.
func samplesBlock(b *pipeline.Batch, entries []pipeline.Entry) *block {
	var with []pipeline.Entry
	for _, e := range entries {
		if e.Samples.Len() > 0 {
			with = append(with, e)
		}
	}
	if len(with) == 0 {
		return &block{}
	}
	from, to := with[0].Samples.From, with[len(with)-1].Samples.To
	out := &block{rows: to - from}
	counts := make([]int, len(with))
	for i, e := range with {
		counts[i] = e.Samples.Len()
	}
	words_ := func(of func(e *pipeline.Entry) string) data {
		return wordsOf(len(with), func(i int) string { return of(&with[i]) }, func(i int) int { return counts[i] })
	}
	s := &b.Samples
	out.add("site", word, words_(func(e *pipeline.Entry) string { return e.Run.Site }))
	out.add("node", word, words_(func(e *pipeline.Entry) string { return e.Run.Source }))
	out.add("device", word, words{s.UUIDs, s.Device[from:to]})
	out.add("run", word, words_(func(e *pipeline.Entry) string { return e.Run.Hex() }))
	out.add("seq", "UInt64", perEntry(with, counts, func(e *pipeline.Entry) uint64 { return e.Seq }))
	out.add("boot", word, words_(func(e *pipeline.Entry) string { return e.Boot }))
	out.add("driver", word, words_(func(e *pipeline.Entry) string { return e.Driver }))
	out.add("energy_source", energy, fixed[int8](s.EnergySource[from:to]))
	out.add("tick", moment, packed(s, wire.ColumnTick, from, to))
	out.add("energy_ts", "UInt64", packed(s, wire.ColumnEnergyTS, from, to))
	out.add("period_ms", "UInt32", perEntry(with, counts, func(e *pipeline.Entry) uint32 { return e.PeriodMS }))
	out.add("received", moment, perEntry(with, counts, func(e *pipeline.Entry) int64 { return int64(e.Message.Received) }))
	out.add("kafka_partition", "Int32", perEntry(with, counts, func(e *pipeline.Entry) int32 { return int32(e.Message.Partition) }))
	out.add("kafka_offset", "Int64", perEntry(with, counts, func(e *pipeline.Entry) int64 { return e.Message.Offset }))
	for i, m := range record.Metrics {
		out.add(m.Name, nativeTypes[m.Kind], packed(s, wire.ColumnMetrics+i, from, to))
	}
	return out
}

var nativeTypes = map[record.Kind]string{record.Counter: "UInt64", record.Gauge: "Float32", record.Code: "UInt32"}

// packed are rows [from, to) of a column as the wire has it, which is also how the Native format has it.
func packed(s *pipeline.Samples, column, from, to int) data {
	width := wire.Columns[column].Width
	return raw(s.Columns[column-wire.ColumnTick][from*width : to*width])
}

func perEntry[T int32 | uint32 | int64 | uint64](entries []pipeline.Entry, counts []int, of func(e *pipeline.Entry) T) data {
	r := repeated[T]{counts: counts, values: make([]T, len(entries))}
	for i := range entries {
		r.values[i] = of(&entries[i])
	}
	return r
}

// messagesBlock is one line per entry.
func messagesBlock(topic string, entries []pipeline.Entry) *block {
	out := &block{rows: len(entries)}
	out.add("topic", word, wordsOf(1, func(int) string { return topic }, func(int) int { return len(entries) }))
	out.add("site", word, each(entries, func(e *pipeline.Entry) string { return e.Run.Site }))
	out.add("source", word, each(entries, func(e *pipeline.Entry) string { return e.Run.Source }))
	out.add("run", word, each(entries, func(e *pipeline.Entry) string { return e.Run.Hex() }))
	out.add("seq", "UInt64", number(entries, func(e *pipeline.Entry) uint64 { return e.Seq }))
	out.add("previous_run", word, each(entries, func(e *pipeline.Entry) string { return e.PreviousRun }))
	out.add("previous_run_last_seq", "UInt64", number(entries, func(e *pipeline.Entry) uint64 { return e.PreviousSeq }))
	out.add("schema_version", "UInt32", number(entries, func(e *pipeline.Entry) uint32 { return e.SchemaVersion }))
	out.add("complete_up_to", moment, number(entries, func(e *pipeline.Entry) int64 { return int64(e.CompleteUpTo) }))
	out.add("rows", "UInt32", number(entries, func(e *pipeline.Entry) uint32 { return uint32(e.Rows) }))
	out.add("first_tick", moment, number(entries, func(e *pipeline.Entry) int64 { return int64(e.FirstTick) }))
	out.add("last_tick", moment, number(entries, func(e *pipeline.Entry) int64 { return int64(e.LastTick) }))
	out.add("received", moment, number(entries, func(e *pipeline.Entry) int64 { return int64(e.Message.Received) }))
	out.add("kafka_partition", "Int32", number(entries, func(e *pipeline.Entry) int32 { return int32(e.Message.Partition) }))
	out.add("kafka_offset", "Int64", number(entries, func(e *pipeline.Entry) int64 { return e.Message.Offset }))
	return out
}

func allocationsBlock(rows []pipeline.Revised[record.Allocation]) *block {
	type row = pipeline.Revised[record.Allocation]
	out := &block{rows: len(rows)}
	out.add("id", "String", text(rows, func(r *row) string { return r.Value.ID }))
	out.add("site", word, each(rows, func(r *row) string { return r.Site }))
	out.add("device", "String", text(rows, func(r *row) string { return r.Value.Device }))
	out.add("thousandths", "UInt32", number(rows, func(r *row) uint32 { return uint32(r.Value.Share) }))
	out.add("start_us", "Int64", number(rows, func(r *row) int64 { return int64(r.Value.Start) }))
	out.add("end_us", "Int64", number(rows, func(r *row) int64 { return int64(r.Value.End) }))
	out.add("tenant", word, each(rows, func(r *row) string { return r.Value.Tenant }))
	out.add("project", word, each(rows, func(r *row) string { return r.Value.Project }))
	out.add("workload", "String", text(rows, func(r *row) string { return r.Value.Workload }))
	out.add("model_id", "String", text(rows, func(r *row) string { return r.Value.ModelID }))
	out.add("purpose", word, each(rows, func(r *row) string { return r.Value.Purpose }))
	out.add("scheduler_ref", "String", text(rows, func(r *row) string { return r.Value.Scheduler }))
	out.add("revision", "UInt64", number(rows, func(r *row) uint64 { return r.Revision }))
	return out
}

func incidentsBlock(rows []pipeline.Told[record.Incident]) *block {
	type row = pipeline.Told[record.Incident]
	out := &block{rows: len(rows)}
	out.add("site", word, each(rows, func(r *row) string { return r.Run.Site }))
	out.add("node", word, each(rows, func(r *row) string { return r.Run.Source }))
	out.add("kind", word, each(rows, func(r *row) string { return string(r.Value.Kind) }))
	out.add("reason", word, each(rows, func(r *row) string { return r.Value.Reason }))
	out.add("device", "String", text(rows, func(r *row) string { return r.Value.Device }))
	period(out, rows, func(r *row) (unit.Micros, unit.Micros) { return r.Value.From, r.Value.To })
	out.add("amount", "Int64", number(rows, func(r *row) int64 { return r.Value.Amount }))
	out.add("run", "String", text(rows, func(r *row) string { return r.Value.Run }))
	out.add("first_seq", "UInt64", number(rows, func(r *row) uint64 { return r.Value.First }))
	out.add("last_seq", "UInt64", number(rows, func(r *row) uint64 { return r.Value.Last }))
	out.add("received", moment, number(rows, func(r *row) int64 { return int64(r.Received) }))
	return out
}

// gapsBlock are incidents that ingest finds itself, with the topic whose messages are missing.
func gapsBlock(topic string, rows []pipeline.Told[record.Incident]) *block {
	out := incidentsBlock(rows)
	out.add("key_last", "UInt64", number(rows, func(r *pipeline.Told[record.Incident]) uint64 { return r.Value.Last }))
	out.add("topic", word, wordsOf(1, func(int) string { return topic }, func(int) int { return len(rows) }))
	return out
}

func readingsBlock(rows []pipeline.Told[record.Reading]) *block {
	type row = pipeline.Told[record.Reading]
	out := &block{rows: len(rows)}
	out.add("site", word, each(rows, func(r *row) string { return r.Run.Site }))
	out.add("source", word, each(rows, func(r *row) string { return r.Run.Source }))
	out.add("node", word, each(rows, func(r *row) string { return r.Value.Node }))
	out.add("meter", word, each(rows, func(r *row) string { return r.Value.Meter }))
	out.add("quantity", word, each(rows, func(r *row) string { return r.Value.Quantity }))
	out.add("unit", word, each(rows, func(r *row) string { return r.Value.Unit }))
	period(out, rows, func(r *row) (unit.Micros, unit.Micros) { return r.Value.From, r.Value.To })
	out.add("value", "Int64", number(rows, func(r *row) int64 { return r.Value.Value }))
	out.add("counter", "Bool", number(rows, func(r *row) int8 {
		if r.Value.Counter {
			return 1
		}
		return 0
	}))
	out.add("method", word, each(rows, func(r *row) string { return r.Value.Method }))
	out.add("epoch", "String", text(rows, func(r *row) string { return r.Value.Epoch }))
	out.add("run", word, each(rows, func(r *row) string { return r.Run.Hex() }))
	out.add("seq", "UInt64", number(rows, func(r *row) uint64 { return r.Seq }))
	out.add("received", moment, number(rows, func(r *row) int64 { return int64(r.Received) }))
	return out
}

func sitesBlock(rows []pipeline.Revised[record.Site]) *block {
	type row = pipeline.Revised[record.Site]
	out := &block{rows: len(rows)}
	out.add("id", "String", text(rows, func(r *row) string { return r.Value.ID }))
	out.add("country", word, each(rows, func(r *row) string { return r.Value.Country }))
	out.add("zone", word, each(rows, func(r *row) string { return r.Value.Zone }))
	out.add("operator", "String", text(rows, func(r *row) string { return r.Value.Operator }))
	out.add("operator_country", word, each(rows, func(r *row) string { return r.Value.OperatorCountry }))
	out.add("pue_thousandths", "UInt32", number(rows, func(r *row) uint32 { return uint32(r.Value.PUEThousandths) }))
	out.add("allocation_source", "String", text(rows, func(r *row) string { return r.Value.AllocationSource }))
	out.add("reading_source", "String", text(rows, func(r *row) string { return r.Value.ReadingSource }))
	out.add("revision", "UInt64", number(rows, func(r *row) uint64 { return r.Revision }))
	return out
}

func nodesBlock(rows []pipeline.Revised[record.Node]) *block {
	type row = pipeline.Revised[record.Node]
	out := &block{rows: len(rows)}
	out.add("id", "String", text(rows, func(r *row) string { return r.Value.ID }))
	out.add("site", word, each(rows, func(r *row) string { return r.Value.Site }))
	out.add("rack", "String", text(rows, func(r *row) string { return r.Value.Rack }))
	out.add("model", word, each(rows, func(r *row) string { return r.Value.Model }))
	out.add("rest_mw", "Int64", number(rows, func(r *row) int64 { return int64(r.Value.RestMilliwatts) }))
	period(out, rows, func(r *row) (unit.Micros, unit.Micros) { return r.Value.From, r.Value.To })
	out.add("revision", "UInt64", number(rows, func(r *row) uint64 { return r.Revision }))
	return out
}

func devicesBlock(rows []pipeline.Revised[record.Device]) *block {
	type row = pipeline.Revised[record.Device]
	out := &block{rows: len(rows)}
	out.add("uuid", "String", text(rows, func(r *row) string { return r.Value.UUID }))
	out.add("parent_uuid", "String", text(rows, func(r *row) string { return r.Value.Parent }))
	out.add("node", "String", text(rows, func(r *row) string { return r.Value.Node }))
	out.add("kind", kind, number(rows, func(r *row) int8 { return int8(r.Value.Kind) }))
	out.add("model", word, each(rows, func(r *row) string { return r.Value.Model }))
	out.add("serial", "String", text(rows, func(r *row) string { return r.Value.Serial }))
	out.add("driver", word, each(rows, func(r *row) string { return r.Value.Driver }))
	out.add("vbios", word, each(rows, func(r *row) string { return r.Value.VBIOS }))
	out.add("gpu_index", "UInt32", number(rows, func(r *row) uint32 { return r.Value.Index }))
	out.add("slices", "UInt32", number(rows, func(r *row) uint32 { return r.Value.Slices }))
	out.add("energy_source", energy, number(rows, func(r *row) int8 { return int8(r.Value.Energy) }))
	out.add("limit_mw", "Int64", number(rows, func(r *row) int64 { return int64(r.Value.LimitMilliwatts) }))
	out.add("idle_mw", "Int64", number(rows, func(r *row) int64 { return int64(r.Value.IdleMilliwatts) }))
	period(out, rows, func(r *row) (unit.Micros, unit.Micros) { return r.Value.From, r.Value.To })
	out.add("revision", "UInt64", number(rows, func(r *row) uint64 { return r.Revision }))
	return out
}

func tenantsBlock(rows []pipeline.Revised[record.Tenant]) *block {
	type row = pipeline.Revised[record.Tenant]
	out := &block{rows: len(rows)}
	out.add("id", "String", text(rows, func(r *row) string { return r.Value.ID }))
	out.add("name", "String", text(rows, func(r *row) string { return r.Value.Name }))
	out.add("sector", word, each(rows, func(r *row) string { return r.Value.Sector }))
	out.add("size_class", word, each(rows, func(r *row) string { return r.Value.SizeClass }))
	out.add("country", word, each(rows, func(r *row) string { return r.Value.Country }))
	out.add("vat_id", "String", text(rows, func(r *row) string { return r.Value.VATID }))
	countries := make(lists, len(rows))
	for i := range rows {
		countries[i] = rows[i].Value.AllowedCountries
	}
	out.add("allowed_countries", "Array(String)", countries) // the engine makes words of them
	out.add("revision", "UInt64", number(rows, func(r *row) uint64 { return r.Revision }))
	return out
}

func staysBlock(rows []pipeline.Revised[record.Stay]) *block {
	type row = pipeline.Revised[record.Stay]
	out := &block{rows: len(rows)}
	out.add("site", word, each(rows, func(r *row) string { return r.Value.Site }))
	out.add("node", "String", text(rows, func(r *row) string { return r.Value.Node }))
	out.add("device", "String", text(rows, func(r *row) string { return r.Value.Device }))
	period(out, rows, func(r *row) (unit.Micros, unit.Micros) { return r.Value.From, r.Value.To })
	out.add("reason", "String", text(rows, func(r *row) string { return r.Value.Reason }))
	out.add("revision", "UInt64", number(rows, func(r *row) uint64 { return r.Revision }))
	return out
}

func period[R any](out *block, rows []R, of func(r *R) (from, to unit.Micros)) {
	out.add("from_us", "Int64", number(rows, func(r *R) int64 { from, _ := of(r); return int64(from) }))
	out.add("to_us", "Int64", number(rows, func(r *R) int64 { _, to := of(r); return int64(to) }))
}

func each[R any](rows []R, of func(r *R) string) data {
	return wordsOf(len(rows), func(i int) string { return of(&rows[i]) }, func(int) int { return 1 })
}

func text[R any](rows []R, of func(r *R) string) data {
	out := make(texts, len(rows))
	for i := range rows {
		out[i] = of(&rows[i])
	}
	return out
}

func number[R any, T int8 | int32 | uint32 | int64 | uint64 | float32](rows []R, of func(r *R) T) data {
	out := make(fixed[T], len(rows))
	for i := range rows {
		out[i] = of(&rows[i])
	}
	return out
}
