package redfish

import "github.com/prometheus/client_golang/prometheus"

// metrics are what the client counts.
type metrics struct {
	requests, logins *prometheus.CounterVec
}

func newMetrics() *metrics {
	return &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wattledger_collector_redfish_requests_total", Help: "Requests to the BMC, by status or by what went wrong.",
		}, []string{"code"}),
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wattledger_collector_redfish_logins_total", Help: "Logins at the BMC: session, basic where sessions are not served, refused.",
		}, []string{"result"}),
	}
}
