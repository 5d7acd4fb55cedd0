package spool

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/wattledger/wattledger/collector/message"
)

// recover finds out where an earlier process stopped. It looks into the last segment only: what is damaged before is found
// when its turn comes. Every start runs it, the first one on an empty folder.
func (s *Spool) recover() error {
	names, err := s.folder.Names()
	if err != nil {
		return fmt.Errorf("list: %w", err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, newSuffix) {
			if err := s.folder.Remove(name); err != nil {
				return fmt.Errorf("remove %s: %w", name, err)
			}
		}
		if first, ok := numberOf(name); ok {
			s.segments = append(s.segments, &segment{name: name, first: first})
		}
	}
	slices.SortFunc(s.segments, func(a, b *segment) int { return strings.Compare(a.name, b.name) })
	if err := s.recall(); err != nil {
		return err
	}
	var known bool
	if s.cursor, s.acked, known, err = openCursor(s.folder); err != nil {
		return err
	}
	if !known && len(s.segments) > 0 {
		s.acked = s.segments[0].first - 1
	}
	s.acked = max(s.acked, s.passed)
	if err := s.sizes(); err != nil {
		return err
	}
	if err := s.tail(); err != nil {
		return err
	}
	// After a power cut the cursor may know of messages that are gone. Their numbers are not used again.
	s.last = max(s.last, s.acked)
	if err := s.recallMarks(); err != nil {
		return err
	}
	if seg, _ := s.holding(s.acked + 1); seg != nil {
		s.oldest = seg.begun
	}
	return s.free()
}

// recall reads the memory of losses. One that is damaged is set aside: the messages matter more.
func (s *Spool) recall() error {
	b, err := readWhole(s.folder, memoryName)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", memoryName, err)
	}
	if s.passed, s.losses, s.stated, err = decodeMemory(b); err != nil {
		s.met.errors.WithLabelValues("recall", "corrupt").Inc()
		s.log.Error("losses forgotten", "reason", ReasonCorrupt, "error", err)
		if err := s.folder.Rename(memoryName, memoryName+badSuffix); err != nil {
			return fmt.Errorf("set %s aside: %w", memoryName, err)
		}
	}
	// Any of them may be in a message already that was put before the process ended.
	s.fixed = len(s.losses)
	return nil
}

// sizes learns how long each segment is and when it was begun.
func (s *Spool) sizes() error {
	w := walker{least: 4 << 10}
	until := s.clock()
	for i := len(s.segments) - 1; i >= 0; i-- {
		seg := s.segments[i]
		f, err := s.folder.Open(seg.name)
		if err != nil {
			return fmt.Errorf("open %s: %w", seg.name, err)
		}
		if seg.size, err = f.Size(); err == nil {
			seg.begun = until // where it does not say, it is not given up for its age too early
			w.reset(f, 0, seg.size, seg.first, seg.first+1)
			if seg.size > int64(len(magic)) {
				if e, size, err := w.at(int64(len(magic)), true); err == nil && size > 0 {
					seg.begun = e.at
				}
			}
			until = seg.begun
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("look into %s: %w", seg.name, err)
		}
	}
	return nil
}

// tail finds the end of the last segment and cuts off what was half written.
func (s *Spool) tail() error {
	for len(s.segments) > 0 {
		seg := s.segments[len(s.segments)-1]
		var end int64 // of the last readable record
		last := seg.first - 1
		err := s.walk(seg, ^uint64(0), func(st *step) {
			if st.size == 0 {
				return
			}
			end = st.off + st.size
			if st.kind == kindMessage {
				last = st.number
			}
		})
		if err != nil {
			return err
		}
		s.last = max(s.last, last)
		if end == 0 {
			if err := s.unbegun(seg); err != nil {
				return err
			}
			continue
		}
		if s.last > last {
			return nil // a later segment was never begun; this one is complete
		}
		f, err := s.folder.Open(seg.name)
		if err != nil {
			return fmt.Errorf("open %s: %w", seg.name, err)
		}
		s.file = f
		if torn := seg.size - end; torn > 0 {
			if err := f.Truncate(end); err != nil {
				return fmt.Errorf("cut the torn end of %s: %w", seg.name, err)
			}
			s.met.torn.Add(float64(torn))
			s.log.Info("torn end cut off", "segment", seg.name, "bytes", torn)
			seg.size = end
		}
		// A killed process may not have synced what it wrote, and this one only syncs what it writes.
		if err := f.Sync(); err != nil {
			return fmt.Errorf("sync %s: %w", seg.name, err)
		}
		return nil
	}
	return nil
}

// unbegun takes the last segment away when nothing in it can be read. A short one is the work of a process that was killed
// before it could acknowledge anything; a longer one did hold messages, nobody knows how many.
func (s *Spool) unbegun(seg *segment) error {
	s.segments = s.segments[:len(s.segments)-1]
	s.met.torn.Add(float64(seg.size))
	if seg.size < 4<<10 {
		if err := s.folder.Remove(seg.name); err != nil {
			return fmt.Errorf("remove %s: %w", seg.name, err)
		}
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock()
	if err := s.giveUp(s.passed, tally{{Reason: ReasonCorrupt, From: now, To: now, Messages: 1, Bytes: uint64(seg.size)}}); err != nil {
		return err
	}
	if err := s.folder.Rename(seg.name, strings.TrimSuffix(seg.name, segmentSuffix)+"-0"+badSuffix); err != nil {
		return fmt.Errorf("set %s aside: %w", seg.name, err)
	}
	return nil
}

// recallMarks finds the last mark of every topic: in the last segment, or in those before where it does not begin with them.
func (s *Spool) recallMarks() error {
	for i := len(s.segments) - 1; i >= 0; i-- {
		found, opened := map[string]message.Mark{}, false
		high := ^uint64(0)
		if i+1 < len(s.segments) {
			high = s.segments[i+1].first
		}
		err := s.walk(s.segments[i], high, func(st *step) {
			switch {
			case st.size == 0:
			case st.kind == kindMessage:
				found[string(st.topic)] = after(found[string(st.topic)], st.mark)
			default:
				opened = st.eachMark(func(topic []byte, m message.Mark) { found[string(topic)] = m })
			}
		})
		if err != nil {
			return err
		}
		for topic, m := range found {
			if _, ok := s.marks[topic]; !ok {
				s.marks[topic] = m
			}
		}
		if opened {
			break
		}
	}
	return nil
}
