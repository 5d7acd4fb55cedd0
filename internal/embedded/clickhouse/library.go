package clickhouse

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// LibraryVariable is the environment variable that names the library to load.
const LibraryVariable = "WATTLEDGER_LIBCHDB"

// ErrNoLibrary means that libchdb was found nowhere: the person who runs this has to install it.
var ErrNoLibrary = errors.New("libchdb not found")

// FindLibrary looks for libchdb: at the configured path, at WATTLEDGER_LIBCHDB, in the cache that `make setup` fills
// (seen from the working directory and from beside the executable's directory), then where systems keep libraries.
// A path that is named and does not exist is an error; the search does not go on behind the person's back.
func FindLibrary(configured string) (string, error) {
	if configured != "" {
		return named("the configured library path", configured)
	}
	if path := os.Getenv(LibraryVariable); path != "" {
		return named(LibraryVariable, path)
	}
	places := libraryPlaces()
	for _, path := range places {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", fmt.Errorf("%w: looked at %s; `make setup` installs it, or set %s to a libchdb.so",
		ErrNoLibrary, strings.Join(places, ", "), LibraryVariable)
}

func named(what, path string) (string, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w: %s names %s, which does not exist; `make setup` installs one under .cache/libchdb", ErrNoLibrary, what, path)
	}
	if err != nil {
		return "", fmt.Errorf("%w: %s: %w", ErrNoLibrary, what, err)
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%w: %s names %s, which is not a file", ErrNoLibrary, what, path)
	}
	return path, nil
}

// libraryPlaces lists where the library may lie, in order.
func libraryPlaces() []string {
	arch := map[string]string{"amd64": "x64", "arm64": "arm64"}[runtime.GOARCH]
	inCache := filepath.Join(".cache", "libchdb", "node_modules", "@chdb", "lib-linux-"+arch+"-gnu", "libchdb.so")
	var places []string
	if wd, err := os.Getwd(); err == nil {
		places = append(places, filepath.Join(wd, inCache))
	}
	if exe, err := os.Executable(); err == nil {
		// bin/wattledger lies beside .cache in a checkout; an installed one has lib beside bin.
		parent := filepath.Dir(filepath.Dir(exe))
		places = append(places, filepath.Join(parent, inCache), filepath.Join(parent, "lib", "wattledger", "libchdb.so"))
	}
	triplet := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[runtime.GOARCH]
	return append(places,
		"/usr/local/lib/libchdb.so", "/usr/lib/libchdb.so", "/usr/lib64/libchdb.so", filepath.Join("/usr/lib", triplet, "libchdb.so"))
}
