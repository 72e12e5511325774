package memory

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/rootgraft/rebuild/internal/ports"
)

// resolve finds the clusters that a reader of the lvol sees, count of them from first
// on: its own and those of its ancestors. Missing ones are zeros. The chain is walked
// once for all clusters. The error is a failed read of an external snapshot; zeros are
// in its place.
func resolve(l *lvol, first, count, clusterSize uint64) (found map[uint64]cluster, err error) {
	found = make(map[uint64]cluster)
	end := first + count
	for ancestor := l; ancestor != nil && first < end; ancestor = ancestor.parent {
		// Beyond the end of a shorter ancestor zeros are read, whatever its own
		// ancestors hold.
		end = min(end, ancestor.size/clusterSize)
		ancestor.addOwn(found, first, end)
		if uint64(len(found)) == count {
			break
		}
		if ancestor.external != nil {
			err = readOutside(ancestor.external, found, first, end, clusterSize)
		}
	}
	return found, err
}

// addOwn adds the own clusters from first to end that are not found yet.
func (l *lvol) addOwn(found map[uint64]cluster, first, end uint64) {
	add := func(i uint64, content cluster) {
		if _, covered := found[i]; !covered {
			found[i] = content
		}
	}
	if uint64(len(l.own)) > end-min(first, end) { // shorter to go through the positions
		for i := first; i < end; i++ {
			if content, own := l.own[i]; own {
				add(i, content)
			}
		}
		return
	}
	for i, content := range l.own {
		if i >= first && i < end {
			add(i, content)
		}
	}
}

// readOutside reads the missing clusters from an external snapshot. Bytes beyond its end
// are zeros.
func readOutside(source io.ReaderAt, found map[uint64]cluster, first, end, clusterSize uint64) (failure error) {
	for i := first; i < end; i++ {
		if _, covered := found[i]; covered {
			continue
		}
		content := make([]byte, clusterSize)
		n, err := source.ReadAt(content, int64(i*clusterSize))
		if n > 0 {
			found[i] = newCluster(content)
		}
		if err != nil && !errors.Is(err, io.EOF) && failure == nil {
			failure = err
		}
	}
	return failure
}

// ReadAt reads the bytes that a reader of the lvol sees. ErrInvalid beyond the end.
func (h *Host) ReadAt(uuid string, p []byte, offset uint64) error {
	what := fmt.Sprintf("read %d bytes at %d of %s", len(p), offset, h.nameOrUUID(uuid))
	return h.with(what, h.find, uuid, func(l *lvol) error {
		if err := l.checkRange(offset, len(p)); err != nil || len(p) == 0 {
			return err
		}
		if err := l.read(p, offset, h.config.ClusterSize); err != nil {
			return fmt.Errorf("%w: %w", ports.ErrUnavailable, err)
		}
		return nil
	})
}

// read fills p from that offset of the lvol.
func (l *lvol) read(p []byte, offset, clusterSize uint64) error {
	end := offset + uint64(len(p))
	first, last := offset/clusterSize, (end-1)/clusterSize
	clusters, err := resolve(l, first, last-first+1, clusterSize)
	if err != nil {
		return err
	}
	_, err = io.ReadFull(&view{clusters: clusters, clusterSize: clusterSize, offset: offset, end: end}, p)
	return err
}

// View reads all bytes of an lvol, size of them, as they are at the moment of the call.
// Later changes do not change them.
func (h *Host) View(uuid string) (r io.Reader, size uint64, err error) {
	err = h.with("read "+uuid, h.find, uuid, func(l *lvol) error {
		clusters, err := resolve(l, 0, l.clusters(h), h.config.ClusterSize)
		if err != nil {
			return fmt.Errorf("%w: %w", ports.ErrUnavailable, err)
		}
		r, size = &view{clusters: clusters, clusterSize: h.config.ClusterSize, end: l.size}, l.size
		return nil
	})
	return r, size, err
}

// ViewSHA256 is the SHA-256, in hex digits, of all bytes of an lvol.
func (h *Host) ViewSHA256(uuid string) (string, error) {
	r, _, err := h.View(uuid)
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, r); err != nil {
		return "", h.wrap("read "+uuid, err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// view reads resolved clusters. They are shared with the lvols, which never change
// them.
type view struct {
	clusters    map[uint64]cluster
	clusterSize uint64
	offset, end uint64
}

func (v *view) Read(p []byte) (int, error) {
	if v.offset == v.end {
		return 0, io.EOF
	}
	n := 0
	for n < len(p) && v.offset < v.end {
		i, at := v.offset/v.clusterSize, v.offset%v.clusterSize
		part := min(v.clusterSize-at, v.end-v.offset, uint64(len(p)-n))
		v.clusters[i].read(p[n:n+int(part)], at)
		n += int(part)
		v.offset += part
	}
	return n, nil
}

// WriteTo needs no buffer and does not copy zeros.
func (v *view) WriteTo(w io.Writer) (int64, error) {
	var written int64
	write := func(p []byte) error {
		n, err := w.Write(p)
		written += int64(n)
		v.offset += uint64(n)
		return err
	}
	for v.offset < v.end {
		i, at := v.offset/v.clusterSize, v.offset%v.clusterSize
		part := min(v.clusterSize-at, v.end-v.offset)
		stored := v.clusters[i].stored(at)
		if len(stored) == 0 {
			stored = zeros[at%pageSize:]
		}
		if err := write(stored[:min(part, uint64(len(stored)))]); err != nil {
			return written, err
		}
	}
	return written, nil
}
