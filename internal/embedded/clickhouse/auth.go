package clickhouse

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// UserName is the only user of the embedded engine.
const UserName = "default"

// ensurePassword reads the data directory's password, or makes one. Anybody who may read the file may read the data anyway.
func ensurePassword(path string) (string, error) {
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		var secret [24]byte
		_, _ = rand.Read(secret[:]) // never fails
		password := base64.RawURLEncoding.EncodeToString(secret[:])
		if err := writeFile(path, password+"\n"); err != nil {
			return "", fmt.Errorf("make the engine's password: %w", err)
		}
		return password, nil
	case err != nil:
		return "", fmt.Errorf("read the engine's password: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("read the engine's password: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("password file %s may be read by others (mode %04o): chmod 600 it, or delete it to get a new one", path, info.Mode().Perm())
	}
	password := strings.TrimSpace(string(b))
	if password == "" {
		return "", fmt.Errorf("password file %s is empty: delete it to get a new one", path)
	}
	return password, nil
}

// writeFile replaces a file in one step, mode 0600: a reader sees the old content or the new, never half.
func writeFile(path, content string) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already when all went well
	if _, err := f.WriteString(content); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// authenticate checks the one user's password, wherever ClickHouse lets a client put it.
func authenticate(r *http.Request, values url.Values, password string) error {
	type credentials struct{ user, key string }
	var found []credentials
	if user, key, ok := r.BasicAuth(); ok {
		found = append(found, credentials{user, key})
	} else if r.Header.Get("Authorization") != "" {
		return refuse(codeAuthFailed, "auth", "The embedded engine takes a user name and a password, and no other kind of Authorization")
	}
	if user, key := r.Header.Get("X-ClickHouse-User"), r.Header.Get("X-ClickHouse-Key"); user != "" || key != "" {
		found = append(found, credentials{user, key})
	}
	if values.Has("user") || values.Has("password") {
		found = append(found, credentials{values.Get("user"), values.Get("password")})
	}
	if len(found) == 0 {
		return refuse(codeRequiredPassword, "auth", "Authentication is required: user %s, and the password in the file password of the engine's data directory", UserName)
	}
	if len(found) > 1 {
		return refuse(codeAuthFailed, "auth", "Credentials are given in more than one place: use one of Authorization, X-ClickHouse-User and the user parameter")
	}
	c := found[0]
	// Both are compared always, in time that does not depend on where they differ.
	user := subtle.ConstantTimeCompare([]byte(c.user), []byte(UserName)) | boolInt(c.user == "")
	key := subtle.ConstantTimeCompare([]byte(c.key), []byte(password))
	if user&key != 1 {
		return refuse(codeAuthFailed, "auth", "Authentication failed: the user is %s, and the password is in the file password of the engine's data directory", UserName)
	}
	return nil
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
