package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/schemas/unit"
)

// played is what a data folder remembers of the play it holds, so that a second run adds nothing.
type played struct {
	Name       string
	Seed       uint64
	Start, End unit.Micros
	// Complete says that every hour is closed; Sent is what the collectors counted.
	Complete bool
	Sent     int64
}

func (p played) same(q played) bool {
	return p.Name == q.Name && p.Seed == q.Seed && p.Start == q.Start && p.End == q.End
}

func (p played) String() string {
	return fmt.Sprintf("%q of seed %d from %s to %s", p.Name, p.Seed, p.Start.Time().Format(time.RFC3339), p.End.Time().Format(time.RFC3339))
}

// loadPlayed is nil when the folder holds no play.
func loadPlayed(data string) (*played, error) {
	name := filepath.Join(data, "played.json")
	b, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what was played: %w", err)
	}
	var p played
	if err := json.Unmarshal(b, &p); err != nil {
		return nil, fmt.Errorf("%s: %w; remove %s to begin anew", name, err, data)
	}
	return &p, nil
}

func (p played) save(data string) error {
	b, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("write what was played: %w", err)
	}
	if err := os.MkdirAll(data, 0o750); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	return process.WriteFile(filepath.Join(data, "played.json"), b, 0o640)
}

// playedTime adds up virtual time from several nodes and gives it in whole hours.
type playedTime struct {
	mu  sync.Mutex
	sum unit.Micros
}

func (t *playedTime) add(d unit.Micros) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sum += d
	return int64(t.sum / unit.Hour)
}
