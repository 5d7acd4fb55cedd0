package kafkacluster

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
)

// Admin is the user of a secure cluster who may do everything.
const Admin = "admin"

// Config is one cluster.
type Config struct {
	// Jars is the folder with Kafka's jars; see Installed.
	Jars string
	// Dir takes data, certificates, passwords and what the brokers log.
	Dir string
	// Brokers is how many there are.
	Brokers int
	// Port is where the first broker listens, the others behind it; 0 takes free ones.
	Port int
	// HeapMiB is the heap of each broker.
	HeapMiB int
	// Secure has clients come over TLS, log in by SCRAM-SHA-512 and do only what an ACL allows them.
	Secure bool
	// Users may log in to a secure cluster, besides Admin.
	Users []string
	// Properties are set after ours, in every broker.
	Properties map[string]string
}

// DefaultConfig is one broker without locks.
func DefaultConfig() Config { return Config{Brokers: 1, HeapMiB: 256} }

var userName = regexp.MustCompile(`^[a-z0-9-]+$`)

// Validate reports every fault at once.
func (c Config) Validate() error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.Jars == "" {
		bad("jars: empty")
	}
	if c.Dir == "" {
		bad("dir: empty")
	}
	if c.Brokers < 1 || c.Brokers > 9 {
		bad("brokers: %d; must lie between 1 and 9", c.Brokers)
	}
	if c.Port < 0 || c.Port > 65_535-2*9 {
		bad("port: %d; must lie between 0 and %d", c.Port, 65_535-2*9)
	}
	if c.HeapMiB < 128 {
		bad("heap_mib: %d; a broker needs 128 or more", c.HeapMiB)
	}
	for _, u := range c.Users {
		if !userName.MatchString(u) {
			bad("users: %q; lower-case letters, digits and hyphens", u)
		}
	}
	if len(c.Users) > 0 && !c.Secure {
		bad("users: given, but the cluster is not secure and asks for none")
	}
	return errors.Join(faults...)
}

// users are those who may log in.
func (c Config) users() []string {
	if !c.Secure {
		return nil
	}
	return slices.Compact(slices.Sorted(slices.Values(append([]string{Admin}, c.Users...))))
}
