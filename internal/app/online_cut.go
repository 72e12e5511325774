package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// runLivePlans cuts the volume and carries out plans, again with another cut if the mirror
// lost the live head or a freeze ended too early.
func (r *rebuild) runLivePlans(ctx context.Context) error {
	live := r.request.live
	if err := r.retry(ctx, "tidy up after earlier runs", func() error { return live.tidy(ctx) }); err != nil {
		return err
	}
	for {
		err := r.repeatPlans(ctx)
		again := (errors.Is(err, errBroken) || errors.Is(err, ports.ErrThawed)) && ctx.Err() == nil && live.cuts < maxCuts
		if left := live.end(ctx, err); left != nil {
			return errors.Join(err, fmt.Errorf("%w: %w", ErrCleanUp, left))
		}
		if !again {
			return err
		}
		r.progress.emit(EventAgain, err.Error())
	}
}

// tidy does what has to be done before a plan if an engine died: it takes cuts away that only
// some members have, and thaws the volume. In this order, for while members differ in that,
// clients that trim would make their bytes differ.
func (l *liveRun) tidy(ctx context.Context) error {
	undone := l.removeHalfCuts(ctx)
	if err := l.freezer.Thaw(ctx); err != nil {
		return errors.Join(undone, fmt.Errorf("thaw the volume: %w", err))
	}
	return errors.Join(undone, l.hideLeftover(ctx))
}

// look lists the members, again after temporary failures.
func (l *liveRun) look(ctx context.Context) (volume domain.Volume, err error) {
	err = l.retry(ctx, "list the members of the volume", func() (err error) {
		volume, err = l.mirror.Volume(ctx)
		return err
	})
	if err != nil {
		return volume, fmt.Errorf("list the members of the volume: %w", err)
	}
	return volume, nil
}

// hideLeftover closes the way to a live head that never joined. One that did leaves first, as
// the plan says.
func (l *liveRun) hideLeftover(ctx context.Context) error {
	volume, err := l.look(ctx)
	if err != nil {
		return err
	}
	destination := l.rebuild.request.Destination
	listing, err := list(ctx, destination)
	if err != nil {
		return err
	}
	for _, of := range listing.Lvols {
		replica, inFlight := domain.ReplicaInFlight(of.Name)
		if _, is := volume.Member(of.UUID); inFlight && !is && replica == destination.Replica && of.UsedBy.Kind == domain.UserExport {
			return destination.Host.HideHead(ctx, destination.Replica)
		}
	}
	return nil
}

func (l *liveRun) removeHalfCuts(ctx context.Context) error {
	var replicas []domain.Replica
	var positions []int
	for at, site := range l.rebuild.sources.sites {
		listing, err := list(ctx, site)
		if err != nil {
			continue // the plan says what is wrong with it
		}
		if replica, err := site.replica(listing); err == nil {
			replicas, positions = append(replicas, replica), append(positions, at)
		}
	}
	var failed []error
	for _, half := range domain.HalfCuts(replicas) {
		if err := l.merge(ctx, positions[half.Member], half.Snapshot.Lvol.UUID); err != nil {
			failed = append(failed, fmt.Errorf("take snapshot %s away again: %w", half.Snapshot.Lvol.Name, err))
		}
	}
	return errors.Join(failed...)
}

// merge deletes a cut, so that the member's head has its clusters again.
func (l *liveRun) merge(ctx context.Context, source int, snapshot string) error {
	return merge(ctx, l.rebuild.sources.host(source), snapshot)
}

