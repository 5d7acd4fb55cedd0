package kubernetes

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// Where a pod finds its service account (Kubernetes documentation, "Accessing the Kubernetes API from a Pod").
const (
	accountToken = "/var/run/secrets/kubernetes.io/serviceaccount/token" //nolint:gosec // G101: the place of a credential, not one
	accountCA    = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
)

// api is a client of the API server for the few things read here. It is used by one goroutine at a time for watching, and
// by others for single reads.
type api struct {
	url, tokenFile string
	http           *http.Client
}

// What one answer may hold. A pod is some 20 KiB, and an object of etcd 1.5 MiB at most.
const (
	maxPage  = 32 << 20
	maxEvent = 4 << 20
	pageSize = 50
)

// errNoAccess means that there is no way to the API server that is configured or permitted.
var errNoAccess = errors.New("no access to the API server")

// errExpired means that a resource version is too old to watch from: list again.
var errExpired = errors.New("resource version expired")

// newAPI finds the way. It is nil where none is configured.
func newAPI(cfg APIConfig, getenv func(string) string) (*api, error) {
	host, port := getenv("KUBERNETES_SERVICE_HOST"), getenv("KUBERNETES_SERVICE_PORT")
	switch {
	case cfg.URL == "none":
		return nil, nil
	case cfg.URL == "" && host == "":
		return nil, nil
	case cfg.URL == "":
		cfg.URL = "https://" + net.JoinHostPort(host, port)
		if cfg.TokenFile == "" {
			cfg.TokenFile = accountToken
		}
		if cfg.CAFile == "" {
			cfg.CAFile = accountCA
		}
	}
	roots := (*x509.CertPool)(nil)
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("certificates of the API server: %w; name the file in api.ca_file", err)
		}
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("certificates of the API server: %s holds no certificate in PEM", cfg.CAFile)
		}
	}
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2: true, MaxIdleConns: 2, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: 10 * time.Second,
		DialContext: (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		// A watch that hears nothing for long must not be taken for a quiet node.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
	}
	return &api{strings.TrimSuffix(cfg.URL, "/"), cfg.TokenFile, &http.Client{Transport: transport}}, nil
}

func (a *api) get(ctx context.Context, path string, query url.Values) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, fmt.Errorf("ask the API server for %s: %w", path, err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "wattledger-collector")
	if a.tokenFile != "" {
		token, err := os.ReadFile(a.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("token for the API server: %w", err)
		}
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the API server for %s: %w", path, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 300))
	resp.Body.Close()
	cause := fmt.Errorf("%s: %s", resp.Status, strings.Join(strings.Fields(string(text)), " "))
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		cause = fmt.Errorf("%w: %w; the role in docs/collector-workloads.md permits it", errNoAccess, cause)
	case http.StatusGone:
		cause = fmt.Errorf("%w: %w", errExpired, cause)
	case http.StatusNotFound:
		cause = fmt.Errorf("%w: %w", errNotFound, cause)
	}
	return nil, fmt.Errorf("ask the API server for %s: %w", path, cause)
}

var errNotFound = errors.New("not found")

func (a *api) decode(ctx context.Context, path string, query url.Values, to any) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	resp, err := a.get(ctx, path, query)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxPage)).Decode(to); err != nil {
		return fmt.Errorf("answer of the API server to %s: %w", path, err)
	}
	return nil
}

// pods lists the pods of a node, page by page, and the version to watch from.
func (a *api) pods(ctx context.Context, node string, each func(*podObject)) (version string, err error) {
	query := url.Values{"fieldSelector": {"spec.nodeName=" + node}, "limit": {fmt.Sprint(pageSize)}}
	for {
		var page struct {
			Metadata struct {
				ResourceVersion string `json:"resourceVersion"`
				Continue        string `json:"continue"`
			} `json:"metadata"`
			Items []podObject `json:"items"`
		}
		if err := a.decode(ctx, "/api/v1/pods", query, &page); err != nil {
			return "", err
		}
		for i := range page.Items {
			each(&page.Items[i])
		}
		version = page.Metadata.ResourceVersion
		if page.Metadata.Continue == "" {
			return version, nil
		}
		query.Set("continue", page.Metadata.Continue)
	}
}

func (a *api) pod(ctx context.Context, namespace, name string) (*podObject, error) {
	p := &podObject{}
	return p, a.decode(ctx, "/api/v1/namespaces/"+url.PathEscape(namespace)+"/pods/"+url.PathEscape(name), nil, p)
}

// watch calls each for every change after a version until the server ends the watch, which it does every few minutes, and
// comes back with the version to go on from. open is called once it is known to be up.
func (a *api) watch(ctx context.Context, node, version string, open func(), each func(kind string, p *podObject)) (string, error) {
	const lasts = 4 * time.Minute
	ctx, cancel := context.WithTimeout(ctx, lasts+time.Minute)
	defer cancel()
	resp, err := a.get(ctx, "/api/v1/pods", url.Values{
		"fieldSelector": {"spec.nodeName=" + node}, "watch": {"1"}, "resourceVersion": {version}, "allowWatchBookmarks": {"true"},
		"timeoutSeconds": {fmt.Sprint(int(lasts.Seconds()))},
	})
	if err != nil {
		return version, err
	}
	defer resp.Body.Close()
	open()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 0, 32<<10), maxEvent)
	for lines.Scan() {
		var event struct {
			Type   string          `json:"type"`
			Object json.RawMessage `json:"object"`
		}
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			return version, fmt.Errorf("event of the API server: %w", err)
		}
		if event.Type == "ERROR" {
			var status struct {
				Code    int    `json:"code"`
				Message string `json:"message"`
			}
			if json.Unmarshal(event.Object, &status) == nil && status.Code == http.StatusGone {
				return version, fmt.Errorf("watch pods: %w: %s", errExpired, status.Message)
			}
			return version, fmt.Errorf("watch pods: %s (code %d)", status.Message, status.Code)
		}
		p := &podObject{}
		if err := json.Unmarshal(event.Object, p); err != nil {
			return version, fmt.Errorf("event of the API server: %w", err)
		}
		if p.Metadata.ResourceVersion != "" {
			version = p.Metadata.ResourceVersion
		}
		if event.Type != "BOOKMARK" {
			each(event.Type, p)
		}
	}
	if err := lines.Err(); err != nil {
		return version, fmt.Errorf("watch pods: %w", err)
	}
	return version, nil
}
