package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/app/retry"
	"github.com/rootgraft/rebuild/internal/domain"
)

// volumeTidy ends what a killed engine left of a volume, before or instead of another command.
type volumeTidy struct {
	engine   *Engine
	request  VolumeRequest
	snapshot string // a user's that is going to be taken; "": none

	changed  bool
	warnings []string
}

// run merges cuts, and the user's snapshot, that only some members have, then it thaws the volume: while
// members differ in that, clients that trim would make their bytes differ. Whoever calls it keeps other
// runs from freezing the volume.
func (t *volumeTidy) run(ctx context.Context) error {
	report, sites, err := t.engine.volume(ctx, t.request)
	if err != nil || len(report.Strangers) > 0 {
		t.warn(mayBeUneven)
	}
	half := append(domain.HalfSnapshots(report.Replicas, t.snapshot), domain.HalfCutsOf(report.Replicas)...)
	if len(half) > 0 {
		t.changed = true
		freezer, limit := lockedFreezer{Freezer: t.request.Freezer}, cmp.Or(t.request.FreezeLimit, DefaultFreezeLimit)
		early, failed := freezer.mend(ctx, limit, func(ctx context.Context) error { return mergeHalves(ctx, half, sites) })
		if err = failed; early || err != nil {
			t.warn(mayDiffer)
		}
		for _, one := range half {
			if one.Snapshot.Name != t.snapshot {
				continue
			}
			t.warn(fmt.Sprintf("snapshot %s, which not all members had, was taken away first", one.Snapshot.Lvol.Name))
		}
	}
	return errors.Join(err, thaw(ctx, t.request.Freezer))
}

// locked waits for the freezes of other runs first.
func (t *volumeTidy) locked(ctx context.Context, freezer lockedFreezer) error {
	release, err := freezer.lock(ctx)
	if err != nil {
		return err
	}
	defer release()
	return t.run(ctx)
}

// late is for snapshots whose calls were cut off. ctx may have ended.
func (t *volumeTidy) late(ctx context.Context, freezer lockedFreezer) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), executor.CleanUpTime)
	defer cancel()
	_ = retry.Wait(ctx, lateSnapshot)
	return t.locked(ctx, freezer)
}

func (t *volumeTidy) warn(warning string) {
	if !slices.Contains(t.warnings, warning) {
		t.warnings = append(t.warnings, warning)
	}
}

// tell adds the warnings to an error, which may be a refusal only if nothing was changed.
func (t *volumeTidy) tell(err error) error {
	if err == nil {
		return nil
	}
	for _, warning := range t.warnings {
		err = errors.Join(err, errors.New(warning))
	}
	if t.changed {
		err = &refusedLate{err}
	}
	return err
}

// mergeHalves goes on after a freeze that ends too early: members differ until it is done.
func mergeHalves(ctx context.Context, half []domain.HalfCut, sites []site) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), executor.CleanUpTime)
	defer cancel()
	var failed []error
	for _, one := range half {
		failed = append(failed, mergeHalf(ctx, sites[one.Member], one))
	}
	return errors.Join(failed...)
}
