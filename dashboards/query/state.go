package query

import "time"

// State is what of the stored data moves no more. A plan chooses levels by it, and a cache what it may keep.
type State struct {
	// At is when it was read, by the clock of the process that asked.
	At time.Time
	// Newest is the latest tick of a message stored; zero where there is none.
	Newest time.Time
	// Devices is how many the inventory knows, whatever became of them.
	Devices uint64
	// Sites by id.
	Sites map[string]SiteState
	// Levels by name: 10s, 1m, 1h, and node_10s, … of the sums of nodes. One that is missing has no row.
	Levels map[string]LevelState
	// Open is what was found out of hours that are not closed, for the question that is asked: see OpenOf. Without it they are not estimated.
	Open *Open
	// Held is what a tenant who asks held, where that is known: see HoldingsOf.
	Held *Holdings
}

// SiteState is how far a site's ledger is.
type SiteState struct {
	// Batches is how many are sealed; ledger figures as of the same number are the same.
	Batches uint64
	// Adjustments is how many lines of them correct others.
	Adjustments uint64
	// ClosedUpTo is the end of the last closed hour; zero before the first.
	ClosedUpTo time.Time
}

// LevelState is how far a level of rollups is.
type LevelState struct {
	// Complete is up to which tick it holds all that was stored; what is later is read from the level below.
	Complete time.Time
	// Received is when the latest message that it holds was received.
	Received time.Time
}

// Health is how the engine and what it holds are.
type Health struct {
	// Version is the server's, Schema the number of the last migration.
	Version string
	Schema  int64
	// Sites that the one who asks may see, by id.
	Sites []SiteHealth
}

// SiteHealth is one line of Health.
type SiteHealth struct {
	Site    string
	Batches uint64
	// ClosedUpTo is the end of the last closed hour; zero before the first.
	ClosedUpTo time.Time
	// LastSample is the latest tick, and Age how long ago that was; zero and −1 where there is none.
	LastSample time.Time
	Age        time.Duration
}
