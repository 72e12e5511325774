package imagefile_test

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

var be = binary.BigEndian

// kind is how a cluster is stored in an image.
type kind int

const (
	asItIs kind = iota
	packed
	notThere
	zeroFlag // version 3
	inParts  // with extended tables: every third subcluster is stored, if it is not zero
)

// maker writes qcow2 images: the header, the first-level table, the second-level tables,
// then the clusters, the last one as short as possible.
type maker struct {
	version  uint32
	bits     uint32
	extended bool
	zstd     bool
}

func (m maker) image(t *testing.T, p []byte, kindOf func(i int) kind) []byte {
	t.Helper()
	size := 1 << m.bits
	entry := 8
	if m.extended {
		entry = 16
	}
	clusters := (len(p) + size - 1) / size
	tables := (clusters*entry + size - 1) / size
	first := (tables*8 + size - 1) / size
	head := make([]byte, size)
	copy(head, "QFI\xfb")
	be.PutUint32(head[4:], m.version)
	be.PutUint32(head[20:], m.bits)
	be.PutUint64(head[24:], uint64(len(p)))
	be.PutUint32(head[36:], uint32(tables))
	be.PutUint64(head[40:], uint64(size))
	if m.version == 3 {
		be.PutUint32(head[96:], 4) // refcounts of 16 bits
		be.PutUint32(head[100:], 112)
		if m.extended {
			head[79] |= 1 << 4
		}
		if m.zstd {
			head[79] |= 1 << 3
			head[104] = 1
		}
	}
	image := bytes.Repeat([]byte{0}, (1+first+tables)*size)
	copy(image, head)
	secondAt := (1 + first) * size
	const used = 1 << 63
	for i := range tables {
		be.PutUint64(image[size+8*i:], used|uint64(secondAt+i*size))
	}
	whole := make([]byte, clusters*size)
	copy(whole, p)
	for i := range clusters {
		data, at := whole[i*size:(i+1)*size], secondAt+entry*i
		missing := 0
		if i == clusters-1 {
			missing = len(whole) - len(p)
		}
		switch kindOf(i) {
		case asItIs:
			image = append(image, make([]byte, -len(image)&(size-1))...)
			be.PutUint64(image[at:], used|uint64(len(image)))
			if m.extended {
				be.PutUint64(image[at+8:], 1<<32-1)
			}
			image = append(image, data[:size-missing]...)
		case packed:
			p := m.pack(t, data)
			bits := 62 - (m.bits - 8)
			sectors := (len(image)%512 + len(p) + 511) / 512
			be.PutUint64(image[at:], 1<<62|uint64(sectors-1)<<bits|uint64(len(image)))
			image = append(image, p...)
		case zeroFlag:
			require.Equal(t, make([]byte, size), data)
			if m.extended {
				be.PutUint64(image[at+8:], (1<<32-1)<<32)
			} else {
				be.PutUint64(image[at:], 1)
			}
		case notThere:
			require.Equal(t, make([]byte, size), data)
		case inParts:
			image = append(image, make([]byte, -len(image)&(size-1))...)
			be.PutUint64(image[at:], used|uint64(len(image)))
			var bitmap uint64
			for j := range 32 {
				switch part := data[j*size/32 : (j+1)*size/32]; {
				case !bytes.Equal(part, make([]byte, size/32)):
					bitmap |= 1 << j
				case j%2 == 0:
					bitmap |= 1 << (32 + j) // marked as zero, or not stored
				}
			}
			be.PutUint64(image[at+8:], bitmap)
			image = append(image, data...)
		}
	}
	return image
}

func (m maker) pack(t *testing.T, data []byte) []byte {
	t.Helper()
	if m.zstd {
		w, err := zstd.NewWriter(nil)
		require.NoError(t, err)
		return w.EncodeAll(data, nil)
	}
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestCompression)
	require.NoError(t, err)
	_, err = w.Write(data)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return packed.Bytes()
}
