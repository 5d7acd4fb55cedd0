// Package settings is a data source as an operator configured it in Grafana: where ClickHouse is, who is answered and how much.
//
// What Grafana stores in the clear is jsonData, what it encrypts is secureJsonData. Every fault is named at once, by the name of its
// field. No secret is printed by anything here.
package settings

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wattledger/wattledger/dashboards/datasource/pkg/spelling"
	"github.com/wattledger/wattledger/internal/chconn"
)

// Scope says whom a data source answers for.
type Scope string

// The scopes. There is no default: an operator says which.
const (
	// Operator sees every tenant. Whoever may query the data source is an operator then.
	Operator Scope = "operator"
	// Tenant is one tenant, whoever asks, a person or an alert rule.
	Tenant Scope = "tenant"
	// Identity is whom the verified identity of the person who asks belongs to. Without one nothing is answered.
	Identity Scope = "identity"
)

// Settings is jsonData, with the secrets beside it.
type Settings struct {
	// Host is ClickHouse's name or address; Port its port: 8123 for http, 8443 with TLS, 9000 for native, 9440 with TLS.
	Host string `json:"host"`
	Port int    `json:"port"`
	// Protocol is http or native.
	Protocol string `json:"protocol"`
	// TLS encrypts the connection. The authority's certificate and the client's own are secrets of the data source.
	TLS bool `json:"tls"`
	// ServerName is the name in the server's certificate, where it differs from the host.
	ServerName string `json:"serverName"`
	// TLSSkipVerify trusts any server: for a test bench only.
	TLSSkipVerify bool `json:"tlsSkipVerify"`
	// Database holds Wattledger's tables. Username logs in; it should be allowed to read only.
	Database string `json:"database"`
	Username string `json:"username"`
	// MaxConnections is how many statements run at once, MaxParallel how many of one request of a dashboard.
	MaxConnections int `json:"maxConnections"`
	MaxParallel    int `json:"maxParallel"`
	// DialTimeout bounds the making of a connection, QueryTimeout one question. In seconds.
	DialTimeout  int `json:"dialTimeoutSeconds"`
	QueryTimeout int `json:"queryTimeoutSeconds"`

	// Scope says whom the data source answers for. TenantID is the tenant of scope tenant.
	Scope    Scope  `json:"scope"`
	TenantID string `json:"tenant"`
	// Identity is how persons are verified and mapped, with scope identity.
	Identity Verification `json:"identity"`

	// AllowSQL lets an operator's data source ask SQL. Never with another scope.
	AllowSQL bool `json:"allowSQL"`
	// SQL bounds each such statement.
	SQL Limits `json:"sql"`

	// CacheOff asks the engine for everything, every time. CacheMiB bounds what is remembered.
	CacheOff bool `json:"cacheOff"`
	CacheMiB int  `json:"cacheMiB"`
	// MaxStreams is how many live channels run at once; 0 allows none.
	MaxStreams int `json:"maxStreams"`

	// Secrets come from secureJsonData.
	Secrets chconn.Held `json:"-"`
	// Unknown are fields of jsonData that are neither ours nor Grafana's.
	Unknown []string `json:"-"`
}

// Limits are those of one statement of an operator's own.
type Limits struct {
	Timeout   int `json:"timeoutSeconds"`
	MaxRows   int `json:"maxRows"`
	MemoryMiB int `json:"memoryMiB"`
}

// Verification says whose word is taken for who somebody is, and what follows from it.
type Verification struct {
	// Source is grafana (the signed header X-Grafana-Id) or oauth (the ID token of the login, forwarded by Grafana).
	Source string `json:"source"`
	// GrafanaURL is where this data source reaches Grafana, to fetch its signing keys. Issuer is what tokens must name:
	// Grafana's root_url where the source is grafana (empty: what Grafana tells the plugin), the provider's issuer where it is oauth.
	GrafanaURL string `json:"grafanaURL"`
	Issuer     string `json:"issuer"`
	// Audience is the client id an OAuth token must be for. A token of Grafana's must be for the organisation that asks.
	Audience string `json:"audience"`
	// TenantClaim is the claim of an OAuth token that names the tenant; OperatorClaim and OperatorValue make an operator.
	TenantClaim   string `json:"tenantClaim"`
	OperatorClaim string `json:"operatorClaim"`
	OperatorValue string `json:"operatorValue"`
	// Map says which person is which tenant, or an operator. The first line that fits decides.
	Map []Line `json:"map"`
}

