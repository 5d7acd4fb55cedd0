// Package identity says which tenant a question of a dashboard may see.
//
// A data source of an operator or of a tenant has its scope from its settings. With the scope identity it follows from who asks, and
// who asks is believed only by a signature: Grafana's own (the header X-Grafana-Id) or that of the login's provider (the forwarded ID
// token). Nothing else that comes with a question counts: no other header, no role, no field of the query. Where there is no verified
// person (alert rules, public dashboards) nobody's data are answered.
//
// A token stands in no error and no log.
package identity
