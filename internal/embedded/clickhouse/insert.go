package clickhouse

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// budget bounds the bytes of insert data held at once, over all requests.
type budget struct {
	limit int64
	used  atomic.Int64
}

func (b *budget) take(n int64) error {
	if used := b.used.Add(n); used > b.limit {
		b.used.Add(-n)
		return refuse(codeMemoryLimit, "memory", "The data of inserts in flight would take %d bytes and may take %d (max_insert): retry, or send smaller batches", used, b.limit)
	}
	return nil
}

// payload is the data of one insert in a file that has no name and lies in memory.
// The engine opens it by its path under /proc/self/fd, so it reads the rows itself, in any format it knows,
// as the ClickHouse client does with a file: binary data survives, defaults and named columns work.
type payload struct {
	file   *os.File
	size   int64
	budget *budget
}

// receive copies r into a payload, within the budget.
func receive(r io.Reader, b *budget) (*payload, error) {
	fd, err := unix.MemfdCreate("wattledger-insert", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a memory file for insert data: %w", err)
	}
	p := &payload{file: os.NewFile(uintptr(fd), "insert data"), budget: b}
	buf := make([]byte, 256<<10)
	for {
		n, readErr := r.Read(buf)
		if n > 0 {
			if err := b.take(int64(n)); err != nil {
				p.close()
				return nil, err
			}
			p.size += int64(n)
			if _, err := p.file.Write(buf[:n]); err != nil {
				p.close()
				return nil, fmt.Errorf("keep %d bytes of insert data: %w", p.size, err)
			}
		}
		if errors.Is(readErr, io.EOF) {
			return p, nil
		}
		if readErr != nil {
			// A body that breaks off inserts nothing: half a batch would be worse than none.
			p.close()
			return nil, readErr
		}
	}
}

func (p *payload) close() {
	_ = p.file.Close() // a memory file has nothing left to write
	p.budget.used.Add(-p.size)
}

// sql is the insert with the payload in place of its data.
func (p *payload) sql(st statement) string {
	return fmt.Sprintf("%s FROM INFILE '/proc/self/fd/%d' COMPRESSION 'none' %s FORMAT %s",
		st.text[:st.infileAt], p.file.Fd(), st.text[st.infileAt:], quoteName(st.format))
}
