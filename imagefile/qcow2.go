package imagefile

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
)

// docs/interop/qcow2.rst in QEMU specifies the format.

const qcow2Magic = "QFI\xfb"

// Incompatible features in a header of version 3.
const (
	featureDirty = 1 << iota // refcounts may be wrong; they are not read
	featureCorrupt
	featureExternalData
	featureCompression
	featureExtendedTables

	featuresKnown = featureDirty | featureCorrupt | featureCompression | featureExtendedTables
)

const (
	mostQcow2Size  = 64 << 40 // bytes of a disk
	mostFirstTable = 32 << 20 // bytes, as in QEMU
	tableOffset    = 0x00fffffffffffe00
	clusterOffset  = 0x00fffffffffffe00
)

// qcow2 reads an image as a guest would see it.
type qcow2 struct {
	file        *sparseFile
	version     uint32
	size        uint64 // of the disk
	clusterBits uint32
	extended    bool // second-level tables have a state for each subcluster, 1/32 of a cluster
	compression byte
	first       []uint64 // offsets of the second-level tables
	warnings    []string

	mu         sync.Mutex
	second     []byte // the last table in use
	secondAt   uint64 // offset in the file; 0: none
	unpacked   []byte // the last compressed cluster in use
	unpackedAt uint64 // offset in the file; 0: none
	packed     []byte // its compressed bytes
	decompress decompressor
}

func (q *qcow2) cluster() uint64 { return 1 << q.clusterBits }

// entries is the number of clusters per second-level table.
func (q *qcow2) entries() uint64 {
	if q.extended {
		return q.cluster() / 16
	}
	return q.cluster() / 8
}

// openQcow2 refuses images that are unsupported, truncated or damaged. It reads every
// table to find out.
func openQcow2(ctx context.Context, file *sparseFile, head []byte) (*qcow2, error) {
	const headerOf2, headerOf3 = 72, 104
	if len(head) < headerOf2 {
		return nil, errors.New("is a truncated qcow2 image: it ends within its header")
	}
	be := binary.BigEndian
	q := &qcow2{file: file, version: be.Uint32(head[4:]), size: be.Uint64(head[24:]), clusterBits: be.Uint32(head[20:])}
	backing, encryption := be.Uint64(head[8:]), be.Uint32(head[32:])
	firstSize, firstAt := uint64(be.Uint32(head[36:])), be.Uint64(head[40:])
	var features uint64
	switch {
	case q.version != 2 && q.version != 3:
		return nil, fmt.Errorf("is a qcow2 image of version %d; expected 2 or 3", q.version)
	case encryption != 0:
		return nil, errors.New("is an encrypted qcow2 image, which is not supported")
	case backing != 0:
		return nil, errors.New("is a qcow2 image with a backing file, which is not supported: flatten it first, for instance with qemu-img convert -O qcow2")
	case q.clusterBits < 9 || q.clusterBits > 21:
		return nil, fmt.Errorf("is a damaged qcow2 image: cluster size of 2^%d bytes", q.clusterBits)
	case q.size == 0:
		return nil, errors.New("is a qcow2 image of a disk of 0 bytes")
	case q.size > mostQcow2Size:
		return nil, fmt.Errorf("is a qcow2 image of a disk of %d bytes; expected at most %d", q.size, uint64(mostQcow2Size))
	}
	if q.version == 3 {
		if len(head) < headerOf3 {
			return nil, errors.New("is a truncated qcow2 image: it ends within its header")
		}
		features = be.Uint64(head[72:])
		if length := be.Uint32(head[100:]); length > headerOf3 && len(head) > headerOf3 {
			q.compression = head[headerOf3]
		}
	}
	switch {
	case features&featureExternalData != 0:
		return nil, errors.New("is a qcow2 image with an external data file, which is not supported: flatten it first, for instance with qemu-img convert -O qcow2")
	case features&^featuresKnown != 0:
		return nil, fmt.Errorf("is a qcow2 image with unknown features (%#x), which are not supported", features&^featuresKnown)
	case decompressors[q.compression] == nil:
		return nil, fmt.Errorf("is a qcow2 image with the unknown compression type %d", q.compression)
	}
	if features&featureCorrupt != 0 {
		q.warnings = append(q.warnings, "it is marked as corrupt: see qemu-img check")
	}
	q.decompress = decompressors[q.compression]()
	q.extended = features&featureExtendedTables != 0
	if q.extended && q.clusterBits < 14 {
		return nil, fmt.Errorf("is a damaged qcow2 image: extended tables with a cluster size of 2^%d bytes", q.clusterBits)
	}
	if err := q.readFirst(firstAt, firstSize); err != nil {
		return nil, err
	}
	if err := q.check(ctx); err != nil {
		return nil, err
	}
	return q, nil
}

// readFirst reads the first-level table, the offsets of the second-level ones.
func (q *qcow2) readFirst(at, entries uint64) error {
	of := q.cluster() * q.entries() // bytes of the disk per entry
	needed := (q.size + of - 1) / of
	switch {
	case at > q.file.size || entries*8 > q.file.size-at:
		return fmt.Errorf("is a truncated or damaged qcow2 image: the file has %d bytes, and its first-level table of %d bytes at %d is beyond its end", q.file.size, entries*8, at)
	case entries < needed || needed*8 > mostFirstTable:
		return fmt.Errorf("is a damaged qcow2 image: a first-level table of %d entries, expected %d", entries, needed)
	}
	table := make([]byte, needed*8)
	if _, err := q.file.ReadAt(table, int64(at)); err != nil {
		return fmt.Errorf("cannot be read: %w", err)
	}
	q.first = make([]uint64, needed)
	for i := range q.first {
		q.first[i] = binary.BigEndian.Uint64(table[i*8:]) & tableOffset
	}
	return nil
}

// ReadAt implements io.ReaderAt.
func (q *qcow2) ReadAt(p []byte, offset int64) (n int, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for n < len(p) {
		at := uint64(offset) + uint64(n)
		if at >= q.size {
			return n, io.EOF
		}
		s, err := q.find(at)
		if err != nil {
			return n, err
		}
		part := p[n:]
		part = part[:min(uint64(len(part)), s.length)]
		switch s.state {
		case zeros:
			clear(part)
		case stored:
			_, err = q.file.ReadAt(part, int64(s.at))
		case compressed:
			if err = q.unpack(s); err == nil {
				copy(part, q.unpacked[at&(q.cluster()-1):])
			}
		}
		if err != nil {
			return n, fmt.Errorf("read the qcow2 image at %d: %w", at, err)
		}
		n += len(part)
	}
	return n, nil
}

// mostExtent bounds an extent, so that callers can stop in between.
const mostExtent = 1 << 30

// extent joins adjacent parts that read as zeros, or adjacent parts that do not. Clusters
// in holes of the file are zeros, too.
func (q *qcow2) extent(offset uint64) (length uint64, zero bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for at := offset; at < q.size && length < mostExtent; at = offset + length {
		s, err := q.find(at)
		if err != nil {
			return 0, false, err
		}
		is := s.state == zeros
		if s.state == stored {
			var same uint64
			if same, is, err = q.file.extent(s.at); err != nil {
				return 0, false, err
			}
			s.length = min(s.length, same)
		}
		if length == 0 {
			zero = is
		}
		if is != zero {
			break
		}
		length += s.length
	}
	return length, zero, nil
}
