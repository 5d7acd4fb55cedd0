package wire

// The topics. Each name ends in the major version of its schema.
const (
	TopicSample     = "wl.sample.v1"
	TopicAllocation = "wl.allocation.v1"
	TopicReading    = "wl.reading.v1"
	TopicInventory  = "wl.inventory.v1"
	TopicRefused    = "wl.refused.v1"
	TopicClosing    = "wl.closing.v1"
)

// SchemaVersion is the minor version written into every message. A reader accepts every minor version of its topic:
// fields are only ever added.
const SchemaVersion = 1

// MaxMessageBytes is the most one message may hold, uncompressed: what a default Kafka broker accepts in one batch,
// less room for headers.
const MaxMessageBytes = 960 << 10

// AbsentTime is the value of energy_ts_us in a row without an energy reading.
const AbsentTime = ^uint64(0)
