package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/wattledger/wattledger/collector/message"
	"github.com/wattledger/wattledger/schemas/unit"
)

// reader stands at the oldest message that is not acknowledged.
type reader struct {
	seg    *segment
	file   file
	walker walker
	out    []message.Message
	topics map[string]string
	// at is where it stands in seg: no message before lies there or later, and the next has number low or more.
	at    place
	low   uint64
	since unit.Micros // when the message before was appended
	// handed is what the last Batch gave out, to be taken over by Ack; its number is 0 when there is nothing.
	handed place
	number uint64
	time   unit.Micros
}

// place is an offset in the reader's segment.
type place int64

func (r *reader) close() error {
	f := r.file
	r.seg, r.file, r.number = nil, nil, 0
	if f == nil {
		return nil
	}
	return f.Close()
}

// Next blocks for the oldest message that is not acknowledged. It is valid until the next call. Without an Ack the same
// message comes again.
func (s *Spool) Next(ctx context.Context) (*message.Message, error) {
	out, err := s.Batch(ctx, 1, 64<<10)
	if err != nil {
		return nil, err
	}
	return &out[0], nil
}

// Batch blocks like Next, and returns the oldest messages that are at hand: at least one, then no more than so many, of no
// more than so many bytes on disk. It blocks only for the first; a context that is done still gets what is there.
func (s *Spool) Batch(ctx context.Context, messages, bytes int) ([]message.Message, error) {
	s.rmu.Lock()
	defer s.rmu.Unlock()
	s.reader.number = 0
	for {
		if s.isClosed() {
			return nil, ErrClosed
		}
		s.mu.Lock()
		wanted, last := s.acked+1, s.last
		seg, high := s.holding(wanted)
		var end int64
		if seg != nil {
			end = seg.size
		}
		s.mu.Unlock()
		var err error
		switch {
		case wanted > last:
			err = s.wait(ctx)
		case seg == nil:
			err = s.missing(wanted)
		default:
			out, readErr := s.read(seg, end, wanted, high, max(messages, 1), bytes)
			if len(out) > 0 {
				return out, nil
			}
			err = readErr
		}
		if err != nil {
			return nil, err
		}
	}
}

func (s *Spool) wait(ctx context.Context) error {
	select {
	case <-s.wake:
		return nil
	case <-s.closed:
		return ErrClosed
	case <-ctx.Done():
		select {
		case <-s.wake: // both at once: what is there still comes out
			return nil
		default:
			return ctx.Err()
		}
	}
}

// missing passes over numbers whose segment is gone without our doing.
func (s *Spool) missing(wanted uint64) error {
	s.mu.Lock()
	upTo, until := s.last, s.clock()
	if len(s.segments) > 0 {
		upTo, until = s.segments[0].first-1, s.segments[0].begun
	}
	s.mu.Unlock()
	return s.hole(wanted, upTo, until, until, 0)
}

// read returns messages from wanted on. When it returns neither messages nor an error, it has passed over damage.
func (s *Spool) read(seg *segment, end int64, wanted, high uint64, messages, bytes int) ([]message.Message, error) {
	r, w := &s.reader, &s.reader.walker
	if r.seg != seg {
		if err := r.close(); err != nil {
			s.count("close", err)
		}
		f, err := s.folder.Open(seg.name)
		if err != nil {
			s.count("read", err)
			return nil, fmt.Errorf("spool %s: open %s: %w", s.cfg.Dir, seg.name, err)
		}
		r.seg, r.file, r.at, r.low, r.since = seg, f, 0, seg.first, max(r.since, seg.begun)
	}
	w.least = int64(max(bytes, frameBytes+messageHead))
	w.reset(r.file, int64(r.at), end, r.low, high)
	r.out = r.out[:0]
	for len(r.out) < messages {
		st, err := w.next(len(r.out) == 0)
		atEnd := errors.Is(err, io.EOF)
		if err != nil && !atEnd {
			if len(r.out) > 0 {
				break // outside the window, or the disk will say it again
			}
			s.count("read", err)
			return nil, fmt.Errorf("spool %s: %s: %w", s.cfg.Dir, seg.name, err)
		}
		if !atEnd && (st.kind == kindOpening || st.number < wanted) {
			r.at, r.low = place(w.off), w.low
			if st.kind == kindMessage {
				r.since = st.at
			}
			continue
		}
		due := wanted + uint64(len(r.out))
		if atEnd || st.bad > 0 || st.number != due {
			if len(r.out) > 0 {
				break
			}
			upTo, until := st.number-1, st.at
			if atEnd {
				upTo, until = high-1, s.clock()
			}
			if st.bad > 0 {
				s.setAside(seg, r.file, st.off-st.bad, st.bad)
			}
			if err := s.hole(wanted, upTo, r.since, until, st.bad); err != nil {
				return nil, err
			}
			r.at, r.low = place(st.off), upTo+1
			return nil, nil
		}
		r.out = append(r.out, message.Message{Topic: r.topic(st.topic), Key: st.key, Value: st.value, Mark: st.mark})
		r.handed, r.number, r.time = place(w.off), st.number, st.at
		if len(r.out) == 1 {
			s.mu.Lock()
			s.oldest = st.at
			s.mu.Unlock()
		}
	}
	return r.out, nil
}

