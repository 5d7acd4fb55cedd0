package inventory

import (
	"fmt"
	"time"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Retire ends the last of the stays of a node or device at an instant. stays are in order of time, as they are known now;
// open is the first hour that is not closed.
func Retire(stays []record.Stay, at, open unit.Micros, reason string) (record.Stay, error) {
	s, err := last(stays)
	switch {
	case err != nil:
		return s, err
	case s.To != 0:
		return s, fmt.Errorf("%s is retired already, since %s; `wattledger return` takes it back", name(s), stamp(s.To))
	case at < s.From:
		return s, fmt.Errorf("%s is expected from %s on; it cannot be retired before, at %s", name(s), stamp(s.From), stamp(at))
	}
	if err := unclosed(s, at, open); err != nil {
		return s, err
	}
	s.To, s.Reason = at, reason
	return s, nil
}

// Return begins another stay of a node or device at an instant, or goes on with the last one where that instant is its end.
func Return(stays []record.Stay, at, open unit.Micros, reason string) (record.Stay, error) {
	s, err := last(stays)
	switch {
	case err != nil:
		return s, err
	case s.To == 0:
		return s, fmt.Errorf("%s is not retired; there is nothing to take back", name(s))
	case at < s.To:
		return s, fmt.Errorf("%s was retired at %s; it cannot return before, at %s", name(s), stamp(s.To), stamp(at))
	}
	if err := unclosed(s, at, open); err != nil {
		return s, err
	}
	if at == s.To {
		s.To, s.Reason = 0, reason
		return s, nil
	}
	// An hour has one beginning and one end of each node and device.
	if next := (s.To + unit.Hour - 1).FloorHour(); at < next {
		return s, fmt.Errorf("%s was retired at %s and cannot return in the same hour: return it from %s on, or with --at %s as if it had not been retired",
			name(s), stamp(s.To), stamp(next), s.To.Time().Format(time.RFC3339Nano))
	}
	return record.Stay{Site: s.Site, Node: s.Node, Device: s.Device, From: at, Reason: reason}, nil
}

func last(stays []record.Stay) (record.Stay, error) {
	if len(stays) == 0 {
		return record.Stay{}, fmt.Errorf("nothing is known of when it is expected; state it with `wattledger import inventory`")
	}
	return stays[len(stays)-1], nil
}

// unclosed refuses an instant within a closed hour.
func unclosed(s record.Stay, at, open unit.Micros) error {
	if at >= open {
		return nil
	}
	return fmt.Errorf("%s lies in an hour of site %s that is closed, and closed hours do not change; the first that is open begins at %s: use --at %s or later",
		stamp(at), s.Site, stamp(open), open.Time().Format(time.RFC3339))
}

func name(s record.Stay) string {
	if s.Device != "" {
		return "device " + s.Device
	}
	return "node " + s.Node
}

func stamp(t unit.Micros) string { return t.Time().Format(time.RFC3339) }
