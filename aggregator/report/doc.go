// Package report turns entries of the ledger into what people read: usage, power and carbon by tenant, the fleet by site.
//
// It owns what a report holds and how it is written as CSV, JSON and tables. A report is the sum of the entries it was
// given and nothing else; it names the rules, factors and seals it rests on and what in it is modelled. The same entries
// give the same bytes: nothing here reads a clock, a file or the network. What is charged is left to invoice, where
// work may run to sovereignty.
package report
