package series

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
)

// Leaf is the hash of a device's samples in a span, of which a tree over the devices in order of name is made (RFC 6962, section
// 2.1). docs/ledger-format-samples.md has the bytes. It depends on what was read and on nothing else: not on how often a
// sample was delivered, in which order, or where it is stored.
func (s Sorted) Leaf(device string, span Span) [32]byte {
	h := leaf{hash: sha256.New(), b: append(s.w.bytes[:0], 0)}
	h.text(device)
	h.number(int64(span.To - span.From))
	for c := range s.Cols {
		h.numbers(s.Cols[c][span.From:span.To])
	}
	who := s.Who[span.From:span.To]
	for len(who) > 0 {
		n := 1
		for n < len(who) && (who[n] == who[0] || s.ids[who[n]] == s.ids[who[0]]) {
			n++
		}
		id := s.ids[who[0]]
		h.number(int64(n))
		h.text(id.Run)
		h.text(id.Boot)
		h.text(id.Driver)
		h.number(int64(id.Source))
		h.number(int64(id.Period))
		h.number(id.Epoch)
		who = who[n:]
	}
	h.flush()
	s.w.bytes = h.b
	return [32]byte(h.hash.Sum(nil))
}

// leaf gathers bytes and hashes them by the block.
type leaf struct {
	hash hash.Hash
	b    []byte
}

const leafBlock = 16 << 10

func (h *leaf) number(v int64) {
	if len(h.b) >= leafBlock {
		h.flush()
	}
	h.b = binary.LittleEndian.AppendUint64(h.b, uint64(v))
}

// numbers is number for a list, which is most of what is hashed.
func (h *leaf) numbers(list []int64) {
	h.flush()
	for len(list) > 0 {
		n := min(len(list), leafBlock/8)
		h.b = resize(h.b, 8*n)
		for i, v := range list[:n] {
			binary.LittleEndian.PutUint64(h.b[8*i:], uint64(v))
		}
		h.flush()
		list = list[n:]
	}
}

func (h *leaf) text(s string) {
	h.number(int64(len(s)))
	h.b = append(h.b, s...)
}

func (h *leaf) flush() {
	h.hash.Write(h.b)
	h.b = h.b[:0]
}
