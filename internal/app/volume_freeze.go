package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rootgraft/rebuild/internal/app/guard"
	"github.com/rootgraft/rebuild/internal/app/retry"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// lockedFreezer is a freezer whose freezes come one after the other, among all runs on the
// members: the thaw of one would end the freeze of another one.
type lockedFreezer struct {
	ports.Freezer

	lock    func(ctx context.Context) (release func(), err error)
	stopped func(time.Duration) // told how long the clients were stopped at most; nil: nobody asks
}

func (f lockedFreezer) Freeze(ctx context.Context, limit time.Duration, work func(ctx context.Context) error) error {
	return f.prepared(ctx, limit, func(context.Context) error { return nil }, work)
}

// prepared calls prepare before the freeze, when there is no other one.
func (f lockedFreezer) prepared(ctx context.Context, limit time.Duration, prepare, work func(ctx context.Context) error) error {
	release, err := f.lock(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", ports.ErrNotFrozen, err)
	}
	defer release()
	if err := prepare(ctx); err != nil {
		return err
	}
	_, err = f.freezeAgain(ctx, limit, work)
	return err
}

// mayDiffer warns after a freeze that ended too early. Heads cannot be compared: clients write
// them all the time.
const mayDiffer = "a freeze ended when not all members had the same snapshots: where clients trimmed until that was put right, the members' bytes may differ until these ranges are written again; a check of the volume shows it once all members have another snapshot"

// mayBeUneven warns when clients go on though nobody knows whether all members have the same snapshots.
const mayBeUneven = "not all members of the volume could be listed before clients went on: if an engine died in a freeze, some members may have a snapshot that others lack, and where clients trim, the members' bytes may differ"

// undoWait is the most that an undo waits for other freezes. Members differ meanwhile.
const undoWait = 10 * time.Second

// lateSnapshot is how long a snapshot may be taken after its call was cut off. An undo looks for it at
// once, and once more after that time.
const lateSnapshot = time.Second

// undo undoes in another freeze what is left of one that ended too early: clients that trim while
// some members have a snapshot would make their bytes differ. If there is none in time, it is
// undone without. ctx may have ended.
func (f lockedFreezer) undo(ctx context.Context, limit time.Duration, undo func(ctx context.Context) error) error {
	ctx = context.WithoutCancel(ctx)
	waiting, cancel := context.WithTimeout(ctx, undoWait)
	defer cancel()
	release, err := f.lock(waiting)
	if err != nil {
		return undo(ctx)
	}
	defer release()
	_, err = f.mend(ctx, limit, undo)
	return err
}

// mend makes members equal again, in a freeze if the volume can be frozen. Whoever calls it keeps
// other runs from freezing it. early says that clients may have gone on before it was done.
func (f lockedFreezer) mend(ctx context.Context, limit time.Duration, mend func(ctx context.Context) error) (early bool, err error) {
	done := false
	early, err = f.freezeAgain(ctx, limit, func(ctx context.Context) error {
		err := mend(ctx)
		done = err == nil
		return err
	})
	switch {
	case errors.Is(err, ports.ErrNotFrozen): // perhaps it is frozen already
		return true, mend(ctx)
	case !errors.Is(err, ports.ErrThawed):
		return early, err
	case done && !errors.Is(err, ports.ErrNotThawed):
		return true, nil
	}
	return true, err
}

// freezeAgain freezes, once more if that fails: some freezers refuse while a freeze lasts that a
// killed engine left. The one that failed has ended it: again says so.
func (f lockedFreezer) freezeAgain(ctx context.Context, limit time.Duration, work func(ctx context.Context) error) (again bool, err error) {
	err = f.timed(ctx, limit, work)
	hopeless := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ports.ErrGone)
	if errors.Is(err, ports.ErrNotFrozen) && !hopeless && ctx.Err() == nil {
		return true, f.timed(ctx, limit, work)
	}
	return false, err
}

// timed freezes. The clients are stopped at some moment after it has begun, and go on before it
// ends.
func (f lockedFreezer) timed(ctx context.Context, limit time.Duration, work func(ctx context.Context) error) error {
	began, frozen := time.Now(), false
	forWhat := func() string { return "the clients to be stopped, or to go on" }
	err := retry.While(ctx, forWhat, func() error {
		return guard.Freeze(ctx, f.Freezer, limit, func(ctx context.Context) error {
			frozen = true
			return work(ctx)
		})
	})
	if frozen && f.stopped != nil {
		f.stopped(time.Since(began))
	}
	return err
}

func thaw(ctx context.Context, freezer ports.Freezer) error {
	err := retry.While(ctx, func() string { return "the clients to go on" }, func() error { return freezer.Thaw(ctx) })
	if err != nil {
		return fmt.Errorf("thaw the volume: %w", err)
	}
	return nil
}

func (f lockedFreezer) Thaw(ctx context.Context) error {
	release, err := f.lock(ctx)
	if err != nil {
		return err
	}
	defer release()
	return f.Freezer.Thaw(ctx)
}

// check refuses a freezer that can never work.
func (f lockedFreezer) check(ctx context.Context) error {
	checker, ok := f.Freezer.(ports.FreezeChecker)
	if !ok {
		return nil
	}
	release, err := f.lock(ctx)
	if err != nil {
		return err
	}
	defer release()
	err = checker.CheckFreeze(ctx)
	if errors.Is(err, ports.ErrUnsupported) {
		return &refusal{err}
	}
	return err
}

func freezeKey(storeUUID, replica string) string { return "freeze " + storeUUID + "/" + replica }

// lockFreezes waits until no other run freezes the volume of these replicas. All runs lock
// them in one order. Hosts that cannot be identified are left out.
func (e *Engine) lockFreezes(ctx context.Context, sites []site) (release func(), err error) {
	type lock struct {
		at  site
		key string
	}
	var locks []lock
	for _, at := range sites {
		if store, err := identify(ctx, at); err == nil {
			locks = append(locks, lock{at, freezeKey(store.UUID, at.Replica)})
		}
	}
	slices.SortFunc(locks, func(a, b lock) int { return strings.Compare(a.key, b.key) })
	locks = slices.CompactFunc(locks, func(a, b lock) bool { return a.key == b.key }) // it is refused later
	var all releases
	forWhat := func() string { return "another freeze of the volume" }
	for _, l := range locks {
		err := all.take(e.locks.acquire(ctx, l.key, forWhat))
		if err == nil {
			err = retry.Busy.Call(ctx, func() error {
				return all.take(e.leaseAmongProcesses(ctx, l.at.Host, l.key, ports.Lease{Holder: "a freeze of the volume"}))
			})
		}
		if err != nil {
			return all.unless(err)
		}
	}
	return all.release, nil
}

// merge deletes a snapshot whose clusters move into the head above it. No error if it is gone.
func merge(ctx context.Context, host ports.Host, snapshot string) error {
	merger, ok := ports.As[ports.Merger](host)
	if !ok {
		return ports.Cannot("merge snapshots")
	}
	err := merger.Merge(ctx, snapshot)
	if errors.Is(err, ports.ErrNotFound) {
		return nil
	}
	return err
}

// mergeHalf merges a snapshot that other members lack, again after temporary failures.
func mergeHalf(ctx context.Context, at site, half domain.HalfCut) error {
	err := retry.Step.Call(ctx, func() error { return merge(ctx, at.Host, half.Snapshot.Lvol.UUID) })
	if err != nil {
		return fmt.Errorf("%w: snapshot %s is left, which not all members have: %w", ErrCleanUp, half.Snapshot.Lvol.Name, err)
	}
	return nil
}
