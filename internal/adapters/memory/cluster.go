package memory

import (
	"bytes"
	"hash"
	"hash/crc64"
	"maps"
	"slices"
)

// cluster is the content of one cluster without the zeros at its end, which
// are not stored. It never changes once it belongs to an lvol: whoever writes
// makes another one. So copies, views and snapshots share them.
type cluster []byte

var zeros [64 << 10]byte

// newCluster takes the bytes over. Equal content is equal afterwards, however
// many zeros were given at the end.
func newCluster(content []byte) cluster {
	n := len(content)
	for n >= len(zeros) && bytes.Equal(content[n-len(zeros):n], zeros[:]) {
		n -= len(zeros)
	}
	for n > 0 && content[n-1] == 0 {
		n--
	}
	if n < len(content)/2 {
		return bytes.Clone(content[:n:n])
	}
	return content[:n:n]
}

// read fills p with the cluster's bytes from offset on.
func (c cluster) read(p []byte, offset uint64) {
	n := 0
	if offset < uint64(len(c)) {
		n = copy(p, c[offset:])
	}
	clear(p[n:])
}

// positions are those of own clusters, ascending.
func positions(own map[uint64]cluster) []uint64 {
	return slices.Sorted(maps.Keys(own))
}

var crcTable = crc64.MakeTable(crc64.ECMA)

// checksumOf is a CRC-64 over the clusters one after the other, without their
// positions: the same bytes elsewhere have the same one, as on the fork. The
// zeros at a cluster's end are counted instead of read. Without clusters it
// is 0.
func checksumOf(own map[uint64]cluster, clusterSize uint64) uint64 {
	if len(own) == 0 {
		return 0
	}
	sum := crc64.New(crcTable)
	for _, i := range positions(own) {
		sum.Write(own[i])
		writeUint64(sum, clusterSize-uint64(len(own[i])))
	}
	return sum.Sum64()
}

func writeUint64(h hash.Hash, n uint64) {
	var b [8]byte
	for i := range b {
		b[i] = byte(n >> (8 * i))
	}
	h.Write(b[:])
}
