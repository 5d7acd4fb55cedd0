// Package allocations reads who held which device from a CSV file, and publishes it.
//
// It owns the format of the file (docs/allocations-csv.md) and promises that good rows go through when others are bad, that
// every bad row is named with line, column and remedy, and that the same file published twice counts once. Whether
// shares add up to more than a device is for the aggregator to find.
package allocations
