// Package window finds the value of an energy counter at an edge in time.
//
// It owns epochs (stretches in which a counter only rises) and cuts (design §3). Neighbouring windows share a cut, so any
// way of cutting an hour adds up to the hour exactly. Nothing here reads a clock, a file or the network.
package window
