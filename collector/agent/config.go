package agent

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
)

// Config says which node this is and how its samples leave.
type Config struct {
	// Node and Site are the names the inventory knows.
	Node string `yaml:"node"`
	Site string `yaml:"site"`
	// Period is the time between readings. Ticks fall on its multiples since 1970, moved by Phase.
	Period time.Duration `yaml:"period"`
	// Phase moves the ticks within a period, so that a fleet need not read in the same instant.
	Phase time.Duration `yaml:"phase"`
	// MaxAge is how old the oldest row of a message may grow before the message leaves, by the agent's clock.
	MaxAge time.Duration `yaml:"max_age"`
	// MaxBytes is the size at which a message leaves, before compression.
	MaxBytes int `yaml:"max_bytes"`
	// MaxTicks is the number of ticks at which a message leaves; 0 means no limit but the other two.
	MaxTicks int `yaml:"max_ticks"`
	// Queue is how many messages wait while the publisher is busy or away.
	Queue int `yaml:"queue"`
	// BlockWhenFull makes reading wait for room in the queue. That is for a virtual clock, which waits with it; under a
	// real clock the oldest message is dropped and counted, and the ticks show the gap.
	BlockWhenFull bool `yaml:"block_when_full"`
	// RetryMin and RetryMax bound the wait between attempts to publish; it doubles from one to the other.
	RetryMin time.Duration `yaml:"retry_min"`
	RetryMax time.Duration `yaml:"retry_max"`
	// StopTimeout is how long a stop waits for the queue to empty.
	StopTimeout time.Duration `yaml:"stop_timeout"`
	// Source names where readings come from, as messages say it.
	Source string `yaml:"-"`
	// Run identifies this run of the collector: random, or for a simulation the hash of seed and node.
	Run [wire.RunBytes]byte `yaml:"-"`
	// BootID is the kernel's boot id.
	BootID [wire.RunBytes]byte `yaml:"-"`
	// PreviousRun and PreviousLast are the run before this one and its last sequence, when known, and PreviousTick the
	// last tick it read: from there to our first tick nobody did.
	PreviousRun  []byte      `yaml:"-"`
	PreviousLast uint64      `yaml:"-"`
	PreviousTick unit.Micros `yaml:"-"`
	// Remember is how much of what a Catcher remembers is asked for after a stall.
	Remember time.Duration `yaml:"remember"`
	// ClockStep is by how much wall and steady time may part between two ticks before the clock is said to have stepped.
	ClockStep time.Duration `yaml:"clock_step"`
	// Until ends the run after the last tick that is not later, as a clean stop at that instant. 0 means run until
	// cancelled.
	Until unit.Micros `yaml:"-"`
	// Announce, if set, is told the devices at the start of the run and whenever they change. It is called by the loop
	// and must not block.
	Announce func(devices []Device) `yaml:"-"`
	// Observer, if set, is shown every reading, with Extra columns beside those that metrics are made from.
	Observer Observer `yaml:"-"`
	Extra    int      `yaml:"-"`
	// Losses, if set, is asked for what to state with each message.
	Losses Losses `yaml:"-"`
}

// DefaultConfig reads once a second and sends each second.
func DefaultConfig() Config {
	return Config{
		Period: time.Second, MaxAge: time.Second, MaxBytes: 64 << 10, Queue: 64,
		RetryMin: 100 * time.Millisecond, RetryMax: 10 * time.Second, StopTimeout: 10 * time.Second, Source: "dcgm",
		Remember: 2 * time.Minute, ClockStep: 200 * time.Millisecond,
	}
}

// Validate reports every fault at once.
func (c Config) Validate() error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.Node == "" {
		bad("node: empty; name the node as the inventory does")
	}
	if c.Site == "" {
		bad("site: empty; name the site as the inventory does")
	}
	if c.Period < time.Millisecond || c.Period > time.Hour || c.Period%time.Millisecond != 0 {
		bad("period: %v; must be whole milliseconds from 1ms to 1h", c.Period)
	}
	if c.Phase < 0 || c.Phase >= max(c.Period, 1) {
		bad("phase: %v; must lie within the period of %v", c.Phase, c.Period)
	}
	if c.MaxAge < 0 {
		bad("max_age: %v; must not be negative", c.MaxAge)
	}
	if c.MaxBytes < 1024 || c.MaxBytes > wire.MaxMessageBytes {
		bad("max_bytes: %d; must lie between 1024 and %d", c.MaxBytes, wire.MaxMessageBytes)
	}
	if c.MaxTicks < 0 {
		bad("max_ticks: %d; must not be negative", c.MaxTicks)
	}
	if c.Queue < 1 {
		bad("queue: %d; must hold at least one message", c.Queue)
	}
	if c.RetryMin <= 0 || c.RetryMax < c.RetryMin {
		bad("retry_min: %v and retry_max: %v; must be above zero and in that order", c.RetryMin, c.RetryMax)
	}
	if c.Remember < 0 || c.Remember > time.Hour {
		bad("remember: %v; must lie between 0 and 1h", c.Remember)
	}
	if c.ClockStep < time.Millisecond {
		bad("clock_step: %v; must be at least 1ms", c.ClockStep)
	}
	if c.StopTimeout < 0 {
		bad("stop_timeout: %v; must not be negative", c.StopTimeout)
	}
	if c.Run == [wire.RunBytes]byte{} {
		bad("run: all zeros; make one at random, or from what is replayed")
	}
	if c.BootID == [wire.RunBytes]byte{} {
		bad("boot id: all zeros; take the kernel's")
	}
	return errors.Join(faults...)
}

// ParseID reads 16 bytes from the text of a UUID, as the kernel writes its boot id.
func ParseID(text string) (id [wire.RunBytes]byte, err error) {
	raw, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(text), "-", ""))
	if err != nil || len(raw) != len(id) {
		return id, fmt.Errorf("%q is not the text of 16 bytes, such as 01234567-89ab-cdef-0123-456789abcdef", text)
	}
	copy(id[:], raw)
	return id, nil
}
