package spool

import (
	"errors"
	"fmt"
	"time"
)

// The policies of Config.Sync.
const (
	// SyncAlways asks the disk for every message before Put returns: what was acknowledged survives a power cut.
	SyncAlways = "always"
	// SyncInterval asks at most every Config.SyncEvery: a power cut takes what is younger. A kill takes nothing.
	SyncInterval = "interval"
)

// Config says where messages wait, and how many.
type Config struct {
	// Dir is the folder of the spool; nothing else may be kept in it. The collector takes the folder spool under --data.
	Dir string `yaml:"dir"`
	// MaxBytes is how much the segments may hold before the oldest is given up.
	MaxBytes int64 `yaml:"max_bytes"`
	// MaxAge is how long messages wait before they are given up, by the node's clock; 0 means for ever.
	MaxAge time.Duration `yaml:"max_age"`
	// SegmentBytes is the size of one file, and so the least that is given up at once. No message may be larger.
	SegmentBytes int64 `yaml:"segment_bytes"`
	// Sync is always or interval: whether every message is on disk before it is acknowledged, or only every SyncEvery.
	Sync string `yaml:"sync"`
	// SyncEvery is what a power cut may take when Sync is interval.
	SyncEvery time.Duration `yaml:"sync_every"`
}

// DefaultConfig holds 2 GiB or a week, whichever is less, and loses nothing that it acknowledged.
func DefaultConfig() Config {
	return Config{MaxBytes: 2 << 30, MaxAge: 7 * 24 * time.Hour, SegmentBytes: 4 << 20, Sync: SyncAlways, SyncEvery: time.Second}
}

// Validate reports every fault at once.
func (c Config) Validate() error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.Dir == "" {
		bad("dir: empty; name a folder with --data")
	}
	if c.SegmentBytes < 4<<10 || c.SegmentBytes > 1<<30 {
		bad("segment_bytes: %d; must lie between 4096 and %d", c.SegmentBytes, 1<<30)
	}
	if c.MaxBytes < 2*c.SegmentBytes {
		bad("max_bytes: %d; must be at least twice segment_bytes, which is %d", c.MaxBytes, c.SegmentBytes)
	}
	if c.MaxAge != 0 && c.MaxAge < time.Second {
		bad("max_age: %v; must be a second or more, or 0 for no limit", c.MaxAge)
	}
	if c.Sync != SyncAlways && c.Sync != SyncInterval {
		bad("sync: %q; one of %s, %s", c.Sync, SyncAlways, SyncInterval)
	}
	if c.SyncEvery < time.Millisecond {
		bad("sync_every: %v; must be a millisecond or more", c.SyncEvery)
	}
	return errors.Join(faults...)
}
