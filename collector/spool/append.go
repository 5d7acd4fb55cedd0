package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/wattledger/wattledger/collector/agent"
	"github.com/wattledger/wattledger/collector/message"
	"github.com/wattledger/wattledger/schemas/unit"
)

// Put appends a message. It is message.Sink: a nil error means that the message is on disk as Config.Sync says. After an
// error the caller still has it, and may find it published all the same if the collector was killed before the next Put.
func (s *Spool) Put(ctx context.Context, m *message.Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if size := messageBytes(m); len(m.Topic) > math.MaxUint16 || size > s.cfg.SegmentBytes/2 && size > s.cfg.SegmentBytes-s.openingBytes() {
		return fmt.Errorf("%w: %d bytes do not fit in a segment of the spool: raise segment_bytes of the spool or lower max_bytes of the agent",
			agent.ErrRefused, size)
	}
	s.wmu.Lock()
	defer s.wmu.Unlock()
	if s.isClosed() {
		return ErrClosed
	}
	if err := s.append(m, s.clock()); err != nil {
		return &diskError{fmt.Errorf("spool %s: %w", s.cfg.Dir, err)}
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return nil
}

// diskError carries its own word for itself, for the agent's metrics.
type diskError struct{ err error }

func (e *diskError) Error() string { return e.err.Error() }
func (e *diskError) Unwrap() error { return e.err }
func (e *diskError) Code() string  { return reason(e.err) }

// openingBytes is room enough for what begins a segment.
func (s *Spool) openingBytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := int64(len(magic) + frameBytes + openingHead)
	for topic := range s.marks {
		n += int64(2 + len(topic) + markBytes)
	}
	return n
}

// append writes one message and waits for the disk. The caller holds wmu.
func (s *Spool) append(m *message.Message, now unit.Micros) error {
	size := messageBytes(m)
	if err := s.makeRoom(size, now); err != nil {
		return err
	}
	if err := s.ensureSegment(size, now); err != nil {
		return err
	}
	s.mu.Lock()
	seg, number := s.segments[len(s.segments)-1], s.last+1
	end := seg.size // changed by writers only
	s.mu.Unlock()
	s.record = appendMessage(s.record[:0], number, now, m)
	if err := s.write(s.record, end); err != nil {
		// The next message goes to the same place. Until then a kill leaves a torn tail, or this message whole.
		_ = s.file.Truncate(end)
		return fmt.Errorf("append %d bytes to %s: %w", size, seg.name, err)
	}
	if s.cfg.Sync == SyncAlways {
		if err := s.sync(); err != nil {
			// After a failed fsync the kernel may have dropped the pages: nothing more is written to this segment.
			s.suspect = true
			return fmt.Errorf("sync %s: %w", seg.name, err)
		}
	} else {
		s.syncLater()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == s.acked {
		s.oldest = now
	}
	s.last = number
	seg.size = end + size
	s.marks[m.Topic] = after(s.marks[m.Topic], m.Mark)
	s.met.appended.Inc()
	return nil
}

func (s *Spool) write(b []byte, at int64) error {
	start := time.Now()
	n, err := s.file.WriteAt(b, at)
	s.met.write.Observe(time.Since(start).Seconds())
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	s.count("write", err)
	return err
}

func (s *Spool) sync() error {
	start := time.Now()
	err := s.file.Sync()
	s.met.sync.Observe(time.Since(start).Seconds())
	s.count("sync", err)
	if err == nil {
		s.unsynced = false
	}
	return err
}

// syncLater has the disk confirm within SyncEvery. The caller holds wmu.
func (s *Spool) syncLater() {
	if s.unsynced {
		return // the timer runs
	}
	s.unsynced = true
	if s.timer == nil {
		s.timer = time.AfterFunc(s.cfg.SyncEvery, s.syncNow)
	} else {
		s.timer.Reset(s.cfg.SyncEvery)
	}
}

func (s *Spool) syncNow() {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	if !s.unsynced || s.file == nil || s.isClosed() {
		return
	}
	if err := s.sync(); err != nil {
		s.log.Warn("spool not synced", "reason", reason(err), "error", err)
		s.suspect, s.unsynced = true, false
	}
}

// ensureSegment makes sure that the message has a segment to go to. The caller holds wmu.
func (s *Spool) ensureSegment(size int64, now unit.Micros) error {
	if s.file == nil {
		return s.begin(now)
	}
	s.mu.Lock()
	seg, empty := s.segments[len(s.segments)-1], s.segments[len(s.segments)-1].first > s.last
	s.mu.Unlock()
	// A segment is dropped for its age as a whole, so it must not span much of it.
	old := s.cfg.MaxAge > 0 && now-seg.begun > unit.Micros(s.cfg.MaxAge.Microseconds()/8)
	switch {
	case s.suspect:
		// Best effort: what lies behind the end has the numbers of the next segment, so readers do not count it.
		_ = s.file.Truncate(seg.size)
	case empty || seg.size+size <= s.cfg.SegmentBytes && !old:
		return nil
	case s.unsynced:
		if err := s.sync(); err != nil {
			s.suspect = true
			return fmt.Errorf("sync %s: %w", seg.name, err)
		}
	}
	if empty {
		// Its name is the next one's too.
		s.mu.Lock()
		s.segments = s.segments[:len(s.segments)-1]
		s.mu.Unlock()
	}
	err := s.file.Close()
	s.count("close", err)
	s.file, s.suspect, s.unsynced = nil, false, false
	return s.begin(now)
}

// begin starts a segment. It is on disk, name and all, before its first message: the last marks and the numbers of those
// before are then safe whatever happens to them. The caller holds wmu.
func (s *Spool) begin(now unit.Micros) (err error) {
	s.mu.Lock()
	first := s.last + 1
	b := appendOpening(nil, first, now, s.marks)
	s.mu.Unlock()
	name := segmentName(first)
	f, err := s.folder.Create(name)
	if err != nil {
		s.count("create", err)
		return fmt.Errorf("create %s: %w", name, err)
	}
	s.file = f
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("begin %s: %w", name, err), f.Close())
			_ = s.folder.Remove(name) // or the next attempt replaces it
			s.file = nil
		}
	}()
	if err := s.write(b, 0); err != nil {
		return err
	}
	if err := s.sync(); err != nil {
		return err
	}
	if err := s.folder.Sync(); err != nil {
		s.count("sync", err)
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.segments = append(s.segments, &segment{name: name, first: first, begun: now, size: int64(len(b))})
	return nil
}