func (r *reader) topic(b []byte) string {
	if t, ok := r.topics[string(b)]; ok {
		return t
	}
	t := string(b)
	r.topics[t] = t
	return t
}

// Ack forgets what the last Next or Batch returned. After an error it is forgotten all the same, but may come again after
// a restart.
func (s *Spool) Ack() error {
	s.rmu.Lock()
	defer s.rmu.Unlock()
	r := &s.reader
	number := r.number
	if number == 0 {
		return nil
	}
	r.at, r.low, r.since, r.number = r.handed, number+1, r.time, 0
	s.mu.Lock()
	defer s.mu.Unlock()
	if number <= s.acked {
		return nil // given up meanwhile
	}
	s.met.acked.Add(float64(number - s.acked))
	s.acked, s.oldest, s.flowing = number, r.time, true
	if err := s.cursor.write(number); err != nil {
		s.count("cursor", err)
		return &diskError{fmt.Errorf("spool %s: %w", s.cfg.Dir, err)}
	}
	if err := s.free(); err != nil {
		return &diskError{fmt.Errorf("spool %s: %w", s.cfg.Dir, err)}
	}
	return nil
}

// hole gives up numbers that cannot be read. All before them are acknowledged: Batch comes here only when they are due.
func (s *Spool) hole(wanted, upTo uint64, from, until unit.Micros, bad int64) error {
	s.met.errors.WithLabelValues("read", "corrupt").Inc()
	if upTo < wanted {
		return nil // rubbish between two messages
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.acked+1 != wanted {
		return nil // given up meanwhile, with all that is around
	}
	err := s.giveUp(upTo, tally{{
		Reason: ReasonCorrupt, From: from, To: max(from, until), Messages: upTo - wanted + 1, Bytes: uint64(bad),
	}})
	if err != nil {
		return &diskError{fmt.Errorf("spool %s: %w", s.cfg.Dir, err)}
	}
	return s.free()
}

// maxBad bounds how many damaged pieces are kept for whoever wants to look at them.
const maxBad = 16

// setAside keeps a copy of bytes that are no message. It is for people: no message depends on it.
func (s *Spool) setAside(seg *segment, f file, off, size int64) {
	b := make([]byte, size)
	n, _ := f.ReadAt(b, off)
	err := writeWhole(s.folder, fmt.Sprintf("%020d-%d%s", seg.first, off, badSuffix), b[:n])
	if err == nil {
		err = s.fewBad()
	}
	s.log.Warn("damaged bytes passed over", "reason", ReasonCorrupt, "segment", seg.name, "offset", off, "bytes", size)
	if err != nil {
		s.count("set_aside", err)
		s.log.Warn("damaged bytes not kept", "reason", reason(err), "error", err)
	}
}

func (s *Spool) fewBad() error {
	names, err := s.folder.Names()
	if err != nil {
		return err
	}
	bad := slices.DeleteFunc(names, func(n string) bool { return len(n) < len(badSuffix) || n[len(n)-len(badSuffix):] != badSuffix })
	slices.Sort(bad)
	for len(bad) > maxBad {
		if err := s.folder.Remove(bad[0]); err != nil {
			return err
		}
		bad = bad[1:]
	}
	return nil
}
