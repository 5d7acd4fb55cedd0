package exporter

import "net/http"

// Over makes the source ask t instead of the network.
func (s *Source) Over(t http.RoundTripper) { s.client.Transport = t }
