package slurm

import (
	"errors"
	"fmt"
	"path/filepath"
)

// DefaultDirectory is where the prolog drops its files.
const DefaultDirectory = "/run/wattledger/jobs"

// Config says where jobs are found.
type Config struct {
	// Enabled reads the files that the prolog and the epilog drop.
	Enabled bool `yaml:"enabled"`
	// Directory is where they drop them. The collector must be allowed to remove files there.
	Directory string `yaml:"directory"`
	// Shared says that jobs may share a GPU (gres/shard, gres/mps): it is then divided equally by how many hold it. Otherwise a
	// job whose epilog never came is over when the next gets its GPU.
	Shared bool `yaml:"shared"`
	// MappingDirectory is dcgm-exporter's job-mapping directory, read where no prolog of ours is installed. Not with enabled.
	MappingDirectory string `yaml:"mapping_directory"`
}

// DefaultConfig asks nobody.
func DefaultConfig() Config { return Config{Directory: DefaultDirectory} }

// Validate reports every fault at once.
func (c Config) Validate() error {
	var faults []error
	if c.Enabled && !filepath.IsAbs(c.Directory) {
		faults = append(faults, fmt.Errorf("directory: %q; write the whole path", c.Directory))
	}
	if c.MappingDirectory != "" && !filepath.IsAbs(c.MappingDirectory) {
		faults = append(faults, fmt.Errorf("mapping_directory: %q; write the whole path", c.MappingDirectory))
	}
	if c.Enabled && c.MappingDirectory != "" {
		faults = append(faults, errors.New("mapping_directory: both are read, and every job would be claimed twice; leave it empty where the prolog is installed"))
	}
	return errors.Join(faults...)
}
