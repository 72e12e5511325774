package app

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"golang.org/x/sync/errgroup"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// create creates the in-flight lvol. An lvol of another owner with that name must not be
// removed, so another name is drawn.
func (i *imageImport) create(ctx context.Context) (uuid string, err error) {
	for tries := 0; ; tries++ {
		i.inFlight = domain.ImageInFlightLvolName(executor.NewID())
		free, err := i.engine.leaseNow(ctx, i.host, imageKey(i.store.UUID, i.inFlight), ports.Lease{Holder: "the import of backing image " + i.request.Name}) // it lives, so it is no garbage
		if err != nil {
			return "", err
		}
		uuid, err = i.host.Create(ctx, i.inFlight, i.report.Size)
		if !errors.Is(err, ports.ErrExists) {
			i.free = free
			return uuid, err
		}
		free()
		i.inFlight = ""
		if tries == 8 {
			return "", err
		}
	}
}

// fill writes all clusters with data. Surveyed content must not have changed.
func (i *imageImport) fill(ctx context.Context, opener ports.Opener, uuid string) (err error) {
	b, err := opener.Open(ctx, i.run, uuid)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	sum, w := i.newSum(), newClusterWriters(ctx, b, i.store.ClusterSize)
	i.progress.beginReadingBytes(i.request.Size)
	err = i.pieces(w.ctx, func(next piece) error {
		if next.data == nil {
			return sum.add(w.ctx, next, i.progress.wrote)
		}
		_ = sum.add(w.ctx, next, func(uint64) {}) // never fails
		if allZero(next.data) {
			i.progress.wrote(next.length)
			return nil
		}
		return w.write(next, func() { i.progress.wrote(next.length) })
	})
	i.report.WrittenBytes = w.started * i.store.ClusterSize
	if failed := w.group.Wait(); failed != nil {
		return failed
	}
	if err != nil {
		return err
	}
	if i.surveyed && (sum.hex() != i.report.SHA512 || w.started != i.clusters) {
		return fmt.Errorf("the image was changed while it was imported: %w", ports.ErrCorrupt)
	}
	i.report.SHA512, i.clusters = sum.hex(), w.started
	if c, ok := i.request.Content.(Changing); ok {
		if err := c.Unchanged(); err != nil {
			return fmt.Errorf("the image was changed while it was imported: %w: %w", ports.ErrCorrupt, err)
		}
	}
	return nil
}

// clusterWriters write clusters at once, imageWriters of them.
type clusterWriters struct {
	group   *errgroup.Group
	ctx     context.Context // ends at the first failure
	to      io.WriterAt
	spare   chan []byte // buffers of one cluster
	started uint64      // clusters
}

func newClusterWriters(ctx context.Context, to io.WriterAt, cluster uint64) *clusterWriters {
	w := &clusterWriters{to: to, spare: make(chan []byte, imageWriters)}
	w.group, w.ctx = errgroup.WithContext(ctx)
	for range cap(w.spare) {
		w.spare <- make([]byte, cluster)
	}
	return w
}

// write begins to write a piece of at most one cluster, padded with zeros. It copies the
// data, and calls written after success.
func (w *clusterWriters) write(next piece, written func()) error {
	var whole []byte
	select {
	case whole = <-w.spare:
	case <-w.ctx.Done():
		return context.Cause(w.ctx)
	}
	clear(whole[copy(whole, next.data):])
	w.group.Go(func() error {
		_, err := w.to.WriteAt(whole, int64(next.offset))
		w.spare <- whole
		if err == nil {
			written()
		}
		return err
	})
	w.started++
	return nil
}

func (i *imageImport) newSum() *imageSum {
	if i.request.NoChecksum {
		return &imageSum{}
	}
	return &imageSum{sha512.New()}
}

// imageSum is the SHA-512 of a content; without a Hash it computes none.
type imageSum struct{ hash.Hash }

// add hashes a piece. It reports long zeros part by part, since they take long.
func (s *imageSum) add(ctx context.Context, next piece, done func(bytes uint64)) error {
	if s.Hash == nil || next.data != nil {
		if s.Hash != nil {
			_, _ = s.Write(next.data) // never fails
		}
		done(next.length)
		return nil
	}
	const part = 4 << 20
	for left := next.length; left > 0; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n := min(part, left)
		for written := uint64(0); written < n; written += uint64(len(zeros)) {
			_, _ = s.Write(zeros[:min(uint64(len(zeros)), n-written)]) // never fails
		}
		done(n)
		left -= n
	}
	return nil
}

func (s *imageSum) hex() string {
	if s.Hash == nil {
		return ""
	}
	return hex.EncodeToString(s.Sum(nil))
}

func allZero(p []byte) bool {
	for len(p) > len(zeros) {
		if !bytes.Equal(p[:len(zeros)], zeros) {
			return false
		}
		p = p[len(zeros):]
	}
	return bytes.Equal(p, zeros[:len(p)])
}

// zeros are compared in blocks, which is faster than byte by byte.
var zeros = make([]byte, 64<<10)
