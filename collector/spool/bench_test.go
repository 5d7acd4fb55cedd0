package spool

import (
	"context"
	"fmt"
	"testing"

	"github.com/wattledger/wattledger/collector/message"
)

func BenchmarkPut(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10} {
		for _, policy := range []string{SyncAlways, SyncInterval} {
			b.Run(fmt.Sprintf("%dKiB/%s", size>>10, policy), func(b *testing.B) {
				cfg := DefaultConfig()
				cfg.Dir, cfg.Sync, cfg.MaxBytes = b.TempDir(), policy, 64<<20
				s, err := Open(cfg, at(begin), discard(), nil)
				if err != nil {
					b.Fatal(err)
				}
				defer s.Close()
				m := &message.Message{Topic: "wl.sample.v1", Key: []byte("node"), Value: make([]byte, size)}
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					if err := s.Put(context.Background(), m); err != nil {
						b.Fatal(err)
					}
					if _, err := s.Next(context.Background()); err != nil {
						b.Fatal(err)
					}
					if err := s.Ack(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkOverflow is Put when nobody reads and the oldest goes.
func BenchmarkOverflow(b *testing.B) {
	cfg := DefaultConfig()
	cfg.Dir, cfg.Sync, cfg.MaxBytes = b.TempDir(), SyncInterval, 16<<20
	s, err := Open(cfg, at(begin), discard(), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	m := &message.Message{Topic: "wl.sample.v1", Key: []byte("node"), Value: make([]byte, 64<<10)}
	b.SetBytes(64 << 10)
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Put(context.Background(), m); err != nil {
			b.Fatal(err)
		}
	}
}
