package transparency

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Proof shows offline that a record stands in the log (C2SP tlog-proof).
type Proof struct {
	Index  int64
	Hashes tlog.RecordProof
	// Checkpoint is the signed note as it was published.
	Checkpoint []byte
}

const proofMagic = "c2sp.org/tlog-proof@v1"

// Format writes it.
func (p Proof) Format() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nindex %d\n", proofMagic, p.Index)
	for _, h := range p.Hashes {
		b.WriteString(h.String() + "\n")
	}
	b.WriteString("\n")
	b.Write(p.Checkpoint)
	return []byte(b.String())
}

// maxProof is how many hashes a proof over 2^63 records has.
const maxProof = 63

// ParseProof reads one, without checking what it claims.
func ParseProof(text []byte) (Proof, error) {
	head, checkpoint, ok := strings.Cut(string(text), "\n\n")
	lines := strings.Split(head, "\n")
	if !ok || len(lines) < 2 || lines[0] != proofMagic {
		return Proof{}, errors.New("it is no proof: a file that begins with " + proofMagic)
	}
	lines = lines[1:]
	if strings.HasPrefix(lines[0], "extra ") { // not ours to read, and nothing that is proved
		lines = lines[1:]
	}
	p := Proof{Checkpoint: []byte(checkpoint)}
	if len(lines) == 0 {
		return Proof{}, errors.New("the proof has no index")
	}
	number, ok := strings.CutPrefix(lines[0], "index ")
	var err error
	if p.Index, err = strconv.ParseInt(number, 10, 64); !ok || err != nil || p.Index < 0 || strconv.FormatInt(p.Index, 10) != number {
		return Proof{}, errors.New("the proof has no index")
	}
	if len(lines)-1 > maxProof {
		return Proof{}, fmt.Errorf("the proof has %d hashes", len(lines)-1)
	}
	for _, line := range lines[1:] {
		h, err := parseHash(line)
		if err != nil {
			return Proof{}, fmt.Errorf("proof: %w", err)
		}
		p.Hashes = append(p.Hashes, h)
	}
	return p, nil
}

// Check says whether the record stands in the log of the key, by the proof and nothing else.
func (p Proof) Check(record []byte, key note.Verifier) (Checkpoint, error) {
	c, err := OpenCheckpoint(p.Checkpoint, key)
	if err != nil {
		return c, err
	}
	if p.Index >= c.Size {
		return c, fmt.Errorf("the proof is for record %d of a log of %d", p.Index, c.Size)
	}
	if err := tlog.CheckRecord(p.Hashes, c.Size, c.Root, p.Index, tlog.RecordHash(record)); err != nil {
		return c, fmt.Errorf("the record is not number %d of the log", p.Index)
	}
	return c, nil
}
