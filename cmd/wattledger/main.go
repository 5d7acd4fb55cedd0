// Command wattledger is the data centre's binary and the operator's command line: each role is a subcommand.
package main

import (
	"github.com/wattledger/wattledger/internal/process"
)

// commands is the grammar of the command line.
type commands struct {
	process.Flags

	Demo       demoCmd       `cmd:"" help:"Play a day of a fictional fleet through the whole pipeline, account it, and keep serving."`
	Replay     replayCmd     `cmd:"" help:"Account recorded telemetry."`
	Ingest     ingestCmd     `cmd:"" help:"Carry messages from Kafka to ClickHouse."`
	Aggregate  aggregateCmd  `cmd:"" help:"Close hours: turn samples and allocations into the ledger."`
	Ledger     ledgerCmd     `cmd:"" help:"Look at the ledger, and correct closed hours."`
	Status     statusCmd     `cmd:"" help:"Show lag, closed hours, open cuts and refused messages."`
	Doctor     doctorCmd     `cmd:"" help:"Name the records that the ledger could not take as they stand, and how to mend them."`
	Quarantine quarantineCmd `cmd:"" help:"Look at refused messages, and publish them again."`
	Report     reportCmd     `cmd:"" help:"Write usage, power and carbon reports, invoices and sovereignty reports."`
	Import     importCmd     `cmd:"" help:"State allocations or inventory from a file."`
	Factor     factorCmd     `cmd:"" help:"Fetch, import, list and check factors: carbon intensity, PUE, water, instruments."`
	Retire     retireCmd     `cmd:"" help:"Stop expecting a node or a device."`
	Return     returnCmd     `cmd:"" help:"Expect a retired node or device again."`
	Topics     topicsCmd     `cmd:"" help:"Show the topics as they are and as they should be, and make those that are missing."`
	Compact    compactCmd    `cmd:"" help:"Remove rows that an ingester cut off in the middle of an insert left twice."`
	Migrate    migrateCmd    `cmd:"" help:"Bring the database to the newest schema."`
	Schema     schemaCmd     `cmd:"" help:"Print the tables as SQL, for one server or a cluster."`
	Embedded   embeddedCmd   `cmd:"" help:"Run Kafka or ClickHouse on this machine, without a server installed."`
	Version    versionCmd    `cmd:"" help:"Print the version."`
}

var program = process.Program{
	Name:        "wattledger",
	Description: "GPU telemetry turned into accounts that people trust.",
	KnownEnv:    []string{"WATTLEDGER_LIBCHDB"},
}

func main() {
	var grammar commands
	program.Main(&grammar, &grammar.Flags)
}
