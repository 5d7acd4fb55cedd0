package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// file is what the spool asks of a file.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Sync returns when what was written would survive a power cut.
	Sync() error
	Truncate(size int64) error
	Size() (int64, error)
}

// folder is what the spool asks of its folder. Tests have one that forgets what was not synced, and one that fails.
type folder interface {
	// Create opens a new file, empty whatever was there before.
	Create(name string) (file, error)
	// Open opens a file for reading and writing; the error is os.ErrNotExist if there is none.
	Open(name string) (file, error)
	Remove(name string) error
	Rename(from, to string) error
	Names() ([]string, error)
	// Sync returns when the names in the folder would survive a power cut.
	Sync() error
}

// disk is a folder of the machine.
type disk struct {
	dir  string
	self *os.File
}

type diskFile struct{ *os.File }

func (f diskFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func openDisk(dir string) (*disk, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	self, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	return &disk{dir, self}, nil
}

func (d *disk) open(name string, flag int) (file, error) {
	f, err := os.OpenFile(filepath.Join(d.dir, name), os.O_RDWR|flag, 0o640)
	if err != nil {
		return nil, err
	}
	return diskFile{f}, nil
}

func (d *disk) Create(name string) (file, error) { return d.open(name, os.O_CREATE|os.O_TRUNC) }
func (d *disk) Open(name string) (file, error)   { return d.open(name, 0) }
func (d *disk) Remove(name string) error         { return os.Remove(filepath.Join(d.dir, name)) }
func (d *disk) Sync() error                      { return d.self.Sync() }

func (d *disk) Rename(from, to string) error {
	return os.Rename(filepath.Join(d.dir, from), filepath.Join(d.dir, to))
}

func (d *disk) Names() ([]string, error) {
	entries, err := os.ReadDir(d.dir)
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

// lock takes the folder for this process; the kernel lets go of it when the process ends, however it ends.
func lock(dir string) (io.Closer, error) {
	name := filepath.Join(dir, "lock")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		owner, _ := os.ReadFile(name)
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("already in use by process %s: stop it, or choose another folder with --data", strings.TrimSpace(string(owner)))
		}
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	if err := f.Truncate(0); err == nil {
		_, _ = fmt.Fprintln(f, os.Getpid()) // for the message above only
	}
	return f, nil
}

// reason is a word for what a disk said, for metrics.
func reason(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "disk_full"
	case errors.Is(err, syscall.EROFS):
		return "read_only"
	case errors.Is(err, os.ErrPermission):
		return "permission"
	}
	return "io"
}
