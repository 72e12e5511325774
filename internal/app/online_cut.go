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

// runLivePlans cuts the volume and carries out plans, again with another cut if the mirror
// lost the live head or a freeze ended too early.
func (r *rebuild) runLivePlans(ctx context.Context) (err error) {
	live := r.request.live
	defer func() {
		if err != nil && live.left != nil {
			err = errors.Join(err, live.left)
		}
	}()
	for {
		err := r.retry(ctx, "tidy up the destination", func() error { return live.tidyDestination(ctx) })
		if err == nil {
			err = r.repeatPlans(ctx)
		}
		if err != nil {
			err = r.landedAlone(ctx, err)
		}
		if errors.Is(err, errBroken) {
			r.progress.member(domain.ModeERR)
		}
		again := ctx.Err() == nil && live.cuts < maxCuts && mayCutAgain(err)
		if left := live.end(ctx, err); left != nil {
			return errors.Join(err, fmt.Errorf("%w: %w", ErrCleanUp, left))
		}
		if !again {
			return err
		}
		r.progress.emit(EventAgain, err.Error())
		if err := live.awaitLoss(ctx); err != nil && !errors.Is(err, executor.ErrPlanAgain) {
			return err
		}
		if err := live.tidy(ctx); err != nil {
			return err
		}
	}
}

// mayCutAgain reports whether another cut may go better after a failure.
func mayCutAgain(err error) bool {
	switch of, joins := (*executor.SourceError)(nil), (notJoined{}); {
	case errors.Is(err, errBroken), errors.Is(err, ports.ErrThawed), errors.As(err, &doubtful{}):
		return true
	case errors.As(err, &joins):
		return ports.Retryable(joins)
	default:
		return errors.Is(err, errNotCut) && errors.As(err, &of) && !isAnswer(err)
	}
}

// isAnswer reports whether a member's host has refused the cut. The mirror may keep that member for long.
func isAnswer(err error) bool {
	return errors.Is(err, ports.ErrNoSpace) || errors.Is(err, ports.ErrInvalid) || errors.Is(err, ports.ErrExists) || errors.Is(err, ports.ErrUnsupported)
}

// errNotCut says that the volume could not be cut, for another reason than its freeze. The live
// head is there already, so it has to be deleted before another plan is made.
var errNotCut = errors.New("the volume was not cut")

// awaitLoss waits until the mirror has dropped the members that this run has lost, as far as it
// does within a minute. Until then no plan is possible: the cut is taken of every member. Once
// it is taken there is nothing to wait for. It also waits until the mirror has decided about the
// members that it may be about to drop: executor.ErrPlanAgain if it has dropped one.
func (l *liveRun) awaitLoss(ctx context.Context) error {
	if l == nil || l.cut.Made() {
		return nil
	}
	forWhat := func() string { return "the mirror to drop, or to keep, a member that fails" }
	return retry.While(ctx, forWhat, func() error { return l.waitForLoss(ctx) })
}

func (l *liveRun) waitForLoss(ctx context.Context) error {
	waiting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var doubted map[int]domain.Member
	for {
		dropped := l.loseDropped(doubted)
		doubted = l.doubted()
		if len(doubted) == 0 && !l.listsLost(l.volume) {
			return dropped
		}
		if retry.Wait(waiting, time.Second) != nil {
			for _, m := range doubted {
				return refusef("member %s of the volume may lack writes, for a minute now: %s", m.Name, m.Reason)
			}
			return nil // the plan says what is wrong
		}
		volume, err := l.look(ctx)
		if err != nil {
			return err
		}
		l.mu.Lock()
		l.volume = volume
		l.mu.Unlock()
	}
}

// doubted are the sources that the mirror may be about to drop.
func (l *liveRun) doubted() map[int]domain.Member {
	doubted := make(map[int]domain.Member)
	for _, at := range l.rebuild.sources.used() {
		if m, is := l.volume.Member(l.rebuild.sources.firstHead(at)); is && m.IsDoubted() {
			doubted[at] = m
		}
	}
	return doubted
}

