// Package scale reckons what a fleet needs: it turns the figures of docs/scale.yaml into the tables of docs/scale.md.
//
// It promises that the page says what follows from the figures. Whether the figures are right, benchmarks must tell. It holds nothing
// but tests; go generate writes the page anew.
package scale
