package spool

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
)

// streamBytes is how much of a segment is read at once to look through it.
const streamBytes = 128 << 10

// makeRoom gives up the oldest segments until the next message fits within the limits. The last segment always stays. The
// caller holds wmu.
func (s *Spool) makeRoom(size int64, now unit.Micros) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.segments) > 1 {
		var why Reason
		switch {
		case s.bytes()+size > s.cfg.MaxBytes:
			why = ReasonFull
		case s.cfg.MaxAge > 0 && now-s.segments[1].begun > unit.Micros(s.cfg.MaxAge.Microseconds()): // all of the oldest is older
			why = ReasonAge
		default:
			return nil
		}
		if err := s.dropOldest(why); err != nil {
			return fmt.Errorf("make room: %w", err)
		}
	}
	return nil
}

// dropOldest gives up what waits in the oldest segment. The loss is remembered before the file goes: a kill between the two
// finds the numbers passed and only removes the file. The caller holds mu.
func (s *Spool) dropOldest(why Reason) error {
	seg, high := s.segments[0], s.segments[1].first
	if s.acked+1 < high {
		if err := s.giveUp(high-1, s.waitingIn(seg, high, why, s.segments[1].begun)); err != nil {
			return err
		}
		s.oldest = s.segments[1].begun
	} else if err := s.cursor.sync(); err != nil {
		s.count("cursor", err)
		return err
	}
	s.segments = slices.Delete(s.segments, 0, 1)
	s.remove(seg)
	return nil
}

// waitingIn sums what is unpublished in a segment. What cannot be read is known by its numbers alone.
func (s *Spool) waitingIn(seg *segment, high uint64, why Reason, until unit.Micros) (t tally) {
	var known uint64
	err := s.walk(seg, high, func(st *step) {
		if st.kind == kindMessage && st.number > s.acked {
			t.of(why, st.topic, st.mark.Run).add(&st.entry, st.size)
			known++
		}
	})
	s.count("read", err)
	if unknown := high - 1 - s.acked - known; unknown > 0 {
		t.of(why, nil, [wire.RunBytes]byte{}).join(Loss{From: seg.begun, To: max(seg.begun, until), Messages: unknown})
	}
	return t
}

// walk shows each readable record of a segment.
func (s *Spool) walk(seg *segment, high uint64, each func(*step)) (err error) {
	f, err := s.folder.Open(seg.name)
	if err != nil {
		return fmt.Errorf("open %s: %w", seg.name, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := walker{least: streamBytes}
	w.reset(f, 0, seg.size, seg.first, high)
	for {
		st, err := w.next(true)
		if err == nil || errors.Is(err, io.EOF) {
			each(&st) // at the end only what was bad there
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", seg.name, err)
		}
	}
}

// free removes the segments that are published. The cursor is on disk before they go: otherwise a power cut might bring back
// an older cursor, and what was published would look lost. The caller holds mu.
func (s *Spool) free() error {
	for len(s.segments) > 1 && s.segments[1].first-1 <= s.acked {
		if err := s.cursor.sync(); err != nil {
			s.count("cursor", err)
			return err
		}
		seg := s.segments[0]
		s.segments = slices.Delete(s.segments, 0, 1)
		s.remove(seg)
	}
	return nil
}

// remove deletes a file whose messages are done with. If it stays, the next start of the collector deletes it.
func (s *Spool) remove(seg *segment) {
	if err := s.folder.Remove(seg.name); err != nil {
		s.count("remove", err)
		s.log.Warn("segment not removed", "reason", reason(err), "segment", seg.name, "error", err)
	}
}
