package imagefile

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
)

// decompressor fills out from packed, which may have other bytes at its end.
type decompressor func(out, packed []byte) error

// decompressors by the compression type in the header. Type 0 is called zlib but has no
// zlib header.
var decompressors = map[byte]func() decompressor{
	0: func() decompressor {
		r := flate.NewReader(nil)
		return func(out, packed []byte) error {
			if err := r.(flate.Resetter).Reset(bytes.NewReader(packed), nil); err != nil {
				return err
			}
			_, err := io.ReadFull(r, out)
			return err
		}
	},
	1: func() decompressor {
		var r *zstd.Decoder
		return func(out, packed []byte) (err error) {
			if r == nil {
				r, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20))
			}
			if err == nil {
				err = r.Reset(bytes.NewReader(packed))
			}
			if err == nil {
				_, err = io.ReadFull(r, out)
			}
			return err
		}
	},
}

// unpack decompresses a cluster unless it is the last one in use, so that several short
// reads decompress it once.
func (q *qcow2) unpack(s stretch) error {
	if q.unpackedAt == s.at {
		return nil
	}
	if q.unpacked == nil {
		q.unpacked = make([]byte, q.cluster())
	}
	q.unpackedAt = 0
	if s.packed > uint64(cap(q.packed)) {
		q.packed = make([]byte, s.packed)
	}
	n, err := q.file.ReadAt(q.packed[:s.packed], int64(s.at))
	if err != nil && !errors.Is(err, io.EOF) { // the last sector may be incomplete
		return err
	}
	if err := q.decompress(q.unpacked, q.packed[:n]); err != nil {
		return fmt.Errorf("decompress the cluster at offset %d of the file: %w", s.at, err)
	}
	q.unpackedAt = s.at
	return nil
}
