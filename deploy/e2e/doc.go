// Package e2e holds the black-box cases: the binaries are built and started as a user would, samples go in, documents come out.
//
// It promises what the command line promises: what is printed, what is written, how it ends, what survives a kill. It reads the
// engine over HTTP, as curl would, and of our packages uses only those that speak to Kafka and say what a message is, and for what Grafana shows
// those that start the plugin, list what it can be asked, and draw its answers. Arithmetic is left to the packages that own it: here the
// figures must only agree with themselves, and with the same day played again.
//
// The cases need libchdb in .cache (`make setup`) and a C compiler; everything else they build, once per run of the tests.
package e2e
