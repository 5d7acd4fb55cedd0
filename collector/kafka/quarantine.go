package kafka

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/wattledger/wattledger/collector/message"
	"github.com/wattledger/wattledger/internal/process"
	"github.com/wattledger/wattledger/schemas/unit"
)

// maxQuarantined bounds the folder. The first messages tell what is wrong; later ones are only counted.
const maxQuarantined = 100

// Quarantined is the file of one message that Kafka refused for good, as JSON.
type Quarantined struct {
	Reason   string      `json:"reason"`
	Error    string      `json:"error"`
	Topic    string      `json:"topic"`
	Key      string      `json:"key"`
	Run      string      `json:"run"`
	Sequence uint64      `json:"sequence"`
	From     unit.Micros `json:"from_us"`
	To       unit.Micros `json:"to_us"`
	Rows     uint32      `json:"rows"`
	// Value is the message itself, in base64.
	Value []byte `json:"value"`
}

// setAside keeps a message that Kafka will never take, so that the ones behind it can go on.
func (f *Forwarder) setAside(m *message.Message, refusal error) error {
	names, err := os.ReadDir(f.cfg.Quarantine)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("quarantine: %w", err)
	}
	kept := len(names) < maxQuarantined
	if kept {
		b, err := json.MarshalIndent(Quarantined{
			code(refusal), refusal.Error(), m.Topic, string(m.Key), hex.EncodeToString(m.Mark.Run[:]), m.Mark.Sequence,
			m.Mark.From, m.Mark.To, m.Mark.Rows, m.Value,
		}, "", "  ")
		if err != nil {
			return fmt.Errorf("quarantine: %w", err)
		}
		// Named after the message alone: if it comes again after a kill, it is the same file.
		sum := sha256.Sum256(m.Value)
		name := fmt.Sprintf("%s-%x-%d-%x.json", m.Topic, m.Mark.Run, m.Mark.Sequence, sum[:4])
		if err := process.WriteFile(filepath.Join(f.cfg.Quarantine, name), b, 0o640); err != nil {
			return fmt.Errorf("quarantine: %w", err)
		}
	}
	f.met.refused.WithLabelValues(code(refusal)).Inc()
	f.log.Error("message set aside", "reason", code(refusal), "topic", m.Topic, "run", hex.EncodeToString(m.Mark.Run[:]),
		"sequence", m.Mark.Sequence, "rows", m.Mark.Rows, "kept", kept, "folder", f.cfg.Quarantine, "error", refusal)
	return nil
}
