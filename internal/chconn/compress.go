package chconn

import (
	"errors"
	"io"

	"github.com/ClickHouse/ch-go/compress"
)

// compressBlock is how many bytes go into one compressed block; ClickHouse's own client takes as many.
const compressBlock = 1 << 20

// Compress reads data in ClickHouse's compressed blocks (src/Compression/CompressedReadBufferBase.cpp), which a server takes over
// HTTP where the request says decompress=1. It answers data itself, and false, where the configuration wants none or the
// protocol compresses by itself. clickhouse-go leaves the body of InsertFormat as it is.
func (c Config) Compress(data io.Reader) (io.Reader, bool) {
	if c.Protocol == "native" {
		return data, false
	}
	switch c.Compression {
	case "lz4":
		return &compressor{src: data, w: compress.NewWriter(0, compress.LZ4)}, true
	case "zstd":
		return &compressor{src: data, w: compress.NewWriter(1, compress.ZSTD)}, true
	default:
		return data, false
	}
}

type compressor struct {
	src io.Reader
	w   *compress.Writer
	in  []byte
	out []byte // what is compressed and not read yet
}

func (c *compressor) Read(p []byte) (int, error) {
	if len(c.out) == 0 {
		if c.in == nil {
			c.in = make([]byte, compressBlock)
		}
		n, err := io.ReadFull(c.src, c.in)
		if n == 0 || err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return 0, err
		}
		if err := c.w.Compress(c.in[:n]); err != nil {
			return 0, err
		}
		c.out = c.w.Data
	}
	n := copy(p, c.out)
	c.out = c.out[n:]
	return n, nil
}
