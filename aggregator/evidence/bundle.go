package evidence

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/wattledger/wattledger/aggregator/ledger"
)

// A bundle is a folder that can be checked offline:
//
//	README.md       what it is and how to check it
//	bundle.json     format, origin, size of the log, tenant
//	vkey            the public key of the log
//	checkpoint      the signed checkpoint
//	tile/…          the log as tiles (C2SP tlog-tiles)
//	batches/SITE/NNNNNNNN.jsonl        a batch: header, subtotals, entries, cuts, device-hours
//	proofs/SITE/NNNNNNNN.tlog-proof    of a tenant's bundle: that the batch stands in the log
//	SHA256SUMS      of all files above
//
// docs/ledger-format.md has the lines of a batch.
const (
	bundleFormat  = "wattledger-bundle-v1"
	readmeFile    = "README.md"
	bundleFile    = "bundle.json"
	keyFile       = "vkey"
	checkpointKey = "checkpoint"
	sumsFile      = "SHA256SUMS"
)

// manifest is bundle.json.
type manifest struct {
	Format string `json:"format"`
	Origin string `json:"origin"`
	Size   int64  `json:"size"`
	Tenant string `json:"tenant"`
}

func (m manifest) bytes() []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	_ = e.Encode(m) // strings and a number: it does not fail
	return b.Bytes()
}

// batchFile is the name of a batch's file below batches, and of its proof below proofs.
func batchFile(site string, batch uint64) string {
	return fmt.Sprintf("%s/%08d", strings.ReplaceAll(url.PathEscape(site), ".", "%2E"), batch)
}

// The lines of a batch's file. Values that are hashed stand in their canonical form, hashes and salts as hex.
type (
	headerLine struct {
		Header json.RawMessage `json:"header"`
		Salt   string          `json:"salt"`
		Root   string          `json:"root"`
		Index  int64           `json:"index"`
	}
	// hiddenLine opens a tenant's batch: the header stays hidden but for what the log says, and the salt of the tenant's
	// commitment lets it see that no leaf of its own is held back.
	hiddenLine struct {
		HeaderLeaf string `json:"header_leaf"`
		Root       string `json:"root"`
		Index      int64  `json:"index"`
		TenantSalt string `json:"tenant_salt"`
	}
	leafLine struct {
		Leaf string `json:"leaf"`
	}
	subtotalLine struct {
		Subtotal   json.RawMessage `json:"subtotal"`
		Salt       string          `json:"salt"`
		TenantSalt string          `json:"tenant_salt"`
	}
	entryLine struct {
		Entry json.RawMessage `json:"entry"`
		Salt  string          `json:"salt"`
	}
	cutLine struct {
		Cut json.RawMessage `json:"cut"`
	}
	deviceHourLine struct {
		DeviceHour json.RawMessage `json:"device_hour"`
	}
)

// writeLine writes a line in the one way in which it is read.
func writeLine(b *bytes.Buffer, v any) {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // the raw parts are JSON already: it does not fail
}

var errLine = errors.New("it is not a line as this format has it")

// readLine reads a line, and takes it only as writeLine writes it.
func readLine[T any](line []byte) (T, error) {
	var v T
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return v, fmt.Errorf("%w: %w", errLine, err)
	}
	var again bytes.Buffer
	writeLine(&again, v)
	if !bytes.Equal(bytes.TrimSuffix(again.Bytes(), []byte("\n")), line) {
		return v, errLine
	}
	return v, nil
}

func hexOf(h ledger.Hash) string { return hex.EncodeToString(h[:]) }

// parseHash reads a hash in hex.
func parseHash(text string) (ledger.Hash, error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(ledger.Hash{}) || hex.EncodeToString(b) != text {
		return ledger.Hash{}, fmt.Errorf("%.80q is no hash in hex", text)
	}
	return ledger.Hash(b), nil
}

const readme = `# A ledger to check offline

%s

Everything in here can be checked without a network and without a key that is secret:

    wattledger ledger verify --bundle DIR --vkey FILE

FILE is the public key of the log as its operator published it; without --vkey the key in this folder is taken, which
proves only that the bundle fits together. An auditor who kept an earlier checkpoint of the log gives it with --checkpoint.

| file | what |
| --- | --- |
| checkpoint | size and root of the log, signed (C2SP tlog-checkpoint) |
| vkey | the public key that it is signed with |
| tile/ | the log: a record for each seal, and its hashes (C2SP tlog-tiles) |
| batches/SITE/N.jsonl | what each seal covers, with the salts that open its leaves |
| proofs/ | of a tenant's bundle: that each batch stands in the log (C2SP tlog-proof) |
| SHA256SUMS | of all other files |

The format is docs/ledger-format.md of Wattledger; docs/verify.py there checks a bundle with Python's standard library alone.
Energy is in millijoules, device time in milliseconds × thousandths of a device, carbon in micrograms CO2e, water in microlitres.
`
