package clickhouse

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"
)

// Config says where the engine keeps its data and how much it may take of the machine.
type Config struct {
	// Data is the directory under which everything of this machine lies; the engine takes its subdirectory clickhouse.
	Data string `yaml:"data"`
	// Listen is the loopback address to answer on. Port 0 takes a free one; see the endpoint file for which.
	Listen string `yaml:"listen"`
	// LibraryPath is the libchdb to load. Empty: WATTLEDGER_LIBCHDB, then the usual places (see FindLibrary).
	LibraryPath string `yaml:"library_path"`
	// MaxServerMemory is the engine's limit in bytes over all queries. The engine lowers it to 90 % of the machine.
	MaxServerMemory int64 `yaml:"max_server_memory"`
	// MaxQueryMemory is the limit of one query in bytes. A request can lower it, never raise it.
	MaxQueryMemory int64 `yaml:"max_query_memory"`
	// MaxInsert is how many bytes of decoded insert data may be held at once, over all requests.
	// They lie in memory beside the engine's own. An insert that does not fit is refused as temporary.
	MaxInsert int64 `yaml:"max_insert"`
	// MaxQueries is how many statements run at once; more wait their turn.
	MaxQueries int `yaml:"max_queries"`
	// Grace is how long statements in flight may go on after the stop signal before they are killed.
	Grace time.Duration `yaml:"grace"`
}

// DefaultConfig is what one laptop needs.
func DefaultConfig() Config {
	return Config{
		Data:            ".wattledger",
		Listen:          "127.0.0.1:8123",
		MaxServerMemory: 4 << 30,
		MaxQueryMemory:  2 << 30,
		MaxInsert:       1 << 30,
		MaxQueries:      16,
		Grace:           10 * time.Second,
	}
}

// Validate reports every fault at once.
func (c Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.Data == "" {
		fault("data: name a directory")
	}
	if host, _, err := net.SplitHostPort(c.Listen); err != nil {
		fault("listen %q: not host:port", c.Listen)
	} else if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		fault("listen %q: the embedded engine answers on loopback only; use 127.0.0.1, or a ClickHouse server for other machines", c.Listen)
	}
	if c.MaxServerMemory < 256<<20 {
		fault("max_server_memory %d: the engine needs at least 256 MiB", c.MaxServerMemory)
	}
	if c.MaxQueryMemory < 16<<20 || c.MaxQueryMemory > c.MaxServerMemory {
		fault("max_query_memory %d: must lie between 16 MiB and max_server_memory %d", c.MaxQueryMemory, c.MaxServerMemory)
	}
	if c.MaxInsert < 1<<20 {
		fault("max_insert %d: must be at least 1 MiB", c.MaxInsert)
	}
	if c.MaxQueries < 1 || c.MaxQueries > 1000 {
		fault("max_queries %d: must lie between 1 and 1000", c.MaxQueries)
	}
	if c.Grace < 0 {
		fault("grace %s: must not be negative", c.Grace)
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("embedded clickhouse: %w", err)
	}
	return nil
}

// Directory is the engine's part of the data directory.
func Directory(data string) string { return filepath.Join(data, "clickhouse") }

// PasswordFile holds the password that every request must bring; it is made at the first start, mode 0600.
func PasswordFile(data string) string { return filepath.Join(Directory(data), "password") }

// EndpointFile holds the host:port that the running engine answers on. It is absent while none runs, unless one was killed.
func EndpointFile(data string) string { return filepath.Join(Directory(data), "endpoint") }
