package chconn

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// EmbeddedConfig is how to reach the embedded engine that runs on this data directory. The engine writes both files
// itself: the endpoint while it runs, the password at its first start.
func EmbeddedConfig(dataDir string) (Config, error) {
	dir := filepath.Join(dataDir, "clickhouse")
	endpoint := filepath.Join(dir, "endpoint")
	b, err := os.ReadFile(endpoint)
	if errors.Is(err, fs.ErrNotExist) {
		return Config{}, fmt.Errorf("no embedded ClickHouse runs on %s: %s is absent; start `wattledger embedded clickhouse --data %s`, or configure a server: %w",
			dataDir, endpoint, dataDir, err)
	}
	if err != nil {
		return Config{}, fmt.Errorf("embedded ClickHouse: %w", err)
	}
	cfg := DefaultConfig()
	cfg.Addresses = []string{strings.TrimSpace(string(b))}
	cfg.PasswordFile = filepath.Join(dir, "password")
	// Both ends are on this machine: compressing would only cost.
	cfg.Compression = "none"
	if err := cfg.Validate(); err != nil {
		return Config{}, fmt.Errorf("embedded ClickHouse: %s: %w", endpoint, err)
	}
	return cfg, nil
}
