// Package smilog reads logs of nvidia-smi --query-gpu=… --format=csv and replays them as samples.
//
// It owns the forms such a log takes (columns in any order, units in the header or in the values, several GPUs, local
// time), the integration of power into an energy counter, and the account of what it could not use. It promises that
// the counter is the floor, in millijoules, of the exact trapezoid over the rows; that the same bytes under the same
// options give the same messages; and that a bad row is named and handed back, never guessed at. Memory does not grow
// with the file: it is read twice, once to learn what is in it and once to replay it.
//
// Publishing is left to whoever is handed in, and epochs, estimates and every other decision to the aggregator.
//
// # Time
//
// A row's time is local time unless it carries an offset. In the hour that comes twice when summer time ends, a GPU's
// rows are in summer time until its clock steps back by more than a second; from there they are in winter time. A time
// in the hour that spring leaves out never was: the row is bad. Time is accounted once: a row at the time of the one
// before replaces its power for what follows and makes no sample, and a row before it is handed back.
//
// # Gaps
//
// The trapezoid joins neighbours with power that are at most MaxGap apart, ten times the median spacing unless stated.
// What is further apart is a gap: it adds no energy, and coverage says how much of the time that is.
package smilog
