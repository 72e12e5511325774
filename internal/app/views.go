package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/app/retry"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
	"github.com/rootgraft/rebuild/internal/table"
)

// Views are the SHA-256 of lvols' data as a reader sees it, in hex digits, by UUID. nil:
// nothing was read.
type Views map[string]string

// readSize is the size of a read. It is enough for several concurrent commands of a host.
const readSize = 4 << 20

// ReadViews reads lvols of a replica, several at once, through the host's ports.Opener.
func (e *Engine) ReadViews(ctx context.Context, where Site, lvols []domain.Lvol, observer Observer) (views Views, err error) {
	at := where.guarded()
	if err := at.check(); err != nil {
		return nil, err
	}
	p := newProgress(observer)
	p.beginReading(lvols)
	reader := lvolReader{at, ports.Run{Replica: at.Replica, ID: executor.NewID()}, p}
	if _, ok := ports.As[ports.Opener](at.Host); !ok || len(lvols) == 0 {
		return reader.views(ctx, lvols, DefaultParallel)
	}
	lease := ports.Lease{Shared: true, Holder: "a reading of the views of replica " + at.Replica}
	replica, err := e.leaseReplica(ctx, at, lease)
	if err != nil {
		return nil, err
	}
	defer replica()
	return e.readLeased(ctx, reader, lvols, lease)
}

// readLeased reads lvols of a leased replica. lease is that of the run.
func (e *Engine) readLeased(ctx context.Context, reader lvolReader, lvols []domain.Lvol, lease ports.Lease) (Views, error) {
	host := reader.at.Host
	store, err := identify(ctx, reader.at)
	if err != nil {
		return nil, err
	}
	reader.run.Store = store.UUID
	alive, err := e.leaseNow(ctx, host, runKey(reader.run), lease)
	if err != nil {
		return nil, err
	}
	defer alive()
	views, err := reader.views(ctx, lvols, DefaultParallel)
	ender, ok := ports.As[ports.Ender](host)
	if !ok {
		return views, err // every lvol was closed; gc closes the rest
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), executor.CleanUpTime)
	defer cancel()
	if ended := ender.End(ctx, reader.run); ended != nil {
		err = errors.Join(err, fmt.Errorf("%w: %w", ErrCleanUp, ended))
	}
	return views, err
}

type lvolReader struct {
	at       site
	run      ports.Run
	progress *progress
}

// views reads the lvols, parallel of them at once.
func (r lvolReader) views(ctx context.Context, lvols []domain.Lvol, parallel int) (Views, error) {
	if len(lvols) == 0 {
		return Views{}, nil
	}
	if _, ok := ports.As[ports.Opener](r.at.Host); !ok {
		return nil, fmt.Errorf("read the views of replica %s: this host cannot open lvols: %w", r.at.Replica, ports.ErrUnsupported)
	}
	var views table.Map[string, string]
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(parallel)
	for _, l := range lvols {
		all.Go(func() error {
			sum := sha256.New()
			var bytes uint64 // of this attempt
			// An lvol that a volume uses is busy for long; waiting is useless.
			err := retry.Transient.Call(ctx, func() error {
				sum.Reset()
				r.progress.unread(bytes)
				bytes = 0
				return r.read(ctx, l, sum, func(n uint64) { bytes += n; r.progress.read(n) })
			})
			if err != nil {
				return fmt.Errorf("read the view of lvol %s: %w", l.Name, err)
			}
			views.Set(l.UUID, hex.EncodeToString(sum.Sum(nil)))
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		return nil, err
	}
	return views.All(), nil
}

// read hashes the view of one lvol.
func (r lvolReader) read(ctx context.Context, l domain.Lvol, sum hash.Hash, done func(bytes uint64)) (err error) {
	b, err := r.at.Host.Open(ctx, r.run, l.UUID)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	if b.Size() != l.Size {
		return fmt.Errorf("it has %d bytes and was listed with %d: %w", b.Size(), l.Size, ports.ErrCorrupt)
	}
	return newContent(b, l.Size, min(readSize, max(l.Size, 1))).pieces(ctx, func(next piece) error {
		_, _ = sum.Write(next.data) // never fails
		done(next.length)
		return nil
	})
}

// compareViews reads and compares the views of both replicas, except those that this
// attempt has read already. The source's head is read only if the destination has one.
func (r *rebuild) compareViews(ctx context.Context, seen observation, image domain.Base) ([]domain.Violation, error) {
	if !r.request.Views {
		return nil, nil
	}
	if len(r.report.DestinationViews) == 0 {
		r.progress.beginReading(slices.Concat(seen.source.Views(), seen.source.Views())) // both replicas are as long
	}
	if seen.destination.Head == nil {
		seen.source.Head = nil
	}
	source, destination := unread(seen.source, r.report.SourceViews), unread(seen.destination, r.report.DestinationViews)
	for _, side := range []struct {
		at    site
		lvols []domain.Lvol
		into  *Views
	}{{r.sources.sites[seen.primary], source, &r.report.SourceViews}, {r.request.Destination, destination, &r.report.DestinationViews}} {
		read := func() (Views, error) {
			return lvolReader{side.at, r.run.Run, r.progress}.views(ctx, side.lvols, r.request.parallel())
		}
		views, err := read()
		if errors.Is(err, ports.ErrBusy) && side.into == &r.report.SourceViews && r.engine.endDeadRuns(ctx, side.at.Host) {
			views, err = read()
		}
		if errors.Is(err, ports.ErrNotFound) {
			return nil, fmt.Errorf("%w: %w", executor.ErrPlanAgain, err) // a user may have deleted a snapshot of the source
		}
		if err != nil {
			if side.into == &r.report.SourceViews {
				err = executor.OfSource(seen.primary, err)
			}
			return nil, fmt.Errorf("verify: %w", err)
		}
		maps.Copy(views, *side.into)
		*side.into = views
	}
	return domain.CompareViews(seen.source, seen.destination, image, r.report.SourceViews, r.report.DestinationViews), nil
}

func unread(r domain.Replica, read Views) []domain.Lvol {
	return slices.DeleteFunc(r.Views(), func(l domain.Lvol) bool { return read[l.UUID] != "" })
}

// readLvol is the SHA-256 of an lvol's bytes. It waits for other readers of a shared
// image.
func (r *rebuild) readLvol(ctx context.Context, at site, uuid string) (sum string, err error) {
	l, err := at.Host.Look(ctx, uuid)
	if err != nil {
		return "", err
	}
	var views Views
	err = retry.Busy.Call(ctx, func() (err error) {
		views, err = lvolReader{at, r.run.Run, newProgress(nil)}.views(ctx, []domain.Lvol{l}, 1)
		return err
	})
	return views[uuid], err
}
