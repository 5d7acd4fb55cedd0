// Package unit holds the named integers in which Wattledger keeps accounts, and their exact arithmetic.
//
// Every quantity that can reach a ledger is a signed integer: sums are then independent of their order, and
// corrections are negative. Products of two quantities go through 128 bits. Floats exist only in String methods.
package unit
