// Package provider holds what every publisher of carbon intensity is asked with: a careful HTTP client, the shape of an answer, and
// exact numbers.
//
// It promises that nobody is asked faster than they allow, that an answer is bounded, that no secret reaches an error or a log, and that
// a value that is missing stays missing: never 0. What a publisher's answer means is the business of the package named after it.
package provider