// loseDropped stops using the sources that the mirror has dropped since.
func (l *liveRun) loseDropped(doubted map[int]domain.Member) (dropped error) {
	for at, m := range doubted {
		if now, is := l.volume.Member(m.Head); !is || now.Mode == domain.ModeERR {
			dropped = fmt.Errorf("%w: the mirror has dropped member %s: %s", executor.ErrPlanAgain, m.Name, now.Reason)
			l.rebuild.lose(at, dropped)
		}
	}
	return dropped
}

func (l *liveRun) listsLost(volume domain.Volume) bool {
	for at := range l.rebuild.sources.sites {
		m, is := volume.Member(l.rebuild.sources.firstHead(at))
		if is && m.Mode != domain.ModeERR && l.rebuild.sources.lostReason(at) != nil {
			return true
		}
	}
	return false
}

// look lists the members, again after temporary failures. Its error is final.
func (l *liveRun) look(ctx context.Context) (volume domain.Volume, err error) {
	if l == nil {
		return volume, nil
	}
	err = l.retry(ctx, "list the members of the volume", func() (err error) {
		volume, err = l.mirror.Volume(ctx)
		return err
	})
	if err != nil {
		return volume, retry.Final(fmt.Errorf("list the members of the volume: %w", err))
	}
	return volume, nil
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
	if len(plan.Operations) == 0 {
		return r.verifyWhole(ctx, seen, plan.Base)
	}
	r.beginChanges(ctx)
	r.logWarnings(plan)
	secondary, err := r.secondary(ctx, seen, plan)
	if err != nil {
		return err
	}
	x := r.executor(seen, plan, secondary, nil)
	cutting := !live.cut.Made()
	defer func() {
		r.failed = ctx.Err() == nil && r.isFinal(err)
		failure := err
		if cutting && live.cut.Made() && errors.Is(err, executor.ErrPlanAgain) {
			failure = nil // the next plan goes on with the live head, the one lvol in flight
		}
		if cleanup := x.CleanUp(ctx, failure); cleanup != nil {
			r.cleanupErr = cleanup
			err = errors.Join(err, cleanup)
		}
	}()
	if cutting {
		return live.cutVolume(ctx, x)
	}
	x.Prepare(ctx)
	if err := x.Do(ctx, domain.StageDetach, domain.StageSetAside, domain.StagePrune, domain.StageBuild); err != nil {
		return err
	}
	if r.sources.lostReason(seen.primary) != nil {
		return fmt.Errorf("%w: the plan's source is no longer used", executor.ErrPlanAgain)
	}
	verified, err := r.verifySnapshots(ctx, x, seen, plan)
	if err != nil {
		return err
	}
	live.verified = &verified
	if err := live.land(ctx, x); err != nil {
		return err
	}
	return r.verifyLanded(ctx, seen, plan.Base)
}

// verifyWhole compares the snapshots of a destination that is a whole member. Clients write its
// head.
func (r *rebuild) verifyWhole(ctx context.Context, seen observation, base domain.Base) (err error) {
	r.progress.member(domain.ModeRW)
	if err := r.request.live.closeLeftovers(ctx); err != nil {
		return err
	}
	before := seen
	seen, violations, err := r.verify(ctx, r.request, before, base)
	if err == nil && len(violations) > 0 { // users may have taken a snapshot between the listings
		seen, violations, err = r.verify(ctx, r.request, before, base)
	}
	if err != nil {
		return err
	}
	if r.request.Views {
		defer func() { err = errors.Join(err, r.request.live.closeLeftovers(context.WithoutCancel(ctx))) }()
	}
	seen.destination.Head = nil
	others, err := r.compareViews(ctx, seen, base)
	if err != nil {
		return err
	}
	return r.checkViolations(append(violations, others...))
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
	if err := x.Do(ctx, domain.StageRemoveHead, domain.StageDetach, domain.StageSetAside, domain.StagePrune); err != nil {
		return err
	}
	l.cuts++
	err := executor.AtOnce(l.rebuild.request.parallel(),
		func() error { return x.Do(ctx, domain.StagePrepare) },
		func() error { _ = l.offerHead(ctx); return nil }, // if it fails, the stage tries it again
		func() error {
			if err := l.openWays(ctx); err != nil {
				return fmt.Errorf("%w: %w", errNotCut, err)
			}
			return nil
		},
	)
	if err != nil {
		return err
	}
	var undone error
	err = l.freeze(ctx, func(ctx context.Context) error {
		err := x.Do(ctx, domain.StageCut)
		if err != nil && ctx.Err() == nil {
			undone = l.undoCut(ctx, retry.Tidy())
			l.left = undone
		}
		return err
	})
	switch thawed := errors.Is(err, ports.ErrThawed); {
	case thawed && errors.Is(err, ports.ErrNotThawed): // it is frozen still, or dead
		l.warn(mayDiffer)
		undone = l.undoCut(ctx, retry.Once)
		l.left = undone
	case thawed: // clients may have written between two snapshots
		l.warn(mayDiffer)
		undone = l.freezer.undo(ctx, l.limit, func(ctx context.Context) error { return l.undoCut(ctx, retry.Tidy()) })
		l.left = undone
		l.left = l.removeLateCut(ctx)
	}
	_ = l.rebuild.dropSource(ctx, undone) // a member that died in the freeze; the failure of the cut is returned
	switch {
	case errors.Is(err, errNotThawedInTime):
		return fmt.Errorf("snapshot %s of the cut stays on all members until they are purged: %w", l.cut.Snapshot, err)
	case err != nil:
		return fmt.Errorf("%w: %w", errNotCut, err)
	}
	l.rebuild.progress.member(domain.ModeWO)
	l.kept = append(l.kept, l.cut.Snapshot)
	l.rebuild.progress.emit(EventCut, fmt.Sprintf("in a freeze of %.1f ms", l.freezes[len(l.freezes)-1].Seconds()*1000))
	return fmt.Errorf("%w: the volume was cut: all members have snapshot %s", executor.ErrPlanAgain, l.cut.Snapshot)
}

