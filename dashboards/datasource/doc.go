// Package datasource is the Grafana data source: its front end lies in src, its backend in pkg, its packaging in release.
//
// This package itself is tests alone. They hold both sides to the same settings, look at the editors in a real browser, and keep the
// pictures of the catalogue true: what is shown there is what the editors draw.
package datasource
