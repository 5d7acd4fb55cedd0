// Package host starts the plugin's backend as Grafana does, and asks it as Grafana does. No Grafana is needed.
//
// It speaks go-plugin's handshake and Grafana's gRPC services, and hands over what Grafana would: the settings of a data source, its
// decrypted secrets, who asks and with which headers. What comes back are the SDK's own types, with frames decoded from Arrow. It knows
// nothing of Wattledger: tests of dashboards, the end-to-end tests and the benchmark ask their questions through it.
package host
