package main

import (
	"archive/zip"
	"bytes"
	"crypto/sha1" //nolint:gosec // G505: the catalogue's form asks for it
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// readTree reads the files below a folder, by their paths with slashes.
func readTree(dir string) (map[string][]byte, error) {
	tree, files := os.DirFS(dir), map[string][]byte{}
	err := fs.WalkDir(tree, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files[path], err = fs.ReadFile(tree, path)
		return err
	})
	return files, err
}

// pack makes the zip: one folder named after the plugin, files in the order of their names, with the time of the version. So the same
// files give the same bytes, whoever packs them and when.
func pack(about metadata, files map[string][]byte) ([]byte, error) {
	when, err := time.Parse(time.DateOnly, about.Info.Updated)
	if err != nil {
		return nil, fmt.Errorf("plugin.json: info.updated: %w", err)
	}
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, path := range slices.Sorted(maps.Keys(files)) {
		h := &zip.FileHeader{Name: about.ID + "/" + path, Method: zip.Deflate, Modified: when}
		h.SetMode(mode(about, path))
		f, err := w.CreateHeader(h)
		if err != nil {
			return nil, fmt.Errorf("pack %s: %w", path, err)
		}
		if _, err := f.Write(files[path]); err != nil {
			return nil, fmt.Errorf("pack %s: %w", path, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	return b.Bytes(), nil
}

// mode is that of a packed file: backends can be run, all else is read.
func mode(about metadata, path string) fs.FileMode {
	if about.Executable != "" && strings.HasPrefix(path, about.Executable+"_") {
		return 0o755
	}
	return 0o644
}

// sumsFile lists the digests; by it a folder is known to be of this program.
const sumsFile = "SHA256SUMS"

// checksums writes the zip and its digests, alone and as sha256sum checks them, and says them.
func checksums(out, name string, packed []byte) (string, error) {
	long, short := sha256.Sum256(packed), sha1.Sum(packed) //nolint:gosec // G401: the catalogue's form asks for it
	sums := []struct{ file, text string }{
		{name + ".sha256", hex.EncodeToString(long[:]) + "\n"},
		{name + ".sha1", hex.EncodeToString(short[:]) + "\n"},
		{sumsFile, hex.EncodeToString(long[:]) + "  " + name + "\n"},
	}
	if err := write(filepath.Join(out, name), packed, 0o644); err != nil {
		return "", err
	}
	for _, s := range sums {
		if err := write(filepath.Join(out, s.file), []byte(s.text), 0o644); err != nil {
			return "", err
		}
	}
	return "    sha256 " + sums[0].text + "    sha1   " + sums[1].text, nil
}

// buildManifest lists the Go files that the backends were built of, with their digests, as the SDK's own build does: the catalogue's
// validator holds it against the sources (go-manifest in https://github.com/grafana/plugin-validator).
func buildManifest(root string) ([]byte, error) {
	tree := os.DirFS(root)
	var b bytes.Buffer
	err := fs.WalkDir(tree, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || slices.Contains([]string{"node_modules", "bin", "dist"}, d.Name())) {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		body, err := fs.ReadFile(tree, path)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(body)
		fmt.Fprintf(&b, "%s:%s\n", hex.EncodeToString(sum[:]), path)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the sources: %w", err)
	}
	return b.Bytes(), nil
}
