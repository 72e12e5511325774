package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// maxLandings is how often a freeze for the last graft is tried: all that was copied would be
// lost with it.
const maxLandings = 3

// land makes the destination whole. Clients are stopped for it once more: SPDK exchanges the
// parent of a live head without waiting for reads of the old one, and crashes when they end.
func (l *liveRun) land(ctx context.Context, x *executor.Executor) error {
	for attempt := 1; ; attempt++ {
		var volume domain.Volume
		err := executor.AtOnce(l.rebuild.request.parallel(),
			func() (err error) { volume, err = l.look(ctx); return err },
			func() error { l.seeLowest(ctx); return nil },
		)
		if err != nil {
			return err
		}
		if err := volume.CheckUnbroken(l.cut.Joined); err != nil {
			return fmt.Errorf("%w: %w", errBroken, err)
		}
		err = l.freeze(ctx, func(ctx context.Context) error { return x.Do(ctx, domain.StageLand) })
		missed := errors.Is(err, ports.ErrNotFrozen) || errors.Is(err, ports.ErrThawed)
		switch {
		case err == nil:
			return x.Do(ctx, domain.StageName)
		case !missed || ctx.Err() != nil || attempt == maxLandings:
			return fmt.Errorf("graft the live head: %w", err)
		}
		l.rebuild.progress.emit(EventAgain, err.Error())
	}
}

// seeLowest finds the lvol of the live head's chain that is going to be grafted, so that the
// freeze begins there: users may have taken snapshots.
func (l *liveRun) seeLowest(ctx context.Context) {
	for uuid := l.head.uuid; uuid != ""; {
		seen, err := l.rebuild.request.Destination.Host.Look(ctx, uuid)
		if err != nil {
			return // Land begins at the head
		}
		if seen.External != "" {
			l.head.lowest = uuid
			return
		}
		uuid = seen.Parent
	}
}

// verifyLanded looks at the replica once more: it has a head under its final name, on the copy
// of the cut, and the mirror was never without it.
func (r *rebuild) verifyLanded(ctx context.Context, planned observation, base domain.Base) error {
	seen, violations, err := r.verify(ctx, r.request, planned, base)
	if err != nil {
		return err
	}
	if err := r.checkViolations(violations); err != nil {
		return err
	}
	return r.endLanded(ctx, seen)
}

var errNotNamed = fmt.Errorf("%w: the live head did not get its name", ports.ErrCorrupt)

// endLanded requires that the destination has the live head under its final name, and that the
// mirror was never without it.
func (r *rebuild) endLanded(ctx context.Context, seen observation) error {
	live := r.request.live
	var listing domain.Listing
	var volume domain.Volume
	var unseen error
	err := executor.AtOnce(r.request.parallel(),
		func() (err error) { listing, err = list(ctx, r.request.Destination); return err },
		func() error { volume, unseen = live.look(ctx); return nil },
	)
	if err != nil {
		return err
	}
	whole, err := r.request.Destination.destination(listing, seen.source)
	if err != nil {
		return refused(err)
	}
	if whole.Head == nil || whole.Head.UUID != live.head.uuid {
		return errNotNamed
	}
	if unseen != nil {
		return fmt.Errorf("replica %s got its final name when the mirror had never been without it; nobody can tell about the moment after that: %w", r.run.Replica, unseen)
	}
	live.mu.Lock()
	live.volume = volume
	live.mu.Unlock()
	if err := volume.CheckUnbroken(live.cut.Joined); err != nil {
		return fmt.Errorf("after the rebuild: %w: %w", ports.ErrUnavailable, err)
	}
	seen.destination = whole
	r.setReport(seen)
	r.progress.member(domain.ModeRW)
	r.progress.emit(EventLanded, "the destination is a whole member of the volume")
	return nil
}

// landedAlone decides what a failure means after which no source can be listed any more. If the
// live head has its final name, all below it was compared with a source before that, and it is
// still there, then the destination is whole.
func (r *rebuild) landedAlone(ctx context.Context, failure error) error {
	live := r.request.live
	if live.verified == nil || !errors.Is(failure, ports.ErrUnavailable) || ctx.Err() != nil {
		return failure
	}
	silent := make(map[int]error)
	for _, at := range r.sources.used() {
		if _, silent[at] = list(ctx, r.sources.sites[at]); silent[at] == nil {
			return failure
		}
	}
	seen := *live.verified
	if err := r.endLanded(ctx, seen); errors.Is(err, errNotNamed) { // it failed before that
		return failure
	} else if err != nil {
		return errors.Join(failure, err)
	}
	below, err := domain.BelowLive(r.report.Destination, live.cut, seen.source)
	if err != nil || !sameTree(seen.destination, below) {
		return errors.Join(failure, err)
	}
	for at, why := range silent {
		r.lose(at, why)
	}
	r.report.Notices = append(r.report.Notices, "no source could be compared once more after the landing: "+inOneLine(failure))
	return nil
}
