package memory

import (
	"bytes"
	"encoding/binary"
	"hash/crc64"
	"io"
	"maps"
	"slices"
)

// cluster is the content of one cluster in pages. Zeros at the end of a page and pages
// of zeros at the end are not stored. A cluster of an lvol never changes: a write creates
// another one, which shares the other pages. So copies, views and snapshots can share
// them, too.
type cluster [][]byte

const pageSize = 16 << 10

var zeros [pageSize]byte

// newCluster uses the bytes without a copy.
func newCluster(content []byte) cluster {
	var c cluster
	stored := 0
	for rest := withoutZeros(content); len(rest) > 0; rest = rest[min(pageSize, len(rest)):] {
		page := withoutZeros(rest[:min(pageSize, len(rest))])
		c = append(c, page)
		stored += len(page)
	}
	if stored < len(content)/2 {
		for i, page := range c {
			c[i] = bytes.Clone(page)
		}
	}
	return c
}

// with is the cluster with p written at offset.
func (c cluster) with(p []byte, offset uint64) cluster {
	end := offset + uint64(len(p))
	other := make(cluster, max(uint64(len(c)), (end+pageSize-1)/pageSize))
	copy(other, c)
	for at := offset; at < end; {
		i, from := at/pageSize, at%pageSize
		to := min(pageSize, from+end-at)
		page := make([]byte, max(to, uint64(len(other[i]))))
		copy(page, other[i])
		copy(page[from:to], p[at-offset:])
		other[i] = withoutZeros(page)
		if len(other[i]) < len(page)/2 {
			other[i] = bytes.Clone(other[i])
		}
		at += to - from
	}
	for len(other) > 0 && len(other[len(other)-1]) == 0 {
		other = other[:len(other)-1]
	}
	return other
}

// withoutZeros is p without the zeros at its end.
func withoutZeros(p []byte) []byte {
	n := len(p)
	for step := len(zeros); step > 0; step /= 4 {
		for n >= step && bytes.Equal(p[n-step:n], zeros[:step]) {
			n -= step
		}
	}
	return p[:n:n]
}

// stored are the bytes from offset on to the end of its page, without the zeros there.
func (c cluster) stored(offset uint64) []byte {
	i, from := offset/pageSize, offset%pageSize
	if i >= uint64(len(c)) || from >= uint64(len(c[i])) {
		return nil
	}
	return c[i][from:]
}

// read fills p with the cluster's bytes from offset on.
func (c cluster) read(p []byte, offset uint64) {
	for len(p) > 0 {
		part := p[:min(uint64(len(p)), pageSize-offset%pageSize)]
		clear(part[copy(part, c.stored(offset)):])
		p, offset = p[len(part):], offset+uint64(len(part))
	}
}

// sum writes all bytes except the zeros at the end and returns their number. The writer
// is a hash, which never fails.
func (c cluster) sum(w io.Writer) (length uint64) {
	for i, page := range c {
		_, _ = w.Write(page)
		length += uint64(len(page))
		if i < len(c)-1 {
			_, _ = w.Write(zeros[len(page):])
			length += uint64(len(zeros) - len(page))
		}
	}
	return length
}

// positions are the positions of own clusters, ascending.
func positions(own map[uint64]cluster) []uint64 {
	return slices.Sorted(maps.Keys(own))
}

var crcTable = crc64.MakeTable(crc64.ECMA)

// checksumOf is a CRC-64 over the clusters in order, without their positions: the same
// bytes at other positions have the same one, as on the fork. The zeros at a cluster's
// end are counted instead of hashed. Without clusters it is 0.
func checksumOf(own map[uint64]cluster, clusterSize uint64) uint64 {
	if len(own) == 0 {
		return 0
	}
	sum := crc64.New(crcTable)
	for _, i := range positions(own) {
		length := own[i].sum(sum)
		writeUint64(sum, clusterSize-length)
	}
	return sum.Sum64()
}

func writeUint64(w io.Writer, n uint64) {
	_, _ = w.Write(binary.LittleEndian.AppendUint64(nil, n))
}
