package app

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"
)

// Sparse is an optional interface of an ImageRequest's Content. Parts that it reports as
// zeros are not read.
type Sparse interface {
	// Extent reports whether the content is known to read as zeros from an offset on, and
	// the number of bytes for which that holds: at least 1, at most to the end.
	Extent(offset uint64) (length uint64, zero bool, err error)
}

// Changing is an optional interface of an ImageRequest's Content that may change during
// the import.
type Changing interface {
	// Unchanged returns an error if the content has changed since it was opened.
	Unchanged() error
}

// piece is one part of an image's content.
type piece struct {
	offset, length uint64
	data           []byte // nil: zeros
}

// content reads an image from beginning to end, by whole clusters.
type content struct {
	from    io.ReaderAt
	size    uint64
	cluster uint64

	extent                  func(offset uint64) (length uint64, zero bool, err error)
	extentBegin, extentEnds uint64 // the newest extent
	zero                    bool
}

// readAheadBytes are read at once, or one cluster if that is larger: a compressed image
// has large clusters.
const readAheadBytes = 2 << 20

func newContent(from io.ReaderAt, size, cluster uint64) *content {
	c := &content{from: from, size: size, cluster: cluster}
	c.extent = func(offset uint64) (uint64, bool, error) { return size - offset, false, nil }
	if sparse, ok := from.(Sparse); ok {
		c.extent = sparse.Extent
	}
	return c
}

// extentEnd is the end of the extent that contains an offset.
func (c *content) extentEnd(offset uint64) (end uint64, zero bool, err error) {
	if offset < c.extentBegin || offset >= c.extentEnds {
		length, zero, err := c.extent(offset)
		if err == nil && (length == 0 || length > c.size-offset) {
			err = fmt.Errorf("the content reports an extent of %d bytes at offset %d of %d", length, offset, c.size)
		}
		if err != nil {
			return 0, false, err
		}
		c.extentBegin, c.extentEnds, c.zero = offset, offset+length, zero
	}
	return c.extentEnds, c.zero, nil
}

// next describes the part at an offset, which is the start of a cluster: whole clusters of
// known zeros, or up to most bytes that may hold data.
func (c *content) next(offset, most uint64) (length uint64, zero bool, err error) {
	end := offset
	for zero = true; zero && end < c.size; {
		var to uint64
		if to, zero, err = c.extentEnd(end); err != nil {
			return 0, false, err
		}
		if zero {
			end = to
		}
	}
	if end < c.size {
		end -= (end - offset) % c.cluster
	}
	if end > offset {
		return end - offset, true, nil
	}
	for from := c.size; end-offset < most && end < c.size; { // from: where zeros begin
		to, zero, err := c.extentEnd(end)
		if err != nil {
			return 0, false, err
		}
		switch {
		case !zero:
			from = c.size
		case from == c.size:
			from = end
		}
		if first := (from + c.cluster - 1) / c.cluster * c.cluster; first+c.cluster <= to || first < c.size && to == c.size {
			end = from
			break
		}
		end = to
	}
	clusters := (end - offset + c.cluster - 1) / c.cluster
	return min(max(clusters, 1)*c.cluster, most, c.size-offset), false, nil
}

// maxDataClusters is the number of clusters that are not known to be zero.
func (c *content) maxDataClusters(ctx context.Context) (clusters uint64, err error) {
	for offset := uint64(0); offset < c.size; {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		length, zero, err := c.next(offset, c.size)
		if err != nil {
			return 0, fmt.Errorf("read the image: %w", err)
		}
		if !zero {
			clusters += (length + c.cluster - 1) / c.cluster
		}
		offset += length
	}
	return clusters, nil
}

// pieces calls use for each piece while it reads the next. Data comes cluster by cluster;
// the last cluster may be shorter.
func (c *content) pieces(ctx context.Context, use func(piece) error) error {
	r := &pieceReader{content: c, free: make(chan []byte, 2), full: make(chan piece, 1)}
	r.most = min(max(1, readAheadBytes/c.cluster), (c.size+c.cluster-1)/c.cluster) * c.cluster
	for range cap(r.free) {
		r.free <- make([]byte, r.most)
	}
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() error { return r.readAll(ctx) })
	both.Go(func() error { return r.useAll(use) })
	return both.Wait()
}

// pieceReader reads a content ahead of its use.
type pieceReader struct {
	*content

	most uint64      // bytes of a buffer: whole clusters
	free chan []byte // buffers
	full chan piece  // their data is a whole buffer
}

func (r *pieceReader) readAll(ctx context.Context) error {
	defer close(r.full)
	for offset := uint64(0); offset < r.size; {
		length, zero, err := r.next(offset, r.most)
		if err != nil {
			return err
		}
		next := piece{offset: offset, length: length}
		if !zero {
			if next.data, err = r.read(ctx, offset, length); err != nil {
				return err
			}
		}
		select {
		case r.full <- next:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		offset += length
	}
	return nil
}

func (r *pieceReader) read(ctx context.Context, offset, length uint64) (buffer []byte, err error) {
	select {
	case buffer = <-r.free:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	n, err := r.from.ReadAt(buffer[:length], int64(offset))
	switch {
	case uint64(n) == length:
		return buffer, nil
	case err == nil || errors.Is(err, io.EOF):
		return nil, fmt.Errorf("the image ends after %d of %d bytes", offset+uint64(n), r.size)
	}
	return nil, err
}

func (r *pieceReader) useAll(use func(piece) error) error {
	for next := range r.full {
		if next.data == nil {
			if err := use(next); err != nil {
				return err
			}
			continue
		}
		for at := uint64(0); at < next.length; at += r.cluster {
			data := next.data[at:min(at+r.cluster, next.length)]
			if err := use(piece{next.offset + at, uint64(len(data)), data}); err != nil {
				return err
			}
		}
		r.free <- next.data // never blocks
	}
	return nil
}
