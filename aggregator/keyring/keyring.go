// Package keyring reads and makes the two keys of a ledger: the site secret, which salts its leaves, and the note key, which
// signs checkpoints of its log.
//
// It owns how they lie in files: one each, readable by nobody else, named in the configuration or found in the data folder.
// It promises that neither is ever printed, and that a file which others can read is refused. What the keys are used for is
// left to the packages ledger and transparency.
package keyring

import (
	"cmp"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/note"

	"github.com/wattledger/wattledger/aggregator/ledger"
	"github.com/wattledger/wattledger/aggregator/transparency"
)

// Config names the key files.
type Config struct {
	// SiteSecretFile holds the secret that salts the leaves of seals; empty is site.secret in the folder keys of the data folder.
	SiteSecretFile string `yaml:"site_secret_file"`
	// NoteKeyFile holds the Ed25519 key that signs checkpoints of the log; empty is note.key in the same folder.
	NoteKeyFile string `yaml:"note_key_file"`
	// Origin names the log and its key, as a URL without scheme. It is what a key made at the first start is named.
	Origin string `yaml:"origin"`
}

// DefaultConfig has keys in the data folder.
func DefaultConfig() Config { return Config{Origin: "wattledger.local/ledger"} }

// Validate reports every fault at once.
func (c Config) Validate() error {
	if c.Origin == "" || strings.ContainsAny(c.Origin, " +\n\t") {
		return fmt.Errorf("ledger.origin is %q; write a name like ledger.example.org/eu, without spaces or plus signs", c.Origin)
	}
	return nil
}

// Keys are the ledger's.
type Keys struct {
	// Secret is what site keys come from.
	Secret ledger.Secret
	// Signer signs checkpoints; its name is the log's origin.
	Signer note.Signer
	// Verifier is the public half in text, for whoever checks.
	Verifier string
}

// Log is the transparency log that the note key is for.
func (k Keys) Log(store transparency.Store, log *slog.Logger, reg prometheus.Registerer) (*transparency.Log, error) {
	key, err := note.NewVerifier(k.Verifier)
	if err != nil {
		return nil, fmt.Errorf("public half of the note key: %w", err)
	}
	return transparency.New(store, k.Signer, key, log, reg)
}

// Files are where the keys lie.
type Files struct {
	Secret, Note, Verifier string
	// Made says that they were not there before.
	Made bool
}

const (
	secretName   = "site.secret"
	noteName     = "note.key"
	verifierName = "note.vkey"
)

// Open reads the keys; those that the configuration does not name lie in the data folder and are made when they are missing.
func Open(cfg Config, data string) (Keys, Files, error) {
	dir := filepath.Join(data, "keys")
	files := Files{Secret: cfg.SiteSecretFile, Note: cfg.NoteKeyFile}
	if err := cfg.Validate(); err != nil {
		return Keys{}, files, err
	}
	if files.Secret == "" {
		files.Secret = filepath.Join(dir, secretName)
		made, err := create(files.Secret, newSecret().Reveal())
		if err != nil {
			return Keys{}, files, err
		}
		files.Made = made
	}
	if files.Note == "" {
		files.Note = filepath.Join(dir, noteName)
		if _, err := os.Stat(files.Note); errors.Is(err, fs.ErrNotExist) {
			skey, _ := newNoteKey(cfg.Origin)
			made, err := create(files.Note, skey+"\n")
			if err != nil {
				return Keys{}, files, err
			}
			files.Made = files.Made || made
		}
	}
	keys, err := Read(files)
	if err != nil {
		return keys, files, err
	}
	if cfg.NoteKeyFile == "" {
		files.Verifier = filepath.Join(dir, verifierName)
		if _, err := create(files.Verifier, keys.Verifier+"\n"); err != nil {
			return keys, files, err
		}
	} else if cfg.Origin != DefaultConfig().Origin && cfg.Origin != keys.Signer.Name() {
		return keys, files, fmt.Errorf("ledger.origin is %s and the key in %s is that of %s: name the log that the key is for", cfg.Origin, files.Note, keys.Signer.Name())
	}
	return keys, files, nil
}

// Existing reads the keys as Open does, and makes none: whoever checks a ledger needs those it was sealed with.
func Existing(cfg Config, data string) (Keys, error) {
	if err := cfg.Validate(); err != nil {
		return Keys{}, err
	}
	dir := filepath.Join(data, "keys")
	return Read(Files{Secret: cmp.Or(cfg.SiteSecretFile, filepath.Join(dir, secretName)), Note: cmp.Or(cfg.NoteKeyFile, filepath.Join(dir, noteName))})
}

