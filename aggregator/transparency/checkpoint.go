package transparency

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Checkpoint says how long a log is and what its root is.
type Checkpoint struct {
	// Origin names the log, and is the name of the key that signs.
	Origin string
	Size   int64
	Root   tlog.Hash
}

// Text is what is signed (C2SP tlog-checkpoint).
func (c Checkpoint) Text() string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, c.Root)
}

// Sign is the checkpoint as a signed note. Ed25519 signs the same text always with the same bytes.
func (c Checkpoint) Sign(signer note.Signer) ([]byte, error) {
	msg, err := note.Sign(&note.Note{Text: c.Text()}, signer)
	if err != nil {
		return nil, fmt.Errorf("sign a checkpoint of %s: %w", c.Origin, err)
	}
	return msg, nil
}

// OpenCheckpoint reads a signed checkpoint of the log that the key is for.
func OpenCheckpoint(msg []byte, key note.Verifier) (Checkpoint, error) {
	n, err := note.Open(msg, note.VerifierList(key))
	if err != nil {
		var unverified *note.UnverifiedNoteError
		if errors.As(err, &unverified) {
			return Checkpoint{}, fmt.Errorf("the checkpoint bears no signature of %s", key.Name())
		}
		return Checkpoint{}, fmt.Errorf("the checkpoint is not signed by %s: %w", key.Name(), err)
	}
	c, err := parseCheckpoint(n.Text)
	if err != nil {
		return Checkpoint{}, err
	}
	if c.Origin != key.Name() {
		return Checkpoint{}, fmt.Errorf("the checkpoint is of the log %s and signed by %s", c.Origin, key.Name())
	}
	return c, nil
}

var errCheckpoint = errors.New("the checkpoint is not an origin, a size and a root, each on its line")

func parseCheckpoint(text string) (Checkpoint, error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 {
		return Checkpoint{}, errCheckpoint
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return Checkpoint{}, errCheckpoint
	}
	c := Checkpoint{Origin: lines[0], Size: size}
	if c.Root, err = parseHash(lines[2]); err != nil {
		return Checkpoint{}, errCheckpoint
	}
	if size < 0 || c.Origin == "" || c.Text() != text {
		return Checkpoint{}, errCheckpoint
	}
	return c, nil
}

// parseHash reads a hash in the one way in which it is written.
func parseHash(text string) (tlog.Hash, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != tlog.HashSize || base64.StdEncoding.EncodeToString(b) != text {
		return tlog.Hash{}, fmt.Errorf("%.60q is no hash in base64", text)
	}
	return tlog.Hash(b), nil
}