// Line maps one kind of person.
type Line struct {
	// By is subject, login, email or org.
	By    string `json:"by"`
	Value string `json:"value"`
	// Tenant is whom it belongs to; Operator that it sees every tenant. One of the two.
	Tenant   string `json:"tenant"`
	Operator bool   `json:"operator"`
}

// Ways of mapping a person.
var ways = []string{"subject", "login", "email", "org"}

// theirs are fields that Grafana itself puts into a data source's jsonData.
var theirs = []string{
	"oauthPassThru", "enableSecureSocksProxy", "secureSocksProxyUsername", "pdcInjected", "manageAlerts", "alertmanagerUid", "teamHttpHeaders",
	"forwardGrafanaIdToken", "keepCookies", "httpMethod", "tlsAuth", "tlsAuthWithCACert", "disableGrafanaCache",
}

// Default is what a new data source starts with.
func Default() Settings {
	return Settings{
		Host: "127.0.0.1", Protocol: "http", Database: "wattledger", Username: "default",
		MaxConnections: 16, MaxParallel: 6, DialTimeout: 5, QueryTimeout: 30,
		SQL:      Limits{Timeout: 10, MaxRows: 10_000, MemoryMiB: 1024},
		CacheMiB: 256, MaxStreams: 50,
	}
}

// Parse reads jsonData and the decrypted secureJsonData, and reports every fault at once.
func Parse(jsonData []byte, secure map[string]string) (Settings, error) {
	s := Default()
	if len(jsonData) == 0 {
		jsonData = []byte("{}")
	}
	unknown, err := spelling.Decode(jsonData, &s, theirs...)
	if err != nil {
		return Settings{}, fmt.Errorf("settings of the data source: %w", err)
	}
	s.Unknown = unknown
	s.Secrets = chconn.Held{Password: secure["password"], CA: secure["tlsCACert"], Cert: secure["tlsClientCert"], Key: secure["tlsClientKey"]}
	if s.Port == 0 {
		s.Port = map[bool]map[string]int{false: {"http": 8123, "native": 9000}, true: {"http": 8443, "native": 9440}}[s.TLS][s.Protocol]
	}
	return s, s.Validate()
}

// Validate reports every fault at once, in one line.
func (s Settings) Validate() error {
	var f faults
	s.validateConnection(&f)
	s.validateScope(&f)
	f.between("maxConnections", s.MaxConnections, 1, 256)
	f.between("maxParallel", s.MaxParallel, 1, 64)
	f.between("dialTimeoutSeconds", s.DialTimeout, 1, 60)
	f.between("queryTimeoutSeconds", s.QueryTimeout, 1, 600)
	f.between("sql.timeoutSeconds", s.SQL.Timeout, 1, 300)
	f.between("sql.maxRows", s.SQL.MaxRows, 1, 1_000_000)
	f.between("sql.memoryMiB", s.SQL.MemoryMiB, 16, 65_536)
	f.between("cacheMiB", s.CacheMiB, 1, 65_536)
	f.between("maxStreams", s.MaxStreams, 0, 1000)
	if len(f) == 0 {
		return nil
	}
	return errors.New("settings of the data source: " + strings.Join(f, "; "))
}

func (s Settings) validateConnection(f *faults) {
	if s.Host == "" || strings.ContainsAny(s.Host, "/@? \t") {
		f.add("host %q: must be a name or an address, without a scheme or a path", s.Host)
	}
	if s.Protocol != "http" && s.Protocol != "native" {
		f.add("protocol %q: must be http or native", s.Protocol)
	} else {
		f.between("port", s.Port, 1, 65535)
	}
	if s.Database == "" {
		f.add("database: name one")
	}
	if s.Username == "" {
		f.add("username: name one")
	}
	if !s.TLS && (s.TLSSkipVerify || s.ServerName != "" || s.Secrets.CA != "" || s.Secrets.Cert != "" || s.Secrets.Key != "") {
		f.add("tls: is off, but certificates, serverName or tlsSkipVerify are set; switch it on")
	}
	if (s.Secrets.Cert == "") != (s.Secrets.Key == "") {
		f.add("tlsClientCert and tlsClientKey: belong together")
	}
}

