// Package aggregator turns samples and allocations into accounts. Every decision about energy, carbon and money is made
// in this tree.
//
//	window/       epochs and cuts: the value of a counter at an edge in time
//	attribution/  splits what a counter measured over those who held the device, the parts summing to the whole
//	carbon/       energy times the factor valid then
//	closing/      one device-hour after another into entries
//	ledger/       canonical bytes, ids, seals
//	tariff/       usage times price list
//	report/       per-tenant reports, invoices, sovereignty
//	verify/       recomputes the ledger from the samples by other means
//	clickhouse/   reads usage, writes entries
package aggregator
