package app

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
	"golang.org/x/sync/errgroup"
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
	sum := i.newSum()
	spare := make(chan []byte, imageWriters)
	for range cap(spare) {
		spare <- make([]byte, i.store.ClusterSize)
	}
	writers, writing := errgroup.WithContext(ctx)
	var written uint64
	i.progress.beginReadingBytes(i.request.Size)
	err = i.content().pieces(writing, func(next piece) error {
		if next.data == nil {
			return sum.add(writing, next, i.progress.wrote)
		}
		length := next.length
		zero := allZero(next.data)
		_ = sum.add(writing, next, func(uint64) {}) // never fails
		if zero {
			i.progress.wrote(length)
			return nil
		}
		var whole []byte
		select {
		case whole = <-spare:
		case <-writing.Done():
			return context.Cause(writing)
		}
		clear(whole[copy(whole, next.data):]) // the last cluster is filled up with zeros
		writers.Go(func() error {
			_, err := b.WriteAt(whole, int64(next.offset))
			spare <- whole
			if err == nil {
				i.progress.wrote(length)
			}
			return err
		})
		written++
		i.report.WrittenBytes += uint64(len(whole))
		return nil
	})
	if failed := writers.Wait(); failed != nil {
		return failed
	}
	if err != nil {
		return err
	}
	if i.surveyed && (sum.hex() != i.report.SHA512 || written != i.clusters) {
		return fmt.Errorf("the image was changed while it was imported: %w", ports.ErrCorrupt)
	}
	i.report.SHA512, i.clusters = sum.hex(), written
	if c, ok := i.request.Content.(Changing); ok {
		if err := c.Unchanged(); err != nil {
			return fmt.Errorf("the image was changed while it was imported: %w: %w", ports.ErrCorrupt, err)
		}
	}
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