func (s Settings) validateScope(f *faults) {
	switch s.Scope {
	case Operator:
	case Tenant:
		if s.TenantID == "" {
			f.add("tenant: scope tenant needs the tenant's id")
		}
	case Identity:
		s.Identity.validate(f)
	case "":
		f.add("scope: say whom the data source answers for: operator, tenant or identity")
	default:
		f.add("scope %q: must be operator, tenant or identity", s.Scope)
	}
	if s.Scope != Tenant && s.TenantID != "" {
		f.add("tenant: is set, but the scope is %q; set scope to tenant, or clear it", s.Scope)
	}
	if s.Scope != Identity && !reflect.DeepEqual(s.Identity, Verification{}) {
		f.add("identity: is set, but the scope is %q; set scope to identity, or clear it", s.Scope)
	}
	if s.AllowSQL && s.Scope != Operator {
		f.add("allowSQL: needs scope operator, as SQL of one's own knows no tenant")
	}
}

func (v Verification) validate(f *faults) {
	claims := v.TenantClaim != "" || v.OperatorClaim != "" || v.OperatorValue != ""
	switch v.Source {
	case "grafana":
		f.url("identity.grafanaURL", v.GrafanaURL)
		if v.Issuer != "" {
			f.url("identity.issuer", v.Issuer)
		}
		if claims || v.Audience != "" {
			f.add("identity: tenantClaim, operatorClaim and audience need source oauth; Grafana's own token has no such claims")
		}
	case "oauth":
		f.url("identity.issuer", v.Issuer)
		if v.Audience == "" {
			f.add("identity.audience: name the client id of Grafana at the provider, or a token for any other program would do")
		}
		if (v.OperatorClaim == "") != (v.OperatorValue == "") {
			f.add("identity.operatorClaim and operatorValue: belong together")
		}
		if v.GrafanaURL != "" {
			f.add("identity.grafanaURL: belongs to source grafana")
		}
	default:
		f.add("identity.source %q: must be grafana or oauth", v.Source)
	}
	if len(v.Map) == 0 && v.TenantClaim == "" {
		f.add("identity: nobody is mapped to a tenant: fill map, or name tenantClaim")
	}
	for i, l := range v.Map {
		at := "identity.map[" + strconv.Itoa(i) + "]"
		if !slices.Contains(ways, l.By) {
			f.add("%s.by %q: must be one of %s", at, l.By, strings.Join(ways, ", "))
		}
		if l.Value == "" {
			f.add("%s.value: is empty", at)
		}
		if l.Operator == (l.Tenant != "") {
			f.add("%s: needs a tenant, or operator, and not both", at)
		}
		if l.Operator && l.By == "org" {
			f.add("%s: an organisation is not an operator; name persons", at)
		}
	}
}

// Connection is how the engine is reached.
func (s Settings) Connection() chconn.Config {
	c := chconn.DefaultConfig()
	c.Addresses = []string{net.JoinHostPort(s.Host, strconv.Itoa(s.Port))}
	c.Protocol = s.Protocol
	if s.TLS && s.Protocol == "http" {
		c.Protocol = "https"
	}
	c.TLS = chconn.TLS{Enabled: s.TLS, ServerName: s.ServerName, InsecureSkipVerify: s.TLSSkipVerify}
	c.Database, c.Username, c.Held = s.Database, s.Username, s.Secrets
	c.MaxConnections = s.MaxConnections
	c.DialTimeout = time.Duration(s.DialTimeout) * time.Second
	c.ReadTimeout = time.Duration(max(s.QueryTimeout, s.SQL.Timeout)+5) * time.Second // the engine's own limit ends it before
	if s.Host == "127.0.0.1" || s.Host == "localhost" || s.Host == "::1" {
		c.Compression = "none"
	}
	return c
}

type faults []string

func (f *faults) add(format string, args ...any) { *f = append(*f, fmt.Sprintf(format, args...)) }

func (f *faults) between(name string, v, least, most int) {
	if v < least || v > most {
		f.add("%s %d: must be from %d to %d", name, v, least, most)
	}
}

func (f *faults) url(name, value string) {
	u, err := url.Parse(value)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		f.add("%s: must be a URL such as https://grafana.example.org/", name)
	}
}
