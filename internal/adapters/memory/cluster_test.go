package memory

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestClusterBytes: a cluster has its bytes, however they were written, and never
// changes.
func TestClusterBytes(t *testing.T) {
	const size = 2*pageSize + pageSize/2
	rapid.Check(t, func(t *rapid.T) {
		type version struct {
			cluster cluster
			bytes   []byte
		}
		versions := []version{{nil, make([]byte, size)}}
		for range rapid.IntRange(1, 6).Draw(t, "writes") {
			last := versions[len(versions)-1]
			content := bytes.Clone(last.bytes)
			// Most writes begin and end at page boundaries.
			edge := rapid.SampledFrom([]int{0, 1, pageSize - 1, pageSize, pageSize + 1, 2 * pageSize, size - 1, size})
			from, to := edge.Draw(t, "from"), edge.Draw(t, "to")
			from, to = min(from, to), max(from, to)
			part := bytes.Repeat([]byte{rapid.SampledFrom([]byte{0, 1, 2}).Draw(t, "byte")}, to-from)
			copy(content[from:], part)
			versions = append(versions, version{last.cluster.with(part, uint64(from)), content})
		}
		for _, v := range versions {
			from := rapid.IntRange(0, size).Draw(t, "read from")
			read := bytes.Repeat([]byte{9}, size-from)
			v.cluster.read(read, uint64(from))
			require.True(t, bytes.Equal(v.bytes[from:], read), "other bytes are read")
			require.True(t, bytes.Equal(bytes.TrimRight(v.bytes, "\x00"), summed(v.cluster)), "other bytes are summed up")
			require.True(t, bytes.Equal(summed(newCluster(bytes.Clone(v.bytes))), summed(v.cluster)))
			for _, page := range v.cluster {
				require.True(t, len(page) == 0 || page[len(page)-1] != 0, "zeros are stored")
			}
			require.True(t, len(v.cluster) == 0 || len(v.cluster[len(v.cluster)-1]) > 0, "a page of zeros is stored")
		}
	})
}

// summed are the bytes that go into a checksum; their number must be right.
func summed(c cluster) []byte {
	var all bytes.Buffer
	if c.sum(&all) != uint64(all.Len()) {
		return nil
	}
	return all.Bytes()
}