// carryOutLive carries out a plan under a live volume: everything up to the cut, after which a
// new plan is made, or the rest.
func (r *rebuild) carryOutLive(ctx context.Context, seen observation, plan domain.Plan) (err error) {
	live := r.request.live
	if live.landed {
		return r.verifyLanded(ctx, seen, plan.Base)
	}
	if len(plan.Operations) == 0 { // it is a whole member: clients write its head, so only the snapshots are compared
		_, violations, err := r.verify(ctx, r.request, seen, plan.Base)
		if err != nil {
			return err
		}
		return r.checkViolations(violations)
	}
	r.beginChanges(ctx)
	r.logWarnings(plan)
	secondary, err := r.secondary(ctx, seen, plan)
	if err != nil {
		return err
	}
	x := r.executor(seen, plan, secondary, nil)
	defer func() {
		r.failed = ctx.Err() == nil && r.isFinal(err)
		if cleanup := x.CleanUp(ctx, err); cleanup != nil {
			r.cleanupErr = cleanup
			err = errors.Join(err, cleanup)
		}
	}()
	if !live.cut.Made() {
		return live.cutVolume(ctx, x)
	}
	if err := x.Do(ctx, domain.StageDetach, domain.StageSetAside, domain.StagePrune, domain.StageBuild); err != nil {
		return err
	}
	if r.sources.lostReason(seen.primary) != nil {
		return fmt.Errorf("%w: the plan's source is no longer used", executor.ErrPlanAgain)
	}
	if _, err = r.verifySnapshots(ctx, x, seen, plan); err != nil {
		return err
	}
	if err := live.land(ctx, x); err != nil {
		return err
	}
	return r.verifyLanded(ctx, seen, plan.Base)
}

// cutVolume does everything up to the cut.
func (l *liveRun) cutVolume(ctx context.Context, x *executor.Executor) error {
	if err := x.Do(ctx, domain.StageLeave); err != nil {
		return err
	}
	// What crashed runs left open is closed after what read through it is gone.
	if err := x.Open(ctx); err != nil {
		return err
	}
	if err := x.Do(ctx, domain.StageRemoveHead, domain.StageDetach, domain.StageSetAside, domain.StagePrune, domain.StagePrepare); err != nil {
		return err
	}
	if err := l.openWays(ctx); err != nil {
		return err
	}
	l.cuts++
	began := time.Now()
	err := l.freezer.Freeze(ctx, l.limit, func(ctx context.Context) error {
		began = time.Now()
		err := x.Do(ctx, domain.StageCut)
		l.noteFreeze(time.Since(began))
		if err != nil && ctx.Err() == nil {
			return errors.Join(err, l.undoCut(ctx))
		}
		return err
	})
	if err != nil {
		if errors.Is(err, ports.ErrThawed) { // clients may have written between two snapshots
			err = errors.Join(err, l.undoInFreeze(ctx))
		}
		return fmt.Errorf("cut the volume: %w", err)
	}
	l.rebuild.progress.emit(EventCut, fmt.Sprintf("clients were stopped for %s", l.freezes[len(l.freezes)-1].Round(100*time.Microsecond)))
	return fmt.Errorf("%w: the volume was cut by snapshot %s of %d members", executor.ErrPlanAgain, l.cut.Snapshot, len(l.members))
}

func (l *liveRun) noteFreeze(took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.freezes = append(l.freezes, took)
}

// openWays opens the ways from all members to the destination, still without a snapshot. The
// members' ways have one ID, so that the live head goes on reading if one of them is lost.
func (l *liveRun) openWays(ctx context.Context) error {
	destination := l.rebuild.request.Destination.Host
	peer, err := destination.Peer(ctx)
	if err != nil {
		return err
	}
	id := executor.NewID()
	l.ways = make([]ports.Address, len(l.members))
	var calls []func() error
	for path, at := range l.members {
		calls = append(calls, func() (err error) {
			l.ways[path], err = l.rebuild.sources.host(at).Offer(ctx, l.rebuild.run.Run, ports.Way{ID: id, Path: path}, peer)
			return executor.OfSource(at, err)
		})
	}
	err = l.retry(ctx, "open ways to the members", func() error { return executor.AtOnce(l.rebuild.request.parallel(), calls...) })
	if err != nil {
		return err
	}
	return l.retry(ctx, "connect to the members", func() error { return destination.Connect(ctx, l.rebuild.run.Run, l.ways...) })
}

