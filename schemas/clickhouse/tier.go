package clickhouse

import (
	"github.com/wattledger/wattledger/schemas/record"
)

// Tier is one level of rollups.
type Tier struct {
	// Table holds one row per device, run, energy epoch and bucket.
	Table string
	// Seconds is the width of a bucket.
	Seconds int
	// Source is the table that a bucket is built from: the level below, or samples.
	Source string
	// Coarse and Partition are functions of a bucket's time: the first term of the sorting key after the site, and the partition.
	Coarse, Partition string
}

// Tiers are the levels, each built from the one before it.
var Tiers = []Tier{
	{"rollup_10s", 10, "samples", "toStartOfHour", "toYYYYMMDD"},
	{"rollup_1m", 60, "rollup_10s", "toStartOfDay", "toYYYYMM"},
	{"rollup_1h", 3600, "rollup_1m", "toStartOfMonth", "toYear"},
}

// Tiers are the levels of rollups, for migrations.
func (Flavour) Tiers() []Tier { return Tiers }

// Rolled are the codes that rollups keep: the epoch is part of the key.
func (Flavour) Rolled() []record.Metric {
	var out []record.Metric
	for i, m := range record.Codes {
		if i != record.CodeEnergyEpoch {
			out = append(out, m)
		}
	}
	return out
}
