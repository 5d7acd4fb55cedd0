package clickhouse

import "github.com/wattledger/wattledger/schemas/record"

// The codecs of the table samples. docs/storage.md has what each came to, and `make bench-storage` measures them again.
const (
	// noisy is a counter whose every step is another number: of its steps only the bits in use are kept, bit by bit, so that
	// ZSTD finds the few that repeat.
	noisy = "Delta, T64('bit'), ZSTD(1)"
	// stepped is the same of a counter whose steps have a common measure while intervals are exact: a ratio is whole 1e-4,
	// a percentage whole. Where intervals are not exact GCD finds 1 at the first values and costs nothing more.
	stepped = "GCD, Delta, T64('bit'), ZSTD(1)"
	// quiet is what stands still or grows by the same step. A higher level finds runs across the whole block.
	quiet = "Delta, ZSTD(3)"
	// watts are floats with noise to the last bit that is read; they follow one another closely enough for a predictor.
	watts = "FPC, ZSTD(1)"
	plain = "ZSTD(1)"
)

// Codec is the compression of a metric's column in samples.
func (Flavour) Codec(m record.Metric) string {
	switch m.Kind {
	case record.Counter:
		switch m.Derivation {
		case record.RatioTime, record.PercentTime:
			return stepped
		case record.RateTime, record.TrapezoidEnergy:
			return noisy
		}
		if m.Name == record.Counters[record.CEnergy].Name {
			return noisy
		}
		return quiet
	case record.Gauge:
		if m.Field == 155 || m.Field == 157 {
			return watts
		}
	}
	return plain
}

// RowCodec is the compression of a column in samples that is not a metric.
func (Flavour) RowCodec(column string) string {
	switch column {
	case "received": // Kafka's record times are whole milliseconds
		return "GCD, Delta, ZSTD(1)"
	case "energy_ts": // DCGM's own instants
		return noisy
	case "kafka_offset":
		return "Delta, ZSTD(1)"
	}
	return quiet
}