// Generate writes new keys into a folder. It overwrites none.
func Generate(dir, origin string) (Files, error) {
	if err := (Config{Origin: origin}).Validate(); err != nil {
		return Files{}, err
	}
	f := Files{Secret: filepath.Join(dir, secretName), Note: filepath.Join(dir, noteName), Verifier: filepath.Join(dir, verifierName), Made: true}
	skey, vkey := newNoteKey(origin)
	for _, file := range []struct{ name, text string }{{f.Secret, newSecret().Reveal()}, {f.Note, skey + "\n"}, {f.Verifier, vkey + "\n"}} {
		made, err := create(file.name, file.text)
		if err != nil {
			return f, err
		}
		if !made {
			return f, fmt.Errorf("%s is there already: a ledger that lost its keys cannot be proved, so name another folder", file.name)
		}
	}
	return f, nil
}

// Read reads the keys from their files.
func Read(f Files) (Keys, error) {
	var k Keys
	text, err := read(f.Secret)
	if err != nil {
		return k, fmt.Errorf("site secret: %w", err)
	}
	if k.Secret, err = ledger.ParseSecret(text); err != nil {
		return k, fmt.Errorf("site secret %s: %w", f.Secret, err)
	}
	if text, err = read(f.Note); err != nil {
		return k, fmt.Errorf("note key: %w", err)
	}
	if k, err = k.withNote(strings.TrimSuffix(text, "\n")); err != nil {
		return k, fmt.Errorf("note key %s: %w", f.Note, err)
	}
	return k, nil
}

// MakePublic writes keys that anybody can make from the name: they are not secret, and the same name gives the same bytes. Keys
// that are there stay.
func MakePublic(data, name string) error {
	private := sha256.Sum256([]byte("wattledger public note key " + name))
	skey, vkey := noteKey("wattledger.invalid/"+name, private[:])
	dir := filepath.Join(data, "keys")
	for _, file := range []struct{ name, text string }{
		{secretName, ledger.SecretFrom(name).Reveal()}, {noteName, skey + "\n"}, {verifierName, vkey + "\n"},
	} {
		if _, err := create(filepath.Join(dir, file.name), file.text); err != nil {
			return err
		}
	}
	return nil
}

func (k Keys) withNote(skey string) (Keys, error) {
	signer, err := note.NewSigner(skey)
	if err != nil {
		return k, errors.New("it is no Ed25519 note key: a line that begins with PRIVATE+KEY+")
	}
	fields := strings.SplitN(skey, "+", 5) // PRIVATE, KEY, name, id, and base64, which has plus signs of its own
	b, err := base64.StdEncoding.DecodeString(fields[len(fields)-1])
	if err != nil || len(b) != 1+ed25519.SeedSize {
		return k, errors.New("it is no Ed25519 note key")
	}
	k.Signer = signer
	_, k.Verifier = noteKey(signer.Name(), b[1:])
	return k, nil
}

func newSecret() ledger.Secret {
	var random [32]byte
	_, _ = rand.Read(random[:]) // does not fail (crypto/rand)
	return ledger.NewSecret(random)
}

func newNoteKey(origin string) (skey, vkey string) {
	var seed [ed25519.SeedSize]byte
	_, _ = rand.Read(seed[:]) // does not fail (crypto/rand)
	return noteKey(origin, seed[:])
}

// noteKey writes a key as C2SP signed-note has it.
func noteKey(name string, seed []byte) (skey, vkey string) {
	public := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	vkey, err := note.NewEd25519VerifierKey(name, public)
	if err != nil {
		panic("a key from a seed has the length of a key: " + err.Error())
	}
	id := strings.Split(strings.TrimPrefix(vkey, name+"+"), "+")[0]
	return "PRIVATE+KEY+" + name + "+" + id + "+" + base64.StdEncoding.EncodeToString(append([]byte{1}, seed...)), vkey
}

// create writes a file that is not there yet. It goes through a name of its own, so that no reader sees half a key.
func create(name, text string) (bool, error) {
	if _, err := os.Stat(name); err == nil {
		return false, nil
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return false, fmt.Errorf("folder of the keys: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*") // mode 0600
	if err != nil {
		return false, fmt.Errorf("write a key: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return false, fmt.Errorf("write %s: %w", name, err)
	}
	// A link, not a rename: of two processes that start together one makes the key, and both use it.
	if err := os.Link(f.Name(), name); err != nil && !errors.Is(err, fs.ErrExist) {
		return false, fmt.Errorf("write %s: %w", name, err)
	} else if err != nil {
		return false, nil
	}
	return true, nil
}

// read reads a key that nobody else can read.
func read(name string) (string, error) {
	info, err := os.Stat(name)
	if err != nil {
		return "", fmt.Errorf("%w; make keys with `wattledger ledger keygen --dir DIR`", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("%s can be read by others (mode %04o): chmod 600 it, and think of it as known", name, info.Mode().Perm())
	}
	b, err := os.ReadFile(name)
	return string(b), err
}
