package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/app/retry"
	"github.com/rootgraft/rebuild/internal/domain"
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
	undone := l.retry(ctx, "take half cuts away", func() error { return l.removeHalfCuts(ctx) })
	if undone != nil {
		l.warn(mayDiffer)
	}
	return errors.Join(undone, retry.Tidy().Call(ctx, func() error { return thaw(ctx, l.freezer) }))
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
			l.rebuild.use.changed = true
			return destination.Host.HideHead(ctx, destination.Replica)
		}
	}
	return nil
}

// removeHalfCuts merges cuts that only some members have into the heads of these. It freezes
// the volume for it, so that no other run is cutting it at the same time.
func (l *liveRun) removeHalfCuts(ctx context.Context) error {
	if half, _, err := l.halfCuts(ctx); err != nil || len(half) == 0 {
		return err
	}
	l.rebuild.use.changed = true
	release, err := l.freezer.lock(ctx)
	if err != nil {
		return err
	}
	defer release()
	early, err := l.freezer.mend(ctx, l.limit, l.mergeHalfCuts)
	if early || l.cuts > 0 { // after a cut of this run clients have gone on
		l.warn(mayDiffer)
	}
	return err
}

// mergeHalfCuts goes on after a freeze that ends too early: members differ until it is done.
func (l *liveRun) mergeHalfCuts(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), executor.CleanUpTime)
	defer cancel()
	half, sites, err := l.halfCuts(ctx)
	return errors.Join(err, mergeHalves(ctx, half, sites))
}

// removeLateCut is for snapshots of a cut whose calls were cut off. ctx may have ended.
func (l *liveRun) removeLateCut(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), executor.CleanUpTime)
	defer cancel()
	_ = retry.Wait(ctx, lateSnapshot)
	if err := l.removeHalfCuts(ctx); err != nil {
		return fmt.Errorf("%w: look for snapshots of the cut once more: %w", ErrCleanUp, err)
	}
	return l.left
}

// halfCuts finds them on the members that are not lost and answer, the destination among them. Member is a
// position in sites.
func (l *liveRun) halfCuts(ctx context.Context) (half []domain.HalfCut, sites []site, err error) {
	listing, cancel := context.WithTimeout(ctx, tidyTime)
	defer cancel()
	var volume domain.Volume
	calls := []func() error{func() (err error) { volume, err = l.look(ctx); return err }}
	all := append(slices.Clone(l.rebuild.sources.sites), l.rebuild.request.Destination)
	found, failures := make([]domain.Replica, len(all)), make([]error, len(all))
	budget := retry.Tidy()
	for at, site := range all {
		calls = append(calls, func() error {
			failures[at] = budget.Call(listing, func() error {
				store, err := list(listing, site)
				if err == nil {
					found[at], err = site.replica(store)
				}
				return err
			})
			return nil // the plan says what is wrong with it
		})
	}
	if err := executor.AtOnce(l.rebuild.request.parallel(), calls...); err != nil {
		return nil, nil, err
	}
	var replicas []domain.Replica
	for at, failure := range failures {
		if failure == nil {
			replicas, sites = append(replicas, found[at]), append(sites, all[at])
		}
	}
	parts, strangers := volume.Assign(replicas)
	if len(strangers) == 0 {
		l.left = nil
	} else {
		l.warn(mayBeUneven)
	}
	l.warnUneven(domain.UnevenSnapshots(parts))
	return domain.HalfCutsOf(parts), sites, nil
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
