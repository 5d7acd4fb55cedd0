package spool

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/wattledger/wattledger/collector/agent"
)

// A segment that ends anywhere is that many whole messages; only its torn end is gone.
func TestATornEndIsCutOffWhereverItIs(t *testing.T) {
	d := newMemDisk()
	s := openOn(t, small(), d)
	var ends []int64
	for q := uint64(1); len(s.segments) < 2; q++ {
		put(t, s, q, q)
		ends = append(ends, s.segments[0].size)
	}
	ends = ends[:len(ends)-1]
	name := s.segments[0].name
	whole := d.names[name].data
	for size := range len(whole) + 1 {
		d := newMemDisk()
		d.names[name] = &inode{data: append([]byte{}, whole[:size]...)}
		s := openOn(t, small(), d)
		want, kept := 0, int64(0)
		for _, end := range ends {
			if end <= int64(size) {
				want, kept = want+1, end
			}
		}
		if got := rest(t, s); len(got) != want || want > 0 && got[want-1] != uint64(want) {
			t.Fatalf("of %d bytes %v came out, want 1 to %d", size, got, want)
		}
		if torn := int64(value(t, s.met.torn)); want > 0 && torn != int64(size)-kept {
			t.Fatalf("of %d bytes %d were called torn, want %d", size, torn, int64(size)-kept)
		}
		put(t, s, 100, 103)
		if got := rest(t, s); len(got) != 4 || len(s.Losses()) != 0 {
			t.Fatalf("after %d bytes, of four messages %v came out; losses %v", size, got, s.Losses())
		}
	}
}

// A bit that falls over takes one message with it, and a loss says so. In the last record of the last segment nobody can
// tell it from a torn end.
func TestAFlippedBitCostsOneMessageAndIsTold(t *testing.T) {
	d := newMemDisk()
	s := openOn(t, small(), d)
	put(t, s, 1, 30)
	final := s.segments[len(s.segments)-1].first
	for name, n := range d.names {
		first, ok := numberOf(name)
		if !ok || first == final {
			continue
		}
		for bit := 0; bit < 8*len(n.data); bit += 61 {
			d := d.killed()
			data := append([]byte{}, n.data...)
			data[bit/8] ^= 1 << (bit % 8)
			d.names[name] = &inode{data: data}
			s := openOn(t, small(), d)
			got := rest(t, s)
			losses := s.Losses()
			switch {
			case len(got) == 30 && len(losses) == 0: // it hit the opening, which is there for its marks
			case len(got) == 29 && len(losses) == 1 && losses[0].Reason == ReasonCorrupt && losses[0].Messages == 1 && losses[0].Incident().Validate() == nil:
				if value(t, s.met.dropped.WithLabelValues("corrupt")) != 1 {
					t.Fatal("a corrupt message is not counted")
				}
				bad := 0
				for name := range d.names {
					if strings.HasSuffix(name, badSuffix) {
						bad++
					}
				}
				if bad != 1 {
					t.Fatalf("bit %d of %s: %d files set aside", bit, name, bad)
				}
			default:
				t.Fatalf("bit %d of %s: out came %v, losses are %+v", bit, name, got, losses)
			}
		}
	}
}

func TestALostFileIsALoss(t *testing.T) {
	d := newMemDisk()
	s := openOn(t, small(), d)
	put(t, s, 1, 40)
	if len(s.segments) < 4 {
		t.Fatal("too few segments")
	}
	for i := range len(s.segments) - 1 {
		d := d.killed()
		delete(d.names, s.segments[i].name)
		again := openOn(t, small(), d)
		gone := int(s.segments[i+1].first - s.segments[i].first)
		if i == 0 {
			// The cursor never said anything, so nobody knows that there was one before.
			gone = 0
		}
		got, losses := rest(t, again), again.Losses()
		if i > 0 && (len(losses) != 1 || losses[0].Messages != uint64(gone) || len(got) != 40-gone) {
			t.Errorf("segment %d is gone with %d messages: out came %v, losses are %+v", i, gone, got, losses)
		}
	}
}