// openWays opens the ways from all members to the destination, still without a snapshot. The
// members' ways have one ID, so that the live head goes on reading if one of them is lost. It is
// that of the proposed cut, so that a later run can show the cut as the same bdev.
func (l *liveRun) openWays(ctx context.Context) error {
	destination := l.rebuild.request.Destination.Host
	peer, err := destination.Peer(ctx)
	if err != nil {
		return err
	}
	id, _ := domain.CutID(l.cut.Snapshot)
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
// in the freeze if that is not over. Temporary failures are repeated: members may differ meanwhile.
func (l *liveRun) undoCut(ctx context.Context, budget retry.Budget) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), executor.CleanUpTime)
	defer cancel()
	if l.head.joins { // it reads through the cuts, and all members have one
		if err := budget.Call(ctx, func() error { return l.mirror.Leave(ctx, l.head.uuid) }); err != nil {
			return fmt.Errorf("snapshot %s of the cut stays on all members until they are purged: take the live head out of the mirror: %w", l.cut.Snapshot, err)
		}
	}
	failed := make([]error, len(l.members))
	var calls []func() error
	for i, at := range l.members {
		calls = append(calls, func() error {
			failed[i] = executor.OfSource(at, budget.Call(ctx, func() error { return l.undoCutOf(ctx, at) }))
			return nil
		})
	}
	_ = executor.AtOnce(l.rebuild.request.parallel(), calls...) // failed has the errors
	return errors.Join(failed...)
}

func (l *liveRun) undoCutOf(ctx context.Context, at int) error {
	name := domain.SnapshotLvolName(l.rebuild.sources.sites[at].Replica, l.cut.Snapshot)
	listing, err := l.rebuild.sources.host(at).List(ctx)
	if i := slices.IndexFunc(listing.Lvols, func(of domain.Lvol) bool { return of.Name == name }); err == nil && i >= 0 {
		err = l.merge(ctx, at, listing.Lvols[i].UUID)
	}
	if err != nil {
		return fmt.Errorf("%w: snapshot %s may be left on this member alone, whose bytes may differ then: %w", ErrCleanUp, name, err)
	}
	return nil
}

// closeLeftovers closes what a run left that died after it had named the head: nothing reads
// through that any more.
func (l *liveRun) closeLeftovers(ctx context.Context) error {
	run := l.rebuild.run.Run
	for _, at := range l.rebuild.sources.used() {
		if err := l.rebuild.sources.host(at).Release(ctx, run); err != nil {
			return executor.OfSource(at, err)
		}
	}
	if err := l.rebuild.request.Destination.Host.Release(ctx, run); err != nil {
		return err
	}
	return l.mirror.Release(ctx, run)
}
