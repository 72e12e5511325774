package liveclient

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"sync"
)

// step is the number of bytes that are compared at once. The race detector makes loops
// over single bytes slow.
const step = 1 << 10

var zeros [step]byte

// model is what the volume may contain. A byte of it has one value; or two, after a trim
// or a failed write; or it may be anything, after several of these.
type model struct {
	mu      sync.Mutex
	value   []byte
	other   []byte // that it may have, too
	open    []bool // it may be anything
	changes []*change
	reads   []*read
}

// change is a write, or a trim.
type change struct {
	offset int64
	length int64
	bytes  []byte // nil: zeros
	trim   bool   // the old bytes may stay
}

func (c *change) overlaps(offset, length int64) bool {
	return c.offset < offset+length && offset < c.offset+c.length
}

// part is the bytes from one position of the change up to another one, at most step of them.
func (c *change) part(from, end int64) []byte {
	if c.bytes == nil {
		return zeros[:end-from]
	}
	return c.bytes[from:end]
}

// read is a read that takes place.
type read struct {
	model  *model
	offset int64
	length int64
	value  []byte // as they were when it began
	other  []byte
	open   []bool

	during []*change // that took place at some moment of the read
}

func newModel(volume io.ReaderAt, size int64) (*model, error) {
	m := &model{value: make([]byte, size), open: make([]bool, size)}
	for at := int64(0); at < size; at += longest {
		part := m.value[at:min(at+longest, size)]
		if err := readFull(volume, part, at); err != nil {
			return nil, fmt.Errorf("read %d bytes at %d: %w", len(part), at, err)
		}
	}
	m.other = slices.Clone(m.value)
	return m, nil
}

// begin begins a change, if no other one takes place in its range.
func (m *model) begin(c *change) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if slices.ContainsFunc(m.changes, func(other *change) bool { return other.overlaps(c.offset, c.length) }) {
		return false
	}
	m.changes = append(m.changes, c)
	for _, r := range m.reads {
		if c.overlaps(r.offset, r.length) {
			r.during = append(r.during, c)
		}
	}
	return true
}

// end ends a change, which may have been done in part if it failed.
func (m *model) end(c *change, done bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.changes = slices.DeleteFunc(m.changes, func(other *change) bool { return other == c })
	for from := int64(0); from < c.length; from += step {
		end := min(from+step, c.length)
		p, at := c.part(from, end), c.offset+from
		value, other, open := m.value[at:][:len(p)], m.other[at:][:len(p)], m.open[at:][:len(p)]
		if done && !c.trim {
			copy(value, p)
			copy(other, p)
			clear(open)
		} else {
			permit(p, value, other, open)
		}
	}
}

// permit adds bytes that the volume may have.
func permit(p, value, other []byte, open []bool) {
	switch {
	case bytes.Equal(p, value) || bytes.Equal(p, other):
		return
	case bytes.Equal(value, other):
		copy(other, p)
		return
	}
	for i, b := range p {
		switch {
		case b == value[i] || b == other[i]:
		case value[i] == other[i]:
			other[i] = b
		default:
			open[i] = true
		}
	}
}

// beginRead begins a read. check ends it.
func (m *model) beginRead(offset, length int64) *read {
	m.mu.Lock()
	defer m.mu.Unlock()
	end := offset + length
	r := &read{
		model: m, offset: offset, length: length,
		value: slices.Clone(m.value[offset:end]),
		other: slices.Clone(m.other[offset:end]),
		open:  slices.Clone(m.open[offset:end]),
	}
	for _, c := range m.changes {
		if c.overlaps(offset, length) {
			r.during = append(r.during, c)
		}
	}
	m.reads = append(m.reads, r)
	return r
}

// check ends a read and checks its bytes.
func (r *read) check(got []byte) error {
	m := r.model
	m.mu.Lock()
	m.reads = slices.DeleteFunc(m.reads, func(other *read) bool { return other == r })
	m.mu.Unlock()
	for from := 0; from < len(got); from += step {
		end := min(from+step, len(got))
		part := got[from:end]
		if bytes.Equal(part, r.value[from:end]) || bytes.Equal(part, r.other[from:end]) {
			continue
		}
		if i := r.wrong(got, from, end); i < end {
			return fmt.Errorf("read %d bytes at %d: byte %d is %#x, want %#x", r.length, r.offset, i, got[i], r.value[i])
		}
	}
	return nil
}

// wrong is the position of the first wrong byte in a part of the bytes, or the end of the part.
func (r *read) wrong(got []byte, from, end int) int {
	for i := from; i < end; i++ {
		b := got[i]
		if b != r.value[i] && b != r.other[i] && !r.open[i] && !r.written(r.offset+int64(i), b) {
			return i
		}
	}
	return end
}

// written reports whether a change during the read writes that byte.
func (r *read) written(at int64, b byte) bool {
	return slices.ContainsFunc(r.during, func(c *change) bool {
		return c.overlaps(at, 1) && c.part(at-c.offset, at-c.offset+1)[0] == b
	})
}
