package invoice

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"github.com/wattledger/wattledger/aggregator/ledger"
)

// tree is the RFC 6962 tree over what is added to it, in constant memory: it keeps one hash for each bit set in the count.
type tree struct {
	count  uint64
	hashes [][32]byte // of whole subtrees, from the largest to the smallest
}

// add appends a leaf.
func (t *tree) add(data string) {
	t.hashes = append(t.hashes, ledger.LeafHash([]byte(data)))
	for n := t.count; n&1 == 1; n >>= 1 {
		t.join()
	}
	t.count++
}

// join makes one subtree of the last two.
func (t *tree) join() {
	last := len(t.hashes) - 1
	h := sha256.Sum256(slices.Concat([]byte{1}, t.hashes[last-1][:], t.hashes[last][:]))
	t.hashes = append(t.hashes[:last-1], h)
}

// root is the tree hash, hex.
func (t *tree) root() string {
	if t.count == 0 {
		empty := sha256.Sum256(nil)
		return hex.EncodeToString(empty[:])
	}
	rest := tree{hashes: slices.Clone(t.hashes)}
	for len(rest.hashes) > 1 {
		rest.join()
	}
	return hex.EncodeToString(rest.hashes[0][:])
}
