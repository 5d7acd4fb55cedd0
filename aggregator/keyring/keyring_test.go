package keyring

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

func TestKeysAreMadeOnceAndStay(t *testing.T) {
	dir := t.TempDir()
	first, files, err := Open(DefaultConfig(), dir)
	if err != nil || !files.Made {
		t.Fatalf("%+v, %v", files, err)
	}
	for _, name := range []string{files.Secret, files.Note} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	again, files, err := Open(DefaultConfig(), dir)
	if err != nil || files.Made || again.Secret != first.Secret || again.Verifier != first.Verifier {
		t.Errorf("the second time: %+v, %v", files, err)
	}
	existing, err := Existing(DefaultConfig(), dir)
	if err != nil || existing.Secret != first.Secret {
		t.Error(err)
	}
	// What the signer signs the verifier takes.
	msg, err := note.Sign(&note.Note{Text: "x\n"}, again.Signer)
	if err != nil {
		t.Fatal(err)
	}
	key, err := note.NewVerifier(first.Verifier)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := note.Open(msg, note.VerifierList(key)); err != nil || key.Name() != DefaultConfig().Origin {
		t.Errorf("%s, %v", key.Name(), err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "keys", "note.vkey")); err != nil || strings.TrimSpace(string(text)) != first.Verifier {
		t.Errorf("the public key lies there as %q, %v", text, err)
	}
}

// Of several that start together one makes the keys, and all use them.
func TestSeveralStartTogether(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	got := make([]Keys, 8)
	for i := range got {
		wg.Go(func() {
			var err error
			if got[i], _, err = Open(DefaultConfig(), dir); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, k := range got {
		if k.Secret != got[0].Secret || k.Verifier != got[0].Verifier {
			t.Error("two have different keys")
		}
	}
}

func TestPublicKeysAreTheSameEachTime(t *testing.T) {
	a, b, c := t.TempDir(), t.TempDir(), t.TempDir()
	open := func(dir, name string) Keys {
		t.Helper()
		if err := MakePublic(dir, name); err != nil {
			t.Fatal(err)
		}
		k, files, err := Open(DefaultConfig(), dir)
		if err != nil || files.Made {
			t.Fatal(err, files.Made)
		}
		return k
	}
	one, same, other := open(a, "demo-7"), open(b, "demo-7"), open(c, "demo-8")
	if one.Secret != same.Secret || one.Verifier != same.Verifier || one.Secret == other.Secret || one.Verifier == other.Verifier {
		t.Error("keys of a seed are not those of the seed")
	}
	if !strings.HasPrefix(one.Verifier, "wattledger.invalid/demo-7+") {
		t.Errorf("named %s", one.Verifier)
	}
}

func TestBadKeysAreRefused(t *testing.T) {
	dir := t.TempDir()
	files, err := Generate(dir, "ledger.example.org/eu")
	if err != nil {
		t.Fatal(err)
	}
	secret, err := os.ReadFile(files.Secret)
	if err != nil {
		t.Fatal(err)
	}
	f := func(want string, cfg Config) {
		t.Helper()
		_, _, err := Open(cfg, t.TempDir())
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), string(secret[30:60])) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	good := Config{SiteSecretFile: files.Secret, NoteKeyFile: files.Note, Origin: "ledger.example.org/eu"}
	if k, _, err := Open(good, t.TempDir()); err != nil || k.Signer.Name() != "ledger.example.org/eu" {
		t.Errorf("%v", err)
	}
	write := func(name, text string, mode os.FileMode) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return file
	}
	with := func(change func(c *Config)) Config {
		c := good
		change(&c)
		return c
	}
	f("keygen", with(func(c *Config) { c.NoteKeyFile = filepath.Join(dir, "nowhere") }))
	f("chmod 600", with(func(c *Config) { c.SiteSecretFile = write("open", string(secret), 0o644) }))
	f("damaged", with(func(c *Config) { c.SiteSecretFile = write("short", string(secret[:50]), 0o600) }))
	f("no site secret", with(func(c *Config) { c.SiteSecretFile = files.Note }))
	f("no Ed25519 note key", with(func(c *Config) { c.NoteKeyFile = files.Secret }))
	f("is that of ledger.example.org/eu", with(func(c *Config) { c.Origin = "ledger.example.org/us" }))
	f("without spaces", with(func(c *Config) { c.Origin = "a b" }))
	if _, err := Generate(dir, "x"); err == nil || !strings.Contains(err.Error(), "there already") {
		t.Errorf("keys were written over: %v", err)
	}
	if k, err := Read(files); err != nil || strings.Contains(fmt.Sprintf("%+v %#v", k.Secret, k.Secret), string(secret[30:50])) {
		t.Error(err)
	}
}
