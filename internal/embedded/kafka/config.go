package kafka

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/wattledger/wattledger/internal/kafkaconn"
)

// Topic is a topic the broker creates at its start if it is missing.
type Topic = kafkaconn.Topic

// Config is what the embedded broker needs.
type Config struct {
	// DataDir is the data folder of the whole installation; the broker keeps to its folder kafka.
	DataDir string `yaml:"data_dir"`
	// Listen is the loopback address to serve on; port 0 takes a free one (see Broker.Addr).
	Listen string `yaml:"listen"`
	// Topics are created when missing; those that exist keep their partitions.
	Topics []Topic `yaml:"topics"`
	// SyncWrites asks for an fsync per batch, so that acknowledged messages survive a loss of power too.
	SyncWrites bool `yaml:"sync_writes"`
	// MinSessionTimeout is the shortest session a consumer may ask for. Real clusters say 6 s; a shorter
	// one hands over a killed consumer's partitions sooner.
	MinSessionTimeout time.Duration `yaml:"min_session_timeout"`
}

// MaxBatchBytes is the largest batch the broker takes: Kafka's own default.
const MaxBatchBytes = 1_048_588

// DefaultConfig serves on Kafka's usual port, to this machine only.
func DefaultConfig() Config {
	return Config{Listen: "127.0.0.1:9092", MinSessionTimeout: time.Second}
}

// Validate reports every fault at once.
func (c Config) Validate() error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.DataDir == "" {
		bad("data_dir: empty; name a folder with --data")
	}
	if host, port, err := net.SplitHostPort(c.Listen); err != nil {
		bad("listen: %q is not host:port", c.Listen)
	} else {
		// There is no login, so nobody outside this machine may reach it.
		if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
			bad("listen: %q is not a loopback address such as 127.0.0.1; the embedded broker has no login", host)
		}
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			bad("listen: port %q is not a number from 0 to 65535", port)
		}
	}
	seen := map[string]bool{}
	for i, t := range c.Topics {
		switch {
		case t.Name == "":
			bad("topics[%d].name: empty", i)
		case seen[t.Name]:
			bad("topics[%d].name: %s is listed twice", i, t.Name)
		}
		seen[t.Name] = true
		if t.Partitions < 1 || t.Partitions > 10_000 {
			bad("topics[%d].partitions: %d; must lie between 1 and 10000", i, t.Partitions)
		}
	}
	if c.MinSessionTimeout < time.Millisecond {
		bad("min_session_timeout: %v; must be a millisecond or more", c.MinSessionTimeout)
	}
	return errors.Join(faults...)
}
