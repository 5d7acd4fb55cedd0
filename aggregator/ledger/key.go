package ledger

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// Secret is what the keys of all sites of a deployment come from. It never leaves it: whoever has it can guess what hidden
// leaves say. The zero Secret is refused.
type Secret struct{ key [32]byte }

const secretPrefix = "wattledger-site-secret-v1+"

// NewSecret makes one of 32 random bytes.
func NewSecret(random [32]byte) Secret { return Secret{random} }

// SecretFrom makes one out of a text that is no secret: for a demo, which gives the same bytes each time.
func SecretFrom(text string) Secret {
	return Secret{sha256.Sum256([]byte("wattledger public secret " + text))}
}

// ParseSecret reads what Secret.Reveal wrote. Its errors do not repeat what they read.
func ParseSecret(text string) (Secret, error) {
	var s Secret
	encoded, ok := strings.CutPrefix(strings.TrimSuffix(text, "\n"), secretPrefix)
	if !ok {
		return s, errors.New("it is no site secret: a line that begins with " + secretPrefix)
	}
	b, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || len(b) != len(s.key) {
		return s, errors.New("it is damaged: the site secret is not 32 bytes in base64")
	}
	copy(s.key[:], b)
	if s == (Secret{}) {
		return s, errors.New("it is all zero, which is no secret")
	}
	return s, nil
}

// Reveal writes it for its file, and for nothing else.
func (s Secret) Reveal() string {
	return secretPrefix + base64.StdEncoding.EncodeToString(s.key[:]) + "\n"
}

// String and the two below keep it out of every log and document.
func (Secret) String() string { return "(site secret)" }

// GoString does.
func (Secret) GoString() string { return "(site secret)" }

// LogValue does.
func (Secret) LogValue() slog.Value { return slog.StringValue("(site secret)") }

// Site is the key of one site: it tells nothing of another's.
func (s Secret) Site(site string) SiteKey {
	return SiteKey{key: mac(s.key, []byte("wattledger site "), []byte(site)), set: s != Secret{}}
}

// SiteKey salts the leaves of a site.
type SiteKey struct {
	key [32]byte
	set bool
}

// String keeps it out of logs.
func (SiteKey) String() string { return "(site key)" }

// GoString does.
func (SiteKey) GoString() string { return "(site key)" }

// LogValue does.
func (SiteKey) LogValue() slog.Value { return slog.StringValue("(site key)") }

// mac is HMAC-SHA-256.
func mac(key [32]byte, parts ...[]byte) Hash {
	h := hmac.New(sha256.New, key[:])
	for _, p := range parts {
		h.Write(p)
	}
	var out Hash
	h.Sum(out[:0])
	return out
}

// EntrySalt is HMAC(site key, id): one for each entry, so that showing it tells nothing of another entry.
func (k SiteKey) EntrySalt(id string) (Hash, error) {
	b, err := hex.DecodeString(id)
	if err != nil || len(b) != sha256.Size {
		return Hash{}, fmt.Errorf("the id %q is not a SHA-256 in hex", id)
	}
	return mac(k.key, b), nil
}

// BatchKey blinds what is about a whole batch.
type BatchKey struct{ key [32]byte }

// Batch is the key of a batch: HMAC(site key, "batch" ‖ number), the number in 8 bytes, highest first.
func (k SiteKey) Batch(number uint64) BatchKey {
	return BatchKey{mac(k.key, []byte("batch"), binary.BigEndian.AppendUint64(nil, number))}
}

// TenantSalt opens the commitment to a tenant.
func (k BatchKey) TenantSalt(tenant string) Hash {
	return mac(k.key, []byte("tenant "), []byte(tenant))
}

// SubtotalSalt opens the digest of a subtotal.
func (k BatchKey) SubtotalSalt(canonical []byte) Hash {
	return mac(k.key, []byte("subtotal "), canonical)
}

// HeaderSalt opens the header's leaf.
func (k BatchKey) HeaderSalt(canonical []byte) Hash { return mac(k.key, []byte("header "), canonical) }
