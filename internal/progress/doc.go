// Package progress shows long work and its results on a terminal.
//
// It owns the redrawn progress lines (bar, percent, rate, time left) with their plain form for
// files and pipes, and small tables. It promises to stay silent when asked to, to keep logs and
// bars from writing over each other when both go through it, and to let no control character of
// foreign text reach the terminal. It computes nothing: cells are texts made by the caller.
package progress
