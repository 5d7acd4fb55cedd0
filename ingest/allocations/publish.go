package allocations

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// Publisher sends one message. A nil error means that it is durable.
type Publisher interface {
	Publish(ctx context.Context, key, value []byte) error
}

// Statement says for whom a file speaks.
type Statement struct {
	// Site is where the devices are.
	Site string
	// Source is the scheduler that the file comes from, as the inventory's sites name it.
	Source string
	// CompleteUpTo says that the source will state nothing more that bears on any instant before it. 0 says nothing, and
	// the hours of the site wait for a source that does.
	CompleteUpTo unit.Micros
}

// Validate reports every fault at once.
func (s Statement) Validate() error {
	var faults []error
	if s.Site == "" {
		faults = append(faults, errors.New("site is empty; name the site that the devices are at"))
	}
	if s.Source == "" {
		faults = append(faults, errors.New("source is empty; name the scheduler that the file comes from"))
	}
	if s.CompleteUpTo < 0 {
		faults = append(faults, fmt.Errorf("complete up to is %d µs; it lies before 1970", s.CompleteUpTo))
	}
	return errors.Join(faults...)
}

// chunkBytes is how large a message grows: well below what a broker takes.
const chunkBytes = wire.MaxMessageBytes / 2

// Messages are the batches that state the rows of a file. Equal bytes for the same site make the same run with the same
// sequence, so that ingest takes the file once however often it is published. The last message carries CompleteUpTo.
func Messages(data []byte, rows []record.Allocation, s Statement) ([]*wl.AllocationBatch, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	run := runOf(data, s)
	var out []*wl.AllocationBatch
	next := func() *wl.AllocationBatch {
		b := &wl.AllocationBatch{SchemaVersion: wire.SchemaVersion, Site: s.Site, Source: s.Source, Run: run, Sequence: uint64(len(out))}
		out = append(out, b)
		return b
	}
	var b *wl.AllocationBatch
	size := 0
	for _, a := range rows {
		m := wire.AllocationTo(a)
		n := proto.Size(m) + 8
		if n > chunkBytes {
			return nil, fmt.Errorf("allocation %s takes %d bytes and may take %d; shorten its texts", a.ID, n, chunkBytes)
		}
		if b == nil || size+n > chunkBytes {
			b, size = next(), 0
		}
		b.Allocations = append(b.Allocations, m)
		size += n
	}
	if s.CompleteUpTo > 0 {
		if b == nil {
			b = next()
		}
		b.CompleteUpToUs = int64(s.CompleteUpTo)
	}
	return out, nil
}

// runOf is the hash of the file and of whom it speaks for.
func runOf(data []byte, s Statement) []byte {
	h := sha256.New()
	for _, part := range [][]byte{[]byte(s.Site), []byte(s.Source), binary.BigEndian.AppendUint64(nil, uint64(s.CompleteUpTo)), data} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part)))) // a hash does not fail
		h.Write(part)
	}
	return h.Sum(nil)[:wire.RunBytes]
}

// Publish sends the messages in order, under the key of the site. After an error it may be called again: what is stored
// already is recognised.
func Publish(ctx context.Context, to Publisher, batches []*wl.AllocationBatch) error {
	for i, b := range batches {
		value, err := proto.Marshal(b)
		if err != nil {
			return fmt.Errorf("encode message %d of %d: %w", i+1, len(batches), err)
		}
		if err := to.Publish(ctx, []byte(b.Site), value); err != nil {
			return fmt.Errorf("publish message %d of %d: %w", i+1, len(batches), err)
		}
	}
	return nil
}