// What the disk refuses stays with the caller, and when the disk takes it again all is well.
func TestADiskThatRefusesIsWaitedOut(t *testing.T) {
	f := func(operation string, refusal error, counted, word string) {
		t.Helper()
		d := newMemDisk()
		s := openOn(t, small(), d)
		put(t, s, 1, 3)
		for q := uint64(4); q < 40; q++ { // some of them begin a segment
			d.refuse = func(o, name string) error {
				if o == operation && name != cursorName {
					return refusal
				}
				return nil
			}
			err := s.Put(t.Context(), made(q))
			var coded interface{ Code() string }
			if operation == "create" && err == nil {
				d.refuse = nil
				continue
			}
			if err == nil || errors.Is(err, agent.ErrRefused) || !errors.Is(err, refusal) || !errors.As(err, &coded) || coded.Code() != word {
				t.Fatalf("%s: the caller was told %v", operation, err)
			}
			d.refuse = nil
			put(t, s, q, q)
		}
		if value(t, s.met.errors.WithLabelValues(counted, word)) == 0 {
			t.Errorf("%s: not counted as %s %s", operation, counted, word)
		}
		check := func(s *Spool) {
			if got := rest(t, s); len(got) != 39 || got[38] != 39 || len(s.Losses()) > 0 {
				t.Errorf("%s: out came %v, losses %v", operation, got, s.Losses())
			}
		}
		check(openOn(t, small(), d.killed()))
	}
	f("write", syscall.ENOSPC, "write", "disk_full")
	f("write", syscall.EIO, "write", "io")
	f("sync", syscall.EIO, "sync", "io")
	f("sync", syscall.EDQUOT, "sync", "disk_full")
	f("create", syscall.EROFS, "create", "read_only")
}

// After an fsync that failed, what the kernel says about the file is not to be trusted.
func TestASegmentThatDidNotSyncIsLeft(t *testing.T) {
	d := newMemDisk()
	s := openOn(t, small(), d)
	put(t, s, 1, 2)
	d.refuse = func(o, _ string) error {
		if o == "sync" {
			return syscall.EIO
		}
		return nil
	}
	if err := s.Put(t.Context(), made(3)); !errors.Is(err, syscall.EIO) {
		t.Fatalf("the writer was told %v", err)
	}
	d.refuse = nil
	put(t, s, 3, 3)
	if len(s.segments) != 2 || s.segments[1].first != 3 {
		t.Errorf("%d segments, the last from %d on", len(s.segments), s.segments[len(s.segments)-1].first)
	}
	if got := rest(t, s); len(got) != 3 || len(s.Losses()) > 0 {
		t.Errorf("out came %v", got)
	}
}

// The reader meets the disk's errors too: it says so, and loses nothing.
func TestAReadErrorIsNotALoss(t *testing.T) {
	d := newMemDisk()
	s := openOn(t, small(), d)
	put(t, s, 1, 20)
	d.refuse = func(o, _ string) error {
		if o == "read" {
			return syscall.EIO
		}
		return nil
	}
	if _, err := s.Next(t.Context()); !errors.Is(err, syscall.EIO) {
		t.Errorf("the reader was told %v", err)
	}
	if value(t, s.met.errors.WithLabelValues("read", "io")) != 1 {
		t.Error("not counted")
	}
	d.refuse = nil
	if got := rest(t, s); len(got) != 20 || len(s.Losses()) > 0 {
		t.Errorf("out came %v", got)
	}
}

// A loss that cannot be remembered is not made.
func TestNothingIsGivenUpUnremembered(t *testing.T) {
	cfg := small()
	cfg.MaxBytes = 2 * cfg.SegmentBytes
	d := newMemDisk()
	s := openOn(t, cfg, d)
	d.refuse = func(o, name string) error {
		if strings.HasPrefix(name, memoryName) && o == "write" {
			return syscall.ENOSPC
		}
		return nil
	}
	q := uint64(1)
	for ; s.Put(t.Context(), made(q)) == nil; q++ {
	}
	if got := value(t, s.met.errors.WithLabelValues("remember", "disk_full")); got != 1 {
		t.Errorf("counted %v times", got)
	}
	d.refuse = nil
	put(t, s, q, q)
	if len(s.Losses()) == 0 {
		t.Error("no loss")
	}
}

func TestADamagedMemoryIsSetAside(t *testing.T) {
	d := newMemDisk()
	s := openOn(t, small(), d)
	put(t, s, 1, 3)
	d.names[memoryName] = &inode{data: []byte("nonsense")}
	s = openOn(t, small(), d)
	if value(t, s.met.errors.WithLabelValues("recall", "corrupt")) != 1 || d.names[memoryName+badSuffix] == nil {
		t.Error("not counted, or not kept")
	}
	if got := rest(t, s); len(got) != 3 {
		t.Errorf("out came %v", got)
	}
}
