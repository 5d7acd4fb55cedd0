package transparency

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// tileHeight makes tiles of 256 hashes (C2SP tlog-tiles).
const tileHeight = 8

// BundleSize is how many records stand in a file of entries.
const BundleSize = 1 << tileHeight

// maxRecord is the longest that fits in a bundle.
const maxRecord = 1<<16 - 1

// Tile is a file of the log.
type Tile struct {
	Path string
	Data []byte
}

// Tiles writes the log of a size as files: every tile of hashes, then every bundle of records, which records reads by index.
func (t *Tree) Tiles(size int64, records func(index int64) ([]byte, error), write func(Tile) error) error {
	if size > t.size {
		return fmt.Errorf("the log has %d records, not %d", t.size, size)
	}
	for _, tile := range tlog.NewTiles(tileHeight, 0, size) {
		data, err := tlog.ReadTileData(tile, t)
		if err != nil {
			return fmt.Errorf("tile %s: %w", tilePath(tile.L, tile.N, tile.W), err)
		}
		if err := write(Tile{tilePath(tile.L, tile.N, tile.W), data}); err != nil {
			return err
		}
	}
	for n := int64(0); n*BundleSize < size; n++ {
		var data []byte
		width := min(size-n*BundleSize, BundleSize)
		for i := range width {
			r, err := records(n*BundleSize + i)
			if err != nil {
				return err
			}
			if len(r) > maxRecord {
				return fmt.Errorf("record %d of the log has %d bytes: at most %d fit", n*BundleSize+i, len(r), maxRecord)
			}
			data = append(binary.BigEndian.AppendUint16(data, uint16(len(r))), r...)
		}
		if err := write(Tile{tilePath(-1, n, int(width)), data}); err != nil {
			return err
		}
	}
	return nil
}

// tilePath is the name of a tile; level −1 is that of records.
func tilePath(level int, n int64, width int) string {
	number := fmt.Sprintf("%03d", n%1000)
	for n >= 1000 {
		n /= 1000
		number = fmt.Sprintf("x%03d/%s", n%1000, number)
	}
	folder := "entries"
	if level >= 0 {
		folder = fmt.Sprint(level)
	}
	p := "tile/" + folder + "/" + number
	if width < BundleSize {
		p += fmt.Sprintf(".p/%d", width)
	}
	return p
}

// TilePaths are the files that a log of a size has, in the order in which Tiles writes them.
func TilePaths(size int64) (hashes, records []string) {
	for _, tile := range tlog.NewTiles(tileHeight, 0, size) {
		hashes = append(hashes, tilePath(tile.L, tile.N, tile.W))
	}
	for n := int64(0); n*BundleSize < size; n++ {
		records = append(records, tilePath(-1, n, int(min(size-n*BundleSize, BundleSize))))
	}
	return hashes, records
}

// ParseBundle reads a file of records.
func ParseBundle(data []byte) ([][]byte, error) {
	var out [][]byte
	for len(data) > 0 {
		if len(data) < 2 || len(data)-2 < int(binary.BigEndian.Uint16(data)) {
			return nil, errors.New("it ends within a record")
		}
		n := int(binary.BigEndian.Uint16(data))
		out = append(out, data[2:2+n])
		data = data[2+n:]
		if len(out) > BundleSize {
			return nil, fmt.Errorf("it has more than %d records", BundleSize)
		}
	}
	return out, nil
}
