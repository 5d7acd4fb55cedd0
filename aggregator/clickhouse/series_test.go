package clickhouse

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"reflect"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/wattledger/wattledger/aggregator/closing"
	"github.com/wattledger/wattledger/schemas/record"
)

func load(t *testing.T, s *Store, site record.Site) closing.Hour {
	t.Helper()
	h, err := s.Load(t.Context(), site, hour0)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// The digest of an hour's samples is of what was read: neither repeats nor where and how rows are stored change it.
func TestTheDigestOfSamplesIsOfTheirContent(t *testing.T) {
	t.Parallel()
	s, conn := open(t)
	site := plant(t, conn)
	h := load(t, s, site)
	if want := int64(4 * 360); h.SampleRows != want || len(h.Samples) != 64 {
		t.Errorf("%d rows with digest %q, want %d", h.SampleRows, h.Samples, want)
	}
	exec(t, conn, `INSERT INTO samples SELECT * REPLACE (seq + 1000000 AS seq, now64(6) AS received, 7 AS kafka_partition, 9 AS kafka_offset) FROM samples WHERE tick < toDateTime64(%d, 6)`,
		(int64(hour0)/1_000_000)+1800)
	if again := load(t, s, site); !reflect.DeepEqual(again, h) {
		t.Errorf("repeats changed the hour: digest %s of %d rows, was %s of %d", again.Samples, again.SampleRows, h.Samples, h.SampleRows)
	}
	exec(t, conn, `OPTIMIZE TABLE samples FINAL`)
	if again := load(t, s, site); !reflect.DeepEqual(again, h) {
		t.Error("a merge changed the hour")
	}
	exec(t, conn, `INSERT INTO samples SELECT * REPLACE ('GPU-unknown' AS device) FROM (SELECT * FROM samples WHERE device = 'GPU-a' AND tick = toDateTime64(%d, 6) LIMIT 1)`, hour0/1_000_000)
	other := load(t, s, site)
	if other.Samples == h.Samples || other.SampleRows != h.SampleRows+1 {
		t.Errorf("a device that the inventory does not have: digest %s of %d rows, was %s of %d", other.Samples, other.SampleRows, h.Samples, h.SampleRows)
	}
}

// However few devices are in memory at a time, and whatever the protocol, the hour is the same.
func TestTheHourDoesNotDependOnHowItIsRead(t *testing.T) {
	t.Parallel()
	s, conn := open(t)
	site := plant(t, conn)
	h := load(t, s, site)
	for _, rows := range []int{1, 500, 1000} {
		s.chunkRows = rows
		if got := load(t, s, site); !reflect.DeepEqual(got, h) {
			t.Errorf("in chunks of %d rows the hour is another: %+v, want %+v", rows, got, h)
		}
	}
	s.conn = nativeOnly{conn}
	if got := load(t, s, site); !reflect.DeepEqual(got, h) {
		t.Errorf("row by row, as over the native protocol, the hour is another: %+v, want %+v", got, h)
	}
}

// nativeOnly is a connection that hands over rows and no bytes, as one over the native protocol does.
type nativeOnly struct{ driver.Conn }

func (nativeOnly) QueryFormat(context.Context, string, string, ...any) (io.ReadCloser, error) {
	return nil, clickhouse.ErrFormatNativeUnsupported
}

// block is one of Native with a column of words and one of numbers, as a server sends it.
func block() []byte {
	var b bytes.Buffer
	b.Write([]byte{1, 0, 2, 255, 255, 255, 255, 0, 2, 3})
	b.WriteString("\x01w\x16LowCardinality(String)\x00")
	b.Write([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0})
	b.WriteString("\x01x\x02yz")
	b.Write([]byte{3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1})
	b.WriteString("\x01n\x04Int8\x00\x01\x02\x03")
	return b.Bytes()
}

func readBlocks(data []byte) (words []string, numbers []byte, err error) {
	b := blocks{r: bufio.NewReader(bytes.NewReader(data))}
	for {
		if err := b.next(2); err != nil {
			return words, numbers, err
		}
		which := make([]uint32, b.rows)
		list, err := b.words(which)
		if err != nil {
			return words, numbers, err
		}
		for _, w := range which {
			words = append(words, list[w])
		}
		p, err := b.fixed("Int8", 1)
		if err != nil {
			return words, numbers, err
		}
		numbers = append(numbers, p...)
	}
}

func TestBlocks(t *testing.T) {
	words, numbers, err := readBlocks(append(block(), block()...))
	if !errors.Is(err, io.EOF) || !reflect.DeepEqual(words, []string{"yz", "x", "yz", "yz", "x", "yz"}) || !bytes.Equal(numbers, []byte{1, 2, 3, 1, 2, 3}) {
		t.Errorf("%v %v, %v", words, numbers, err)
	}
	for n := 1; n < len(block()); n++ {
		if _, _, err := readBlocks(block()[:n]); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("a block of which %d bytes came: %v", n, err)
		}
	}
}

func FuzzBlocks(f *testing.F) {
	f.Add(block())
	f.Add([]byte{0, 0, 0})
	f.Fuzz(func(_ *testing.T, data []byte) { _, _, _ = readBlocks(data) })
}
