package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/app/retry"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// end ends what the run opened. After a failure, first the live head leaves the mirror, then it
// is deleted, and then the connections close that it read through: in another order targets
// crash.
func (l *liveRun) end(ctx context.Context, failure error) error {
	failed := []error{l.thawAgain(ctx)}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), executor.CleanUpTime)
	defer cancel()
	switch {
	case failure == nil:
	case l.head.uuid != "":
		serves, err := l.abandonInTime(ctx)
		failed = append(failed, err)
		if serves {
			return errors.Join(failed...)
		}
	case l.head.offered: // it could not be made
		failed = append(failed, l.rebuild.request.Destination.Host.HideHead(ctx, l.rebuild.run.Replica))
	}
	failed = append(failed, l.close(ctx, failure))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ways, l.head, l.cutByOwnerAlready, l.verified = nil, liveLvol{}, false, nil
	if failure != nil {
		l.cut = domain.Cut{}
	}
	return errors.Join(failed...)
}

// reportLeft reports what a failure has left of the destination and of the volume, if their hosts still tell.
func (l *liveRun) reportLeft(ctx context.Context, failure error) {
	if l == nil || failure == nil || !l.rebuild.use.changed {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if listing, err := list(ctx, l.rebuild.request.Destination); err == nil {
		if left, err := l.rebuild.request.Destination.replica(listing); err == nil {
			l.rebuild.report.Destination = left
		}
	}
	volume, err := l.mirror.Volume(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.unseen = err != nil; !l.unseen {
		l.volume = volume
	}
}

// close closes exports and connections: of the sources, the destination and the mirror, at once
// if the destination is whole.
func (l *liveRun) close(ctx context.Context, failure error) error {
	run := l.rebuild.run.Run
	var sources, destination, mirror error
	calls := []func() error{
		func() error {
			for at := range l.rebuild.sources.sites {
				if l.rebuild.sources.lostReason(at) != nil || l.ways == nil {
					continue
				}
				err := executor.End(ctx, l.rebuild.sources.host(at), run)
				if failure == nil && errors.Is(err, ports.ErrUnavailable) { // it died since; the destination is whole
					l.rebuild.leftOpen(at, err)
					continue
				}
				sources = errors.Join(sources, err)
			}
			return nil
		},
		func() error {
			if l.ways != nil {
				destination = executor.End(ctx, l.rebuild.request.Destination.Host, run)
			}
			return nil
		},
		func() error {
			if l.head.way != "" {
				mirror = l.mirror.Release(ctx, run)
			}
			return nil
		},
	}
	parallel := l.rebuild.request.parallel()
	if failure != nil {
		parallel = 1
	}
	_ = executor.AtOnce(parallel, calls...) // none fails
	return errors.Join(sources, destination, mirror)
}

// abandonInTime abandons the live head, again as long as that fails and it may be a member. If
// serves is true in the end, everything that it reads through stays open.
func (l *liveRun) abandonInTime(ctx context.Context) (serves bool, err error) {
	for {
		err = l.abandon(ctx)
		if err == nil || !l.mayServe(ctx) {
			return false, err
		}
		if errors.Is(err, ports.ErrGone) || retry.Wait(ctx, time.Second) != nil {
			return true, fmt.Errorf("the live head may still be a member of the volume, so its connections stay open: %w", err)
		}
	}
}

// mayServe reports whether the mirror may still read and write the live head.
func (l *liveRun) mayServe(ctx context.Context) bool {
	volume, err := l.mirror.Volume(ctx)
	if err != nil {
		return !errors.Is(err, ports.ErrNotFound) // a mirror that has lost its last member may be gone
	}
	m, is := volume.Member(l.head.uuid)
	return is && m.Mode != domain.ModeERR
}

// abandon gives the live head up, unless it has its final name: then it is whole.
func (l *liveRun) abandon(ctx context.Context) error {
	host := l.rebuild.request.Destination.Host
	if l.head.naming {
		if kept, err := l.keepNamed(ctx); kept || err != nil {
			return err
		}
	}
	// A mirror that has lost its last member may be gone.
	if err := l.mirror.Leave(ctx, l.head.uuid); err != nil && !errors.Is(err, ports.ErrNotFound) {
		return fmt.Errorf("take the live head out of the mirror: %w", err)
	}
	hidden := host.HideHead(ctx, l.rebuild.run.Replica)
	listing, err := list(ctx, l.rebuild.request.Destination)
	if err != nil {
		return errors.Join(hidden, err)
	}
	replica, err := l.rebuild.request.Destination.replica(listing)
	if err != nil {
		return errors.Join(hidden, err)
	}
	chain, err := domain.LiveChain(replica, domain.Cut{Snapshot: l.cut.Snapshot, Joined: domain.Member{Head: l.head.uuid}})
	if err != nil {
		return hidden // it is gone
	}
	return errors.Join(hidden, executor.DeleteAll(ctx, host, func(of domain.Lvol) bool {
		return slices.ContainsFunc(chain, func(l domain.Lvol) bool { return l.UUID == of.UUID })
	}))
}

// keepNamed reports whether the live head has its final name and is whole. One that the mirror
// lost just before it was named gets an in-flight name again.
func (l *liveRun) keepNamed(ctx context.Context) (kept bool, err error) {
	host := l.rebuild.request.Destination.Host
	head, err := host.Look(ctx, l.head.uuid)
	if err != nil || head.Name != l.rebuild.run.Replica {
		if errors.Is(err, ports.ErrNotFound) { // the mirror may still list it
			err = nil
		}
		return false, err
	}
	volume, err := l.look(ctx)
	if err != nil {
		return false, err
	}
	if volume.CheckUnbroken(l.cut.Joined) == nil {
		return true, nil
	}
	return false, rename(ctx, host, l.head.uuid, domain.InFlightLvolName(l.rebuild.run.Replica, executor.NewID()))
}
