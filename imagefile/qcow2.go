package imagefile

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
)

// The format is that of docs/interop/qcow2.rst in QEMU.

const qcow2Magic = "QFI\xfb"

// What a header of version 3 says that a reader has to know.
const (
	featureDirty = 1 << iota // of refcounts, which are not read
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

// qcow2 is an image that is read. It reads as a guest would see it.
type qcow2 struct {
	file        *sparseFile
	version     uint32
	size        uint64 // of the disk
	clusterBits uint32
	extended    bool // second tables have a state for each 32nd of a cluster
	compression byte
	first       []uint64 // where second tables are
	warnings    []string

	mu         sync.Mutex
	second     []byte // the table that was used last
	secondAt   uint64 // in the file; 0: there is none
	unpacked   []byte // the compressed cluster that was used last
	unpackedAt uint64 // in the file; 0: there is none
	packed     []byte // it as it is in the file
	decompress decompressor
}

func (q *qcow2) cluster() uint64 { return 1 << q.clusterBits }

// entries is how many clusters a second table tells of.
func (q *qcow2) entries() uint64 {
	if q.extended {
		return q.cluster() / 16
	}
	return q.cluster() / 8
}

// openQcow2 refuses what cannot be read, and what is cut short or damaged: every
// table is read for that.
func openQcow2(ctx context.Context, file *sparseFile, head []byte) (*qcow2, error) {
	const headerOf2, headerOf3 = 72, 104
	if len(head) < headerOf2 {
		return nil, errors.New("is a qcow2 image that is cut short: it ends within its header")
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
		return nil, errors.New("is an encrypted qcow2 image, which cannot be read")
	case backing != 0:
		return nil, errors.New("is a qcow2 image with a backing file, which cannot be read: flatten it first, as by qemu-img convert -O qcow2")
	case q.clusterBits < 9 || q.clusterBits > 21:
		return nil, fmt.Errorf("is a damaged qcow2 image: clusters of 2^%d bytes", q.clusterBits)
	case q.size == 0:
		return nil, errors.New("is a qcow2 image of a disk of no bytes")
	case q.size > mostQcow2Size:
		return nil, fmt.Errorf("is a qcow2 image of a disk of %d bytes; expected at most %d", q.size, uint64(mostQcow2Size))
	}
	if q.version == 3 {
		if len(head) < headerOf3 {
			return nil, errors.New("is a qcow2 image that is cut short: it ends within its header")
		}
		features = be.Uint64(head[72:])
		if length := be.Uint32(head[100:]); length > headerOf3 && len(head) > headerOf3 {
			q.compression = head[headerOf3]
		}
	}
	switch {
	case features&featureExternalData != 0:
		return nil, errors.New("is a qcow2 image with an external data file, which cannot be read: flatten it first, as by qemu-img convert -O qcow2")
	case features&^featuresKnown != 0:
		return nil, fmt.Errorf("is a qcow2 image that cannot be read: it uses unknown features (%#x)", features&^featuresKnown)
	case decompressors[q.compression] == nil:
		return nil, fmt.Errorf("is a qcow2 image with the unknown compression type %d", q.compression)
	}
	if features&featureCorrupt != 0 {
		q.warnings = append(q.warnings, "it is marked as corrupt: see qemu-img check")
	}
	q.decompress = decompressors[q.compression]()
	q.extended = features&featureExtendedTables != 0
	if q.extended && q.clusterBits < 14 {
		return nil, fmt.Errorf("is a damaged qcow2 image: extended tables, and clusters of 2^%d bytes", q.clusterBits)
	}
	if err := q.readFirst(firstAt, firstSize); err != nil {
		return nil, err
	}
	if err := q.check(ctx); err != nil {
		return nil, err
	}
	return q, nil
}

// readFirst reads the table of where the second tables are.
func (q *qcow2) readFirst(at, entries uint64) error {
	of := q.cluster() * q.entries() // bytes of the disk that one entry is for
	needed := (q.size + of - 1) / of
	switch {
	case at > q.file.size || entries*8 > q.file.size-at:
		return fmt.Errorf("is a qcow2 image that is cut short or damaged: it has %d bytes, and its first table, of %d at %d, lies beyond the end of the file", q.file.size, entries*8, at)
	case entries < needed || needed*8 > mostFirstTable:
		return fmt.Errorf("is a damaged qcow2 image: a first table of %d entries, for %d", entries, needed)
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

// ReadAt reads what a guest would see.
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

// mostExtent is where an extent ends that goes on: whoever asks may want to stop.
const mostExtent = 1 << 30

// extent joins what reads as zeros, or does not, one after the other. Clusters that
// are stored in holes of the file are zeros, too.
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
