package ledger

import (
	"crypto/sha256"
	"math/bits"
)

// Hash is a SHA-256.
type Hash = [sha256.Size]byte

// LeafHash is SHA-256(0x00 ‖ data) (RFC 6962, section 2.1).
func LeafHash(data ...[]byte) Hash {
	return hashOf(0, data...)
}

// NodeHash is SHA-256(0x01 ‖ left ‖ right) (RFC 6962, section 2.1).
func NodeHash(left, right Hash) Hash {
	var b [1 + 2*sha256.Size]byte
	b[0] = 1
	copy(b[1:], left[:])
	copy(b[1+sha256.Size:], right[:])
	return sha256.Sum256(b[:])
}

// hashOf is SHA-256(prefix ‖ parts), so that a leaf, a node, a commitment and a digest are never the same bytes.
func hashOf(prefix byte, parts ...[]byte) Hash {
	h := sha256.New()
	h.Write([]byte{prefix})
	for _, p := range parts {
		h.Write(p)
	}
	var out Hash
	h.Sum(out[:0])
	return out
}

// RootHash is the Merkle tree hash over leaf hashes (RFC 6962, section 2.1); of nothing it is the hash of nothing.
func RootHash(leaves []Hash) Hash {
	var t Tree
	for _, l := range leaves {
		t.Add(l)
	}
	return t.Root()
}

// Tree is the tree over leaf hashes that are added to it, in constant memory: it keeps one hash for each bit set in the count.
// The zero Tree is empty.
type Tree struct {
	count  uint64
	hashes []Hash // of whole subtrees, from the largest to the smallest
}

// Add appends a leaf by its hash.
func (t *Tree) Add(leaf Hash) {
	t.hashes = append(t.hashes, leaf)
	for range bits.TrailingZeros64(^t.count) {
		last := len(t.hashes) - 1
		t.hashes[last-1] = NodeHash(t.hashes[last-1], t.hashes[last])
		t.hashes = t.hashes[:last]
	}
	t.count++
}

// Count is how many leaves there are.
func (t *Tree) Count() uint64 { return t.count }

// Root is the tree hash; more may be added after it.
func (t *Tree) Root() Hash {
	if len(t.hashes) == 0 {
		return sha256.Sum256(nil)
	}
	root := t.hashes[len(t.hashes)-1]
	for i := len(t.hashes) - 2; i >= 0; i-- {
		root = NodeHash(t.hashes[i], root)
	}
	return root
}
