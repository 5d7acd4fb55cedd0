package cache

import (
	"time"

	"github.com/wattledger/wattledger/dashboards/query"
)

// grains are what the ends of ranges are multiples of, each for ranges that are so many times as long: an hour for 5 s, a day for a minute.
var grains = []time.Duration{time.Minute, 30 * time.Second, 15 * time.Second, 10 * time.Second, 5 * time.Second, time.Second}

const grainsOfRange = 720

func grain(length time.Duration) time.Duration {
	for _, g := range grains {
		if g <= length/grainsOfRange {
			return g
		}
	}
	return time.Second
}

// narrowed is a range between multiples of its grain. It never begins earlier nor ends later than it did, so that no hour of the ledger comes
// in that was not asked for; one that would be empty stays as it is.
func narrowed(s query.Span) (query.Span, time.Duration) {
	g := grain(s.To.Sub(s.From))
	from, to := s.From.Truncate(g), s.To.Truncate(g)
	if from.Before(s.From) {
		from = from.Add(g)
	}
	if from.Before(to) {
		s.From, s.To = from, to
	}
	return s, g
}
