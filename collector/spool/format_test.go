package spool

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/wattledger/wattledger/collector/message"
)

// vector is the segment that FORMAT.md explains.
func vector() []byte {
	one := message.Mark{Sequence: 41, From: begin, To: begin + 9_000_000, Rows: 80}
	for i := range one.Run {
		one.Run[i] = byte(i)
	}
	b := appendOpening(nil, 7, begin, map[string]message.Mark{"wl.sample.v1": one, "wl.inventory.v1": {Rows: 8}})
	two := one
	two.Sequence, two.From, two.To = 42, begin+10_000_000, begin+19_000_000
	b = appendMessage(b, 7, begin+20_000_000, &message.Message{Topic: "wl.sample.v1", Key: []byte("node-1"), Value: []byte("hello"), Mark: two})
	return appendMessage(b, 8, begin+20_000_001, &message.Message{Topic: "wl.inventory.v1", Key: []byte("site-1"), Mark: message.Mark{Rows: 8}})
}

// The format is a promise to the next version: it reads what this one left behind.
func TestTheVectorIsWhatWeWrite(t *testing.T) {
	file := filepath.Join("testdata", "vector.seg")
	if os.Getenv("UPDATE_VECTOR") != "" {
		if err := os.WriteFile(file, vector(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := vector(); !bytes.Equal(got, want) {
		t.Errorf("we write %x, the vector is %x", got, want)
	}
	d := newMemDisk()
	d.names[segmentName(7)] = &inode{data: want}
	s := openOn(t, small(), d)
	m, err := s.Next(context.Background())
	if err != nil || string(m.Value) != "hello" || string(m.Key) != "node-1" || m.Topic != "wl.sample.v1" || m.Mark.Sequence != 42 {
		t.Errorf("the vector holds %+v, %v", m, err)
	}
	if last, ok := s.Last("wl.inventory.v1"); !ok || last.Rows != 8 {
		t.Errorf("the last inventory was %+v, %t", last, ok)
	}
}

// Any bytes are a segment of some messages and some rubbish: no crash, no message that a checksum does not vouch for.
func FuzzSegment(f *testing.F) {
	v := vector()
	f.Add(v)
	f.Add(v[:len(v)-3])
	f.Add(append(append([]byte{}, v[:60]...), v[40:]...))
	f.Add([]byte(magic))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		d := newMemDisk()
		d.names[segmentName(7)] = &inode{data: b}
		d.names[segmentName(9)] = &inode{data: appendOpening(nil, 9, begin, nil)}
		s := openOn(t, small(), d)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		var out uint64
		for {
			got, err := s.Batch(ctx, 10, 1000)
			if err != nil {
				break
			}
			out += uint64(len(got))
			if err := s.Ack(); err != nil {
				t.Fatal(err)
			}
		}
		var lost uint64
		for _, l := range s.Losses() {
			lost += l.Messages
		}
		if out+lost != 2 {
			t.Errorf("of messages 7 and 8, %d came out and %d are said to be lost", out, lost)
		}
		// As the last segment, whose end may be torn.
		d = newMemDisk()
		d.names[segmentName(7)] = &inode{data: b}
		s = openOn(t, small(), d)
		put(t, s, 3, 3)
		for {
			if _, err := s.Batch(ctx, 10, 1000); err != nil {
				break
			}
			if err := s.Ack(); err != nil {
				t.Fatal(err)
			}
		}
		if last, ok := s.Last(made(3).Topic); !ok || last != made(3).Mark {
			t.Errorf("the last mark is %+v", last)
		}
	})
}

func FuzzMemory(f *testing.F) {
	b, err := encodeMemory(9, []Loss{{Reason: ReasonFull, Topic: "t", First: 1, Last: 2, From: begin, To: begin, Messages: 2}}, []stated{{Loss{Reason: ReasonAge, First: 1, Last: 1, From: begin, To: begin, Messages: 1}, 3, 4}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("00000000\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		passed, losses, told, err := decodeMemory(b)
		if err != nil {
			return
		}
		again, err := encodeMemory(passed, losses, told)
		if err != nil {
			t.Fatal(err)
		}
		if p, l, s, err := decodeMemory(again); err != nil || p != passed || len(l) != len(losses) || len(s) != len(told) {
			t.Errorf("%d losses up to %d became %d up to %d: %v", len(losses), passed, len(l), p, err)
		}
	})
}
