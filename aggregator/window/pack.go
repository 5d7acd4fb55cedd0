package window

import "encoding/binary"

// Packed is a list of integers in few bytes: differences, each as short as it is small. A million readings whose every one
// must wait for its turn then fit where a hundred thousand did.
type Packed struct {
	n     int
	bytes []byte
}

// Pack packs a list.
func Pack(list []int64) Packed {
	b := make([]byte, 0, 3*len(list)+binary.MaxVarintLen64)
	var last int64
	for _, v := range list {
		b = binary.AppendVarint(b, v-last) // wraps, and wraps back
		last = v
	}
	return Packed{n: len(list), bytes: b}
}

// Len is how many there are.
func (p Packed) Len() int { return p.n }

// List is the list that was packed.
func (p Packed) List() []int64 {
	out := make([]int64, 0, p.n)
	var last int64
	for b := p.bytes; len(out) < p.n; {
		d, n := binary.Varint(b)
		b, last = b[n:], last+d
		out = append(out, last)
	}
	return out
}
