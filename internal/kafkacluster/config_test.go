package kafkacluster

import (
	"strings"
	"testing"
)

func TestConfigNamesEveryFault(t *testing.T) {
	good := DefaultConfig()
	good.Jars, good.Dir = "jars", "dir"
	f := func(change func(*Config), faults ...string) {
		t.Helper()
		c := good
		change(&c)
		err := c.Validate()
		if (err == nil) != (len(faults) == 0) {
			t.Fatalf("%+v: %v, want %q", c, err, faults)
		}
		for _, fault := range faults {
			if !strings.Contains(err.Error(), fault) {
				t.Errorf("%+v: %v, want %q", c, err, fault)
			}
		}
	}
	f(func(*Config) {})
	f(func(c *Config) { c.Secure, c.Users = true, []string{"ingest"} })
	f(func(c *Config) { c.Jars, c.Dir = "", "" }, "jars: empty", "dir: empty")
	f(func(c *Config) { c.Brokers, c.HeapMiB, c.Port = 0, 64, -1 }, "brokers: 0", "heap_mib: 64", "port: -1")
	f(func(c *Config) { c.Secure, c.Users = true, []string{"a,b"} }, `users: "a,b"`)
	f(func(c *Config) { c.Users = []string{"ingest"} }, "users: given, but the cluster is not secure")
}

func TestFreePortsLieBelowThoseOfConnections(t *testing.T) {
	ports, err := freePorts(0, 9)
	if err != nil || len(ports) != 9 {
		t.Fatal(ports, err)
	}
	seen := map[int]bool{}
	for _, p := range ports {
		if p < 20_000 || p >= 32_000 || seen[p] {
			t.Errorf("ports %v", ports)
		}
		seen[p] = true
	}
}
