package spool

import (
	"errors"
	"fmt"
	"hash/crc32"
	"os"
)

// cursor is the file that says up to which number all is published. It has three places: one that is known to be on disk,
// and two that are written in turn, so that a torn write leaves the one before. It needs no room on the disk once it is there.
type cursor struct {
	file  file
	place int64 // written last
	safe  int64 // synced; what it says holds after a power cut, so it stays until a later one is synced
	dirty bool
	buf   [cursorBytes]byte
}

const (
	cursorBytes  = 8 + 4
	cursorPlaces = 3
	cursorSector = 512 // one each
)

// openCursor finds the cursor, or makes one that says nothing.
func openCursor(f folder) (c cursor, acked uint64, known bool, err error) {
	c.file, err = f.Open(cursorName)
	if errors.Is(err, os.ErrNotExist) {
		if c.file, err = f.Create(cursorName); err == nil {
			err = f.Sync()
		}
	}
	if err != nil {
		return c, 0, false, fmt.Errorf("open %s: %w", cursorName, err)
	}
	for place := range int64(cursorPlaces) {
		n, _ := c.file.ReadAt(c.buf[:], place*cursorSector)
		if n < cursorBytes || crc32.Checksum(c.buf[:8], castagnoli) != le.Uint32(c.buf[8:]) {
			continue
		}
		if v := le.Uint64(c.buf[:]); !known || v >= acked {
			acked, known, c.place = v, true, place
		}
	}
	c.dirty = true // a killed process may not have synced what it wrote
	return c, acked, known, c.sync()
}

func (c *cursor) write(acked uint64) error {
	le.PutUint64(c.buf[:], acked)
	le.PutUint32(c.buf[8:], crc32.Checksum(c.buf[:8], castagnoli))
	place := (c.place + 1) % cursorPlaces
	if place == c.safe {
		place = (place + 1) % cursorPlaces
	}
	if _, err := c.file.WriteAt(c.buf[:], place*cursorSector); err != nil {
		return fmt.Errorf("write %s: %w", cursorName, err)
	}
	c.place, c.dirty = place, true
	return nil
}

func (c *cursor) sync() error {
	if !c.dirty {
		return nil
	}
	if err := c.file.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", cursorName, err)
	}
	c.safe, c.dirty = c.place, false
	return nil
}

// writeWhole replaces a file in one step.
func writeWhole(f folder, name string, b []byte) error {
	next, err := f.Create(name + newSuffix)
	if err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	_, err = next.WriteAt(b, 0)
	if err == nil {
		err = next.Sync()
	}
	if err = errors.Join(err, next.Close()); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", name, err), f.Remove(name+newSuffix))
	}
	if err := f.Rename(name+newSuffix, name); err != nil {
		return fmt.Errorf("replace %s: %w", name, err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("replace %s: %w", name, err)
	}
	return nil
}

func readWhole(f folder, name string) (b []byte, err error) {
	old, err := f.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, old.Close()) }()
	size, err := old.Size()
	if err != nil || size == 0 {
		return nil, err
	}
	b = make([]byte, size)
	if n, err := old.ReadAt(b, 0); int64(n) < size {
		return nil, err
	}
	return b, nil
}
