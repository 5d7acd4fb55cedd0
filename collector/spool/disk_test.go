package spool

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
)

// memory disk: a folder that can be cut off at any byte, by a kill, which loses nothing that was written, or by a power
// cut, which loses any part of what was not synced.
type memDisk struct {
	mu      sync.Mutex
	names   map[string]*inode // as a process sees them
	durable map[string]*inode // as of the last Sync of the folder
	pending []func(map[string]*inode)
	// budget is how many bytes and operations there are until the cut; negative means no cut.
	budget int
	// refuse makes an operation fail, if set.
	refuse func(operation, name string) error
}

type inode struct{ data, synced []byte }

var errCut = errors.New("cut off")

func newMemDisk() *memDisk {
	return &memDisk{names: map[string]*inode{}, durable: map[string]*inode{}, budget: -1}
}

// spend takes up to n from the budget and says how much there was.
func (d *memDisk) spend(n int) (int, error) {
	if d.budget < 0 {
		return n, nil
	}
	got := min(n, d.budget)
	d.budget -= got
	if got < n {
		return got, errCut
	}
	return n, nil
}

func (d *memDisk) begin(operation, name string) error {
	if _, err := d.spend(1); err != nil {
		return err
	}
	if d.refuse != nil {
		return d.refuse(operation, name)
	}
	return nil
}

func (d *memDisk) change(f func(map[string]*inode)) {
	f(d.names)
	d.pending = append(d.pending, f)
}

func (d *memDisk) Create(name string) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin("create", name); err != nil {
		return nil, err
	}
	n := d.names[name]
	if n == nil {
		n = &inode{}
		d.change(func(m map[string]*inode) { m[name] = n })
	}
	n.data = nil
	return &memFile{d, n, name}, nil
}

func (d *memDisk) Open(name string) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin("open", name); err != nil {
		return nil, err
	}
	n := d.names[name]
	if n == nil {
		return nil, os.ErrNotExist
	}
	return &memFile{d, n, name}, nil
}

func (d *memDisk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin("remove", name); err != nil {
		return err
	}
	if d.names[name] == nil {
		return os.ErrNotExist
	}
	d.change(func(m map[string]*inode) { delete(m, name) })
	return nil
}

func (d *memDisk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin("rename", from); err != nil {
		return err
	}
	d.change(func(m map[string]*inode) { m[to] = m[from]; delete(m, from) })
	return nil
}

func (d *memDisk) Names() ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Keys(d.names)), d.begin("names", "")
}

func (d *memDisk) Sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin("sync", ""); err != nil {
		return err
	}
	d.durable, d.pending = maps.Clone(d.names), nil
	return nil
}

// killed is what the next process finds after a kill.
func (d *memDisk) killed() *memDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.budget = 0
	next := newMemDisk()
	twins := map[*inode]*inode{}
	twin := func(n *inode) *inode {
		if twins[n] == nil {
			twins[n] = &inode{bytes.Clone(n.data), bytes.Clone(n.synced)}
		}
		return twins[n]
	}
	for name, n := range d.names {
		next.names[name] = twin(n)
	}
	for name, n := range d.durable {
		next.durable[name] = twin(n)
	}
	// What happened to the names since is one step: what they are now.
	now := maps.Clone(next.names)
	next.pending = []func(map[string]*inode){func(m map[string]*inode) { clear(m); maps.Copy(m, now) }}
	return next
}

// unplugged is what it finds after a power cut. Names reach the disk in order, sectors in any.
func (d *memDisk) unplugged(r *rand.Rand) *memDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.budget = 0
	next := newMemDisk()
	names := maps.Clone(d.durable)
	for _, f := range d.pending[:r.IntN(len(d.pending)+1)] {
		f(names)
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		data := names[name].survives(r)
		next.names[name] = &inode{data, bytes.Clone(data)}
	}
	next.durable = maps.Clone(next.names)
	return next
}

func (n *inode) survives(r *rand.Rand) []byte {
	size := len(n.synced)
	if r.IntN(2) == 0 {
		size = len(n.data)
	} else if len(n.data) > size {
		size += r.IntN(len(n.data) - size)
	}
	out := make([]byte, size)
	copy(out, n.synced)
	for at := 0; at < size; at += 512 {
		if r.IntN(2) == 0 && at < len(n.data) {
			copy(out[at:min(at+512, size)], n.data[at:])
		}
	}
	return out
}

type memFile struct {
	d    *memDisk
	n    *inode
	name string
}

func (f *memFile) ReadAt(b []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.begin("read", f.name); err != nil {
		return 0, err
	}
	if off >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.n.data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(b []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.begin("write", f.name); err != nil {
		if !errors.Is(err, errCut) {
			f.n.put(b[:len(b)/2], off) // a full disk takes what fits
			return len(b) / 2, err
		}
		return 0, err
	}
	n, err := f.d.spend(len(b))
	f.n.put(b[:n], off)
	return n, err
}

func (n *inode) put(b []byte, off int64) {
	if need := int(off) + len(b); need > len(n.data) {
		n.data = append(n.data, make([]byte, need-len(n.data))...)
	}
	copy(n.data[off:], b)
}

func (f *memFile) Sync() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.begin("sync", f.name); err != nil {
		return err
	}
	f.n.synced = bytes.Clone(f.n.data)
	return nil
}

func (f *memFile) Truncate(size int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.begin("truncate", f.name); err != nil {
		return err
	}
	f.n.data = f.n.data[:min(int64(len(f.n.data)), size)]
	return nil
}

func (f *memFile) Size() (int64, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return int64(len(f.n.data)), f.d.begin("size", f.name)
}

func (f *memFile) Close() error { return nil }
