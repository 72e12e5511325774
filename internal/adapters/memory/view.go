package memory

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/rootgraft/rebuild/internal/ports"
)

// resolve finds what is read in count clusters of the lvol from first on: its
// own over its ancestors', each of which counts as far as those below it
// reach. What is missing is zeros. One walk up serves all clusters. The error is what
// outside of the store could not be read; zeros stand in its place.
func resolve(l *lvol, first, count, clusterSize uint64) (found map[uint64]cluster, err error) {
	found = make(map[uint64]cluster)
	end := first + count
	for up := l; up != nil && first < end; up = up.parent {
		// Beyond the end of a shorter ancestor zeros are read, whatever is
		// above it.
		end = min(end, up.size/clusterSize)
		if uint64(len(up.own)) <= count {
			for i, content := range up.own {
				if _, covered := found[i]; !covered && i >= first && i < end {
					found[i] = content
				}
			}
		} else {
			for i := first; i < end; i++ {
				if content, own := up.own[i]; own {
					if _, covered := found[i]; !covered {
						found[i] = content
					}
				}
			}
		}
		if uint64(len(found)) == count {
			break
		}
		if up.external != nil {
			err = readOutside(up.external, found, first, end, clusterSize)
		}
	}
	return found, err
}

// readOutside adds what is missing. What is beyond the end there is zeros, unless that
// cannot be read.
func readOutside(outside io.ReaderAt, found map[uint64]cluster, first, end, clusterSize uint64) (failure error) {
	for i := first; i < end; i++ {
		if _, covered := found[i]; covered {
			continue
		}
		content := make([]byte, clusterSize)
		n, err := outside.ReadAt(content, int64(i*clusterSize))
		if n > 0 {
			found[i] = newCluster(content)
		}
		if err != nil && !errors.Is(err, io.EOF) && failure == nil {
			failure = err
		}
	}
	return failure
}

// ReadAt reads the view of an lvol. ErrInvalid beyond the end.
func (h *Host) ReadAt(uuid string, p []byte, offset uint64) error {
	what := fmt.Sprintf("read %d bytes at %d of %s", len(p), offset, h.word(uuid))
	h.mu.Lock()
	defer h.mu.Unlock()
	l, err := h.find(uuid)
	if err == nil {
		err = l.holds(offset, len(p))
	}
	if err != nil || len(p) == 0 {
		return h.failed(what, err)
	}
	size := h.config.ClusterSize
	first, last := offset/size, (offset+uint64(len(p))-1)/size
	clusters, err := resolve(l, first, last-first+1, size)
	if err != nil {
		return h.failed(what, fmt.Errorf("%w: %w", ports.ErrUnavailable, err))
	}
	v := view{clusters: clusters, clusterSize: size, offset: offset, end: offset + uint64(len(p))}
	_, err = io.ReadFull(&v, p)
	return h.failed(what, err)
}

// View reads the whole view of an lvol as it is at the moment of the call, size
// bytes. What changes later does not change it.
func (h *Host) View(uuid string) (r io.Reader, size uint64, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l, err := h.find(uuid)
	if err != nil {
		return nil, 0, h.failed("read "+uuid, err)
	}
	clusters, err := resolve(l, 0, l.size/h.config.ClusterSize, h.config.ClusterSize)
	if err != nil {
		return nil, 0, h.failed("read "+uuid, fmt.Errorf("%w: %w", ports.ErrUnavailable, err))
	}
	return &view{clusters: clusters, clusterSize: h.config.ClusterSize, end: l.size}, l.size, nil
}

// ViewSHA256 is the SHA-256, in hex digits, of the whole view of an lvol.
func (h *Host) ViewSHA256(uuid string) (string, error) {
	r, _, err := h.View(uuid)
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, r); err != nil {
		return "", h.failed("read "+uuid, err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// view is a moment's view: the clusters are shared with the lvols, which never
// change them.
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

// WriteTo spares the writer's buffer, and what is not stored is not copied.
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
