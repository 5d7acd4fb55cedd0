// Package tariff holds price lists: what a GPU-hour and a kilowatt-hour cost, and what tax is due.
//
// It owns the format of a price list, the finding of a price and the rounding of an amount. Money is exact decimals in
// one ISO 4217 currency; an amount is rounded once, half away from zero, when quantity meets price. What nobody held
// is the operator's, unless a contract in the list
// says that a tenant who reserved the node pays for it. Nothing here reads a clock, a file or the network.
package tariff
