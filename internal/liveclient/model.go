package liveclient

import (
	"fmt"
	"io"
	"slices"
	"sync"
)

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
	bytes  []byte
	trim   bool // the old bytes may stay
}

func (c *change) overlaps(offset, length int64) bool {
	return c.offset < offset+length && offset < c.offset+int64(len(c.bytes))
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
	const step = 1 << 20
	for at := int64(0); at < size; at += step {
		part := m.value[at:min(at+step, size)]
		if n, err := volume.ReadAt(part, at); n < len(part) {
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
	length := int64(len(c.bytes))
	if slices.ContainsFunc(m.changes, func(other *change) bool { return other.overlaps(c.offset, length) }) {
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
	for i, b := range c.bytes {
		at := c.offset + int64(i)
		switch {
		case done && !c.trim:
			m.value[at], m.other[at], m.open[at] = b, b, false
		case b == m.value[at] || b == m.other[at]:
		case m.value[at] == m.other[at]:
			m.other[at] = b
		default:
			m.open[at] = true
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
	for i, b := range got {
		if b == r.value[i] || b == r.other[i] || r.open[i] || r.written(r.offset+int64(i), b) {
			continue
		}
		return fmt.Errorf("read %d bytes at %d: byte %d is %#x, want %#x", r.length, r.offset, i, b, r.value[i])
	}
	return nil
}

// written reports whether a change during the read writes that byte.
func (r *read) written(at int64, b byte) bool {
	return slices.ContainsFunc(r.during, func(c *change) bool {
		return c.overlaps(at, 1) && c.bytes[at-c.offset] == b
	})
}
