package invoice

import (
	"encoding/hex"

	"github.com/wattledger/wattledger/aggregator/ledger"
)

// tree is the RFC 6962 tree over what is added to it.
type tree struct{ ledger.Tree }

// add appends a leaf.
func (t *tree) add(data string) { t.Add(ledger.LeafHash([]byte(data))) }

// root is the tree hash, hex.
func (t *tree) root() string {
	root := t.Root()
	return hex.EncodeToString(root[:])
}
