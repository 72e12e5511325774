package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// tidyTime is the most that looking for half cuts may take: clients may be stopped.
const tidyTime = 10 * time.Second

// tidy does what has to be done before anything else if an engine died: it takes cuts away that
// only some members have, and thaws the volume. In this order, for while members differ in that,
// clients that trim would make their bytes differ. It needs no leases: other runs do that in
// freezes, too.
func (l *liveRun) tidy(ctx context.Context) error {
	if l == nil {
		return nil
	}
	return l.retry(ctx, "tidy up after earlier runs", func() error {
		undone := l.removeHalfCuts(ctx)
		return errors.Join(undone, thaw(ctx, l.freezer))
	})
}

// checkFreezer refuses a freezer that can never work, before anything else is changed.
func (l *liveRun) checkFreezer(ctx context.Context) error {
	if l == nil {
		return nil
	}
	return l.retry(ctx, "check how clients are stopped", func() error { return l.freezer.check(ctx) })
}

// tidyDestination does what a plan cannot do about a live head that another run left.
func (l *liveRun) tidyDestination(ctx context.Context) error {
	var volume domain.Volume
	var listing domain.Listing
	err := executor.AtOnce(l.rebuild.request.parallel(),
		func() (err error) { volume, err = l.look(ctx); return err },
		func() (err error) { listing, err = list(ctx, l.rebuild.request.Destination); return err },
	)
	if err != nil {
		return err
	}
	if err := l.hideLeftover(ctx, volume, listing); err != nil {
		return err
	}
	return l.reviveLeftover(ctx, volume, listing)
}

// hideLeftover closes the way to a live head that never joined. One that did leaves first, as
// the plan says.
func (l *liveRun) hideLeftover(ctx context.Context, volume domain.Volume, listing domain.Listing) error {
	destination := l.rebuild.request.Destination
	for _, of := range listing.Lvols {
		replica, inFlight := domain.ReplicaInFlight(of.Name)
		if _, is := volume.Member(of.UUID); inFlight && !is && replica == destination.Replica && of.UsedBy.Kind == domain.UserExport {
			return destination.Host.HideHead(ctx, destination.Replica)
		}
	}
	return nil
}

// removeHalfCuts merges cuts that only some members have into the heads of these. It freezes
// the volume for it, so that no other run is cutting it at the same time.
func (l *liveRun) removeHalfCuts(ctx context.Context) error {
	if half, err := l.halfCuts(ctx); err != nil || len(half) == 0 {
		return err
	}
	l.rebuild.use.changed = true
	remove := func(ctx context.Context) error {
		half, err := l.halfCuts(ctx)
		failed := []error{err}
		for _, one := range half {
			if err := l.merge(ctx, one.Member, one.Snapshot.Lvol.UUID); err != nil {
				failed = append(failed, fmt.Errorf("take snapshot %s away again: %w", one.Snapshot.Lvol.Name, err))
			}
		}
		return errors.Join(failed...)
	}
	err := l.freezer.Freeze(ctx, l.limit, remove)
	if errors.Is(err, ports.ErrNotFrozen) { // perhaps it is frozen already
		return remove(ctx)
	}
	return err
}

// halfCuts finds them on the members that are not lost, if all of these are among the sources
// and answer. Member is the position among the sources.
func (l *liveRun) halfCuts(ctx context.Context) ([]domain.HalfCut, error) {
	listing, cancel := context.WithTimeout(ctx, tidyTime)
	defer cancel()
	var volume domain.Volume
	var destination domain.Listing
	found := make([]domain.Replica, len(l.rebuild.sources.sites))
	calls := []func() error{
		func() (err error) { volume, err = l.look(ctx); return err },
		func() (err error) { destination, err = list(listing, l.rebuild.request.Destination); return err },
	}
	for at, site := range l.rebuild.sources.sites {
		calls = append(calls, func() error {
			if of, err := list(listing, site); err == nil {
				found[at], _ = site.replica(of)
			}
			return nil // the plan says what is wrong with it
		})
	}
	if err := executor.AtOnce(l.rebuild.request.parallel(), calls...); err != nil {
		return nil, err
	}
	var replicas []domain.Replica
	var positions []int
	known := make(map[string]bool)
	for at, replica := range found {
		if replica.Head == nil {
			continue
		}
		if m, is := volume.Member(replica.Head.UUID); is && m.Mode != domain.ModeERR {
			replicas, positions = append(replicas, replica), append(positions, at)
			known[m.Head] = true
		}
	}
	if !l.allKnown(destination, volume, known) {
		return nil, nil
	}
	l.warnUneven(domain.UnevenSnapshots(replicas))
	half := domain.HalfCuts(replicas)
	for i := range half {
		half[i].Member = positions[half[i].Member]
	}
	return half, nil
}

// warnUneven warns of users' snapshots that a snapshot of the volume may have left when it died.
func (l *liveRun) warnUneven(uneven []domain.HalfCut) {
	for _, one := range uneven {
		l.warn(fmt.Sprintf("other members lack snapshot %s: where clients trim, the members' bytes may differ; take snapshot %s of the volume again", one.Snapshot.Lvol.Name, one.Snapshot.Name))
	}
}

// warn adds a warning to the reports of this plan and the next ones, once.
func (l *liveRun) warn(warning string) {
	if r := l.rebuild; r.addWarnings(warning) {
		r.report.Warnings = append(r.report.Warnings, warning)
		r.engine.log.Warn(warning, zap.String("replica", r.run.Replica))
	}
}

// allKnown reports whether all members are known that are neither lost nor a live head that an
// engine left on the destination.
func (l *liveRun) allKnown(destination domain.Listing, volume domain.Volume, known map[string]bool) bool {
	for _, of := range destination.Lvols {
		if replica, inFlight := domain.ReplicaInFlight(of.Name); inFlight && replica == l.rebuild.run.Replica {
			known[of.UUID] = true
		}
	}
	for _, m := range volume.Members {
		if m.Mode != domain.ModeERR && !known[m.Head] {
			return false
		}
	}
	return true
}
