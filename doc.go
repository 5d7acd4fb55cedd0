// Package wattledger turns GPU telemetry into accounts that people trust.
//
//	collector/   measures on the node: loses nothing, decides nothing
//	ingest/      Kafka to ClickHouse: nothing lost, nothing counted twice
//	aggregator/  usage becomes accounts: every decision about energy, carbon and money is made here
//	dashboards/  shows; never computes an amount
//	schemas/     the shared language of the four trees above; imports nothing else of ours
//	deploy/      how it is installed
//	internal/    plumbing that knows no domain: processes, connections, the embedded services
//	cmd/         thin mains: wattledger and wattledger-collector
//
// The four trees never import one another: they meet as bytes in Kafka and rows in ClickHouse.
// arch_test.go holds that rule.
package wattledger
