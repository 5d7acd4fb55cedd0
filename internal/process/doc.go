// Package process is what every main shares: configuration, logs, metrics, health, start and stop.
//
// It owns the order of configuration (flags over environment over file), the exit codes (0 done,
// 1 failed or something found wrong, 2 wrong usage), the signals, the loopback server for metrics
// and health, and the supervision of child processes. It promises that a stop reaches every
// running function and that all of them are waited for. It knows no domain: what is configured,
// measured and run is handed in.
package process
