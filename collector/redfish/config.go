package redfish

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"time"
)

// Config says where the BMC is, how to be let in, and what to read.
type Config struct {
	// Address is the BMC's: https://10.1.2.3 or https://bmc-n1.example.org:8443. Empty means that there is none to read.
	Address string `yaml:"address"`
	// Username is the name to log in with. A read-only account is enough; it must be allowed to create sessions.
	Username string `yaml:"username"`
	// PasswordFile holds the password; white space around it is dropped. It is read at each login.
	PasswordFile string `yaml:"password_file"`
	// Auth is session, or basic for BMCs whose sessions do not work. Where a BMC serves no sessions, basic is used anyway.
	Auth string `yaml:"auth"`
	// CAFile holds the certificate authorities that we trust instead of the system's, in PEM.
	CAFile string `yaml:"ca_file"`
	// Fingerprint is the SHA-256 of the BMC's own certificate, in hex with or without colons. It replaces the check of
	// authority and name: for the self-signed certificate that a BMC comes with.
	Fingerprint string `yaml:"fingerprint"`
	// ServerName is the name expected in the certificate, when it is not that of the address.
	ServerName string `yaml:"server_name"`
	// Insecure sends the password without knowing to whom: any certificate is accepted, and so is http. For a bench only.
	Insecure bool `yaml:"insecure"`
	// Chassis names the chassis whose input is the node's, by Id or by path; several are added up. Empty means that the one
	// that is not inside another is found.
	Chassis []string `yaml:"chassis"`
	// Sensor names the sensor that measures the node's input, by path, or by Id in the chassis. Empty means the chassis's
	// own total.
	Sensor string `yaml:"sensor"`
	// EnergyDecimals is how many decimals of a kWh an energy counter must show to be used. With fewer, power is integrated:
	// one decimal is 360 kJ, half a minute of an eight-GPU node.
	EnergyDecimals int `yaml:"energy_decimals"`
	// MaxWatts is more than the node can draw, with room for BMCs that count once a minute. Power beyond it is refused, and
	// an energy counter that rises faster has begun anew.
	MaxWatts int64 `yaml:"max_watts"`
	// MaxBody is the largest answer that is read, in bytes.
	MaxBody int64 `yaml:"max_body"`
	// Period is the time between readings; 0 means that of the other meters. Many BMCs measure once in a few seconds and
	// suffer from being asked more often.
	Period time.Duration `yaml:"period"`
	// Timeout is how long one reading may take.
	Timeout time.Duration `yaml:"timeout"`
	// Node is the name of this node, the first part of the meter's name.
	Node string `yaml:"-"`
}

// DefaultConfig has no address: who has a BMC to read names it.
func DefaultConfig() Config {
	return Config{Auth: "session", EnergyDecimals: 3, MaxWatts: 100_000, MaxBody: 4 << 20, Timeout: 8 * time.Second}
}

// Enabled says whether there is a BMC to read.
func (c Config) Enabled() bool { return c.Address != "" }

// Validate reports every fault at once. It opens no file and dials nothing.
func (c Config) Validate() error {
	left := DefaultConfig()
	if left.Node = c.Node; reflect.DeepEqual(c, left) {
		return nil // nobody asks for a BMC
	}
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	switch u, err := url.Parse(c.Address); {
	case err != nil || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || (u.Scheme != "https" && u.Scheme != "http"):
		bad("address: %q; write https://HOST or https://HOST:PORT", c.Address)
	case u.Scheme == "http" && !c.Insecure:
		bad("address: %q would carry the password in the clear; write https, or set insecure on a bench", c.Address)
	}
	if c.Username == "" || c.PasswordFile == "" {
		bad("username and password_file: %q and %q; both are needed", c.Username, c.PasswordFile)
	}
	if c.Auth != "session" && c.Auth != "basic" {
		bad("auth: %q; must be session or basic", c.Auth)
	}
	if c.Fingerprint != "" {
		if _, err := fingerprint(c.Fingerprint); err != nil {
			bad("fingerprint: %v", err)
		}
		if c.CAFile != "" {
			bad("fingerprint and ca_file: both are set; the certificate is known by one or the other")
		}
	}
	if c.EnergyDecimals < 0 || c.EnergyDecimals > maxDecimals {
		bad("energy_decimals: %d; must lie between 0 and %d", c.EnergyDecimals, maxDecimals)
	}
	if c.MaxWatts < 1 || c.MaxWatts > 10_000_000 {
		bad("max_watts: %d; must lie between 1 and 10000000", c.MaxWatts)
	}
	if c.MaxBody < 1<<10 || c.MaxBody > 1<<30 {
		bad("max_body: %d; must lie between 1 KiB and 1 GiB", c.MaxBody)
	}
	if c.Period < 0 || c.Timeout < time.Millisecond {
		bad("period and timeout: %v and %v; the timeout must be at least 1ms, and neither negative", c.Period, c.Timeout)
	}
	if c.Node == "" {
		bad("node: empty; name the node as the inventory does")
	}
	return errors.Join(faults...)
}

// fingerprint reads the SHA-256 of a certificate.
func fingerprint(text string) ([]byte, error) {
	sum, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(text), ":", ""))
	if err != nil || len(sum) != 32 {
		return nil, fmt.Errorf("%q is not the SHA-256 of a certificate, 64 hex digits; ask with openssl x509 -noout -fingerprint -sha256", text)
	}
	return sum, nil
}