func (l *liveRun) retry(ctx context.Context, what string, do func() error) error {
	return l.rebuild.retry(ctx, what, do)
}

// undoCut takes the live head out of the mirror and the snapshots of the cut away again, still
// in the freeze if that is not over.
func (l *liveRun) undoCut(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), executor.CleanUpTime)
	defer cancel()
	var failed []error
	if l.head.uuid != "" {
		failed = append(failed, l.mirror.Leave(ctx, l.head.uuid))
	}
	for _, at := range l.members {
		host := l.rebuild.sources.host(at)
		name := domain.SnapshotLvolName(l.rebuild.sources.sites[at].Replica, l.cut.Snapshot)
		listing, err := host.List(ctx)
		if err != nil {
			failed = append(failed, executor.OfSource(at, err))
			continue
		}
		if i := slices.IndexFunc(listing.Lvols, func(of domain.Lvol) bool { return of.Name == name }); i >= 0 {
			failed = append(failed, l.merge(ctx, at, listing.Lvols[i].UUID))
		}
	}
	return errors.Join(failed...)
}

// undoInFreeze undoes a cut after its freeze has ended too early: clients that trim while some
// members have the snapshot would make their bytes differ.
func (l *liveRun) undoInFreeze(ctx context.Context) error {
	err := l.freezer.Freeze(context.WithoutCancel(ctx), l.limit, func(ctx context.Context) error {
		began := time.Now()
		defer func() { l.noteFreeze(time.Since(began)) }()
		return l.undoCut(ctx)
	})
	if errors.Is(err, ports.ErrNotFrozen) {
		return l.undoCut(ctx)
	}
	return err
}

// land makes the destination whole. Clients are stopped for it once more: SPDK exchanges the
// parent of a live head without waiting for reads of the old one, and crashes when they end.
func (l *liveRun) land(ctx context.Context, x *executor.Executor) error {
	volume, err := l.look(ctx)
	if err != nil {
		return err
	}
	if err := volume.CheckUnbroken(l.cut.Joined); err != nil {
		return fmt.Errorf("%w: %w", errBroken, err)
	}
	err = l.freezer.Freeze(ctx, l.limit, func(ctx context.Context) error {
		began := time.Now()
		defer func() { l.noteFreeze(time.Since(began)) }()
		return x.Do(ctx, domain.StageLand)
	})
	if err != nil {
		return err
	}
	return x.Do(ctx, domain.StageName)
}

// verifyLanded looks at the replica once more: it has a head under its final name, on the copy
// of the cut, and the mirror was never without it.
func (r *rebuild) verifyLanded(ctx context.Context, planned observation, base domain.Base) error {
	live := r.request.live
	seen, violations, err := r.verify(ctx, r.request, planned, base)
	if err != nil {
		return err
	}
	if err := r.checkViolations(violations); err != nil {
		return err
	}
	listing, err := list(ctx, r.request.Destination)
	if err != nil {
		return err
	}
	whole, err := r.request.Destination.destination(listing, seen.source)
	if err != nil {
		return refused(err)
	}
	volume, err := live.look(ctx)
	if err != nil {
		return err
	}
	live.mu.Lock()
	live.volume = volume
	live.mu.Unlock()
	switch {
	case whole.Head == nil || whole.Head.UUID != live.head.uuid:
		return fmt.Errorf("%w: the live head did not get its name", ports.ErrCorrupt)
	case volume.CheckUnbroken(live.cut.Joined) != nil:
		return fmt.Errorf("after the rebuild: %w: %w", ports.ErrUnavailable, volume.CheckUnbroken(live.cut.Joined))
	}
	seen.destination = whole
	r.setReport(seen)
	r.progress.emit(EventLanded, "the destination is a whole member of the volume")
	return nil
}
