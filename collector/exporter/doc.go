// Package exporter reads devices from a dcgm-exporter that is there already, for sites that keep it.
//
// It owns one connection and what is known of the page behind it. It promises that a value of the page is taken once, however
// often pods, jobs and shares repeat it, that what a MIG instance has from its GPU is the GPU's, and that a value which the
// exporter only repeats is not new. Of what is not on the page nothing is said.
//
// # Time
//
// The page has no time stamps, so the time of a value is that of the scrape which first showed it: Config.Source of the agent
// is to be Name, and who reads the samples knows. The exporter samples at an interval of its own, 30 s by default, and
// repeats the last values until then. When the energy of a device changes, the device was sampled anew and all its values are
// new; while it does not, a value that stays the same keeps its old time. Instances follow their GPU; what has no energy
// counter follows the page.
//
// What is assumed, and its error: a change is seen by the first scrape after it, so a time stamp is late by at most the time
// between two scrapes; where scrapes are rarer than samples, by at most the exporter's interval; that of the first value after
// a start by at most the interval. The sum over a long time has no such error: energy comes from the device's counter. A
// counter that stands still cannot be told from an exporter that repeats itself: both look stale. The interval is learnt
// as the middle one of the last times between changes and shown as a metric. The agent's period is best that interval: with a
// shorter one most ticks bring nothing new.
//
// # XIDs
//
// The page shows the last XID for ever. What it shows at first is not an event; a change is. The same XID again is not
// seen, and of several between two scrapes only the last is. With MIG an XID is reported for the GPU.
package exporter
