package executor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rootgraft/rebuild/internal/app/retry"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

func (x *Executor) create(ctx context.Context, s *step) error {
	if err := x.model.play(s.Operation); err != nil {
		return err
	}
	name := x.refs.name(s.Target)
	if s.Target.IsImage() {
		if err := x.leases.take(ctx, x.Image.Lease, name); err != nil {
			return err
		}
	}
	uuid, err := x.Host.Create(ctx, name, s.Size)
	switch {
	case err == nil:
		x.created(s.Target, uuid)
	case errors.Is(err, ports.ErrExists):
		return x.refs.nameTaken(s.Target)
	default:
		x.refs.unknown.Set(name, true)
	}
	return err
}

// created registers an in-flight lvol. An entry point is a copy of nothing: it stays empty.
func (x *Executor) created(ref domain.Ref, uuid string) {
	x.setMade(ref, uuid)
	if ref.IsEntryPoint() {
		x.refs.copies.Set(ref, copyOfSource{uuid: uuid})
	}
}

func (x *Executor) setMade(ref domain.Ref, uuid string) {
	x.Space.Created(ref, uuid)
	x.refs.uuids.Set(ref, uuid)
}

func (x *Executor) graft(ctx context.Context, s *step) error {
	if err := x.model.play(s.Operation); err != nil {
		return err
	}
	if head, ok := s.Target.LowestBelow(); ok {
		return x.Live.Land(ctx, head, x.refs.uuid(s.Parent))
	}
	if s.Name != "" { // a kept snapshot, which is not sealed, or an entry point
		return x.targetGone(s, x.setParent(ctx, x.refs.uuid(s.Target), x.refs.uuid(s.Parent)))
	}
	return x.graftAndCount(ctx, s)
}

// setParent grafts under a lock on the parent. Nothing else is waited for under that lock:
// the parent may be a shared image, and a source may hang.
func (x *Executor) setParent(ctx context.Context, uuid, parent string) error {
	release, err := x.lockParent(ctx, parent)
	if err != nil {
		return err
	}
	defer release()
	return x.parentGone(ctx, parent, x.Host.Graft(ctx, uuid, parent))
}

// parentGone asks for another plan if an lvol was not found since its parent is gone. Another
// engine may remove an entry point of linked clones that has no clone yet: Longhorn's does.
func (x *Executor) parentGone(ctx context.Context, parent string, failure error) error {
	if !errors.Is(failure, ports.ErrNotFound) || parent == "" {
		return failure
	}
	if _, err := x.Host.Look(ctx, parent); errors.Is(err, ports.ErrNotFound) {
		return fmt.Errorf("%w: %w", ErrPlanAgain, failure)
	}
	return failure
}

// targetGone asks for another plan if an entry point was not found. Another engine may remove
// one that has no linked clone any more.
func (x *Executor) targetGone(s *step, failure error) error {
	if s.Stage == domain.StageReplace && errors.Is(failure, ports.ErrNotFound) {
		return fmt.Errorf("%w: %w", ErrPlanAgain, failure)
	}
	return failure
}

func (x *Executor) lockParent(ctx context.Context, parent string) (release func(), err error) {
	if parent == "" {
		return func() {}, nil
	}
	return x.Lock(ctx, x.Listing, parent)
}

// graftAndCount grafts, and counts both sides for the seal in the same round trip: the
// speed of a chain of snapshots depends on its grafts and seals, which come one after the
// other. The answer to the graft confirms the parent.
func (x *Executor) graftAndCount(ctx context.Context, s *step) error {
	made := x.refs.copies.Get(s.Target)
	var now counts
	calls, err := x.countCalls(ctx, &now, made)
	if err != nil {
		return err
	}
	err = x.atOnce(append([]func() error{
		func() error { return x.setParent(ctx, made.uuid, x.refs.uuid(s.Parent)) },
		func() (err error) { now.copied, err = countOwn(ctx, x.Host, made.uuid); return err },
	}, calls...)...)
	if err == nil {
		x.refs.counted.Set(s.Target, now)
	}
	return err
}

// countCalls are the calls that count the snapshot on the sources.
func (x *Executor) countCalls(ctx context.Context, now *counts, made copyOfSource) (calls []func() error, err error) {
	if now.sources, err = x.sourcesToCompare(made); err != nil {
		return nil, err
	}
	now.onSources = make([]uint64, len(now.sources))
	for i, c := range now.sources {
		calls = append(calls, func() (err error) { now.onSources[i], err = x.count(ctx, c); return err })
	}
	return calls, nil
}

// seal compares both sides once more first: a snapshot under its final name must be right.
func (x *Executor) seal(ctx context.Context, s *step) error {
	merger, merges := ports.As[ports.Merger](x.Host)
	if s.Prove && merges {
		if err := x.proveInFlight(ctx, merger, s); err != nil {
			return err
		}
	}
	if err := x.compareBeforeSeal(ctx, s); err != nil {
		return err
	}
	uuid := x.refs.copies.Get(s.Target).uuid
	if s.Target.IsImage() {
		if err := x.readBack(ctx, s, uuid); err != nil {
			return err
		}
	}
	if err := x.model.play(s.Operation); err != nil {
		return err
	}
	var sealed string
	err := retry.Busy.Do(ctx, nil, func(previous error) (err error) {
		if previous != nil { // while the lvol was busy, what was compared may have changed
			if err := x.compareBeforeSeal(ctx, s); err != nil {
				return err
			}
		}
		sealed, err = x.Host.Seal(ctx, uuid, s.Name, x.sealRecord(s, merges))
		return err
	})
	switch {
	case errors.Is(err, ports.ErrExists) && s.Target.IsImage():
		return fmt.Errorf("%w: another run has created the image meanwhile", ErrPlanAgain)
	case errors.Is(err, ports.ErrExists) && s.Target.IsEntryPoint():
		return fmt.Errorf("%w: another run has created the entry point meanwhile", ErrPlanAgain)
	case err != nil:
		return err
	}
	return x.finishSeal(ctx, s, sealed, s.Source.Clusters)
}

func (x *Executor) sealRecord(s *step, merges bool) ports.SealRecord {
	record := ports.SealRecord{Attributes: s.Attributes}
	switch {
	case s.Prove && !merges:
		record.Image = &domain.ImageRecord{} // not proven yet: the next run that finds it proves it
	case s.Target.IsImage():
		record.Image = s.Operation.Image
	case x.Parallel > 1:
		record.Sealed = func(snapshot string) {
			x.setMade(s.Target, snapshot)
			s.unlockNext()
		}
	}
	return record
}

// finishSeal registers the result of a seal.
func (x *Executor) finishSeal(ctx context.Context, s *step, sealed string, clusters uint64) error {
	x.setMade(s.Target, sealed)
	x.Space.Created(s.Target, sealed)
	if s.Target.IsImage() {
		defer x.ImageReady()
		return x.proveSealed(ctx, s, sealed)
	}
	if s.Target.IsEntryPoint() {
		return nil
	}
	// It is the copy of every equal snapshot. The primary's comes last.
	for _, c := range append(slices.Clone(x.Secondary[s.Source.UUID]), Candidate{x.Primary, s.Source}) {
		sealing := domain.Sealing{Source: c.Origin.UUID, SourceClusters: c.Origin.Clusters, Copy: sealed, CopyClusters: clusters}
		x.Run.remember(sealing)
		x.Sink.Sealed(ctx, s.Name, sealing)
	}
	return nil
}

// compareBeforeSeal detects a source's snapshot whose parent was deleted, which merges the
// two, and writes into the in-flight lvol. Without a graft it also detects a parent that
// something else has set.
func (x *Executor) compareBeforeSeal(ctx context.Context, s *step) error {
	made := x.refs.copies.Get(s.Target)
	now, counted := x.refs.counted.Take(s.Target)
	if !counted {
		var l domain.Lvol
		calls, err := x.countCalls(ctx, &now, made)
		if err != nil {
			return err
		}
		err = x.atOnce(append([]func() error{func() (err error) { l, err = x.Host.Look(ctx, made.uuid); return err }}, calls...)...)
		if err != nil {
			return err
		}
		if l.Parent != x.refs.uuid(s.Parent) {
			return fmt.Errorf("%w: the copy has another parent now", ErrPlanAgain)
		}
		now.copied = l.Own.Count
	}
	for i, c := range now.sources {
		changed := x.changed(c, now.onSources[i], "it was copied")
		if of := (*SourceError)(nil); errors.As(changed, &of) {
			x.Sources[of.Source].Lose(of.Err) // its proof no longer holds
			return fmt.Errorf("%w: %w", ErrPlanAgain, of.Err)
		}
		if changed != nil {
			return changed
		}
	}
	if now.copied != made.planned.Clusters {
		return fmt.Errorf("%w: %w: the copy has %d clusters of its own, its source %d", ErrPlanAgain, ports.ErrCorrupt, now.copied, made.planned.Clusters)
	}
	return nil
}

func (x *Executor) clone(ctx context.Context, s *step) error {
	if err := x.model.play(s.Operation); err != nil {
		return err
	}
	parent := x.refs.uuid(s.Parent)
	release, err := x.lockParent(ctx, parent)
	if err != nil {
		return err
	}
	defer release()
	uuid, err := x.Host.Clone(ctx, parent, s.Name, s.Size, s.Record)
	if err == nil {
		x.setMade(s.Target, uuid)
	}
	return x.parentGone(ctx, parent, err)
}

// delete deletes an lvol that still has the planned name and clusters. The port ensures
// that it has no clone.
//
// It waits for other rebuilds of this process that copy from the lvol: a store hides an
// lvol that is deleted during a copy, and leaks its clusters until a restart.
func (x *Executor) delete(ctx context.Context, s *step) error {
	uuid := x.refs.uuid(s.Target)
	release, err := x.Lock(ctx, x.Listing, uuid)
	if err != nil {
		return err
	}
	defer release()
	planned := domain.Lvol{UUID: uuid, Name: cmp.Or(x.refs.aside.Get(s.Target), s.Name)}
	if at := slices.IndexFunc(x.Listing.Lvols, func(l domain.Lvol) bool { return l.UUID == uuid }); at >= 0 {
		planned.Own, planned.UsedBy = x.Listing.Lvols[at].Own, x.Listing.Lvols[at].UsedBy
	}
	if err := CheckBeforeDelete(ctx, x.Host, planned); err != nil {
		return err
	}
	if err := x.model.play(s.Operation); err != nil {
		return err
	}
	return x.Host.Delete(ctx, uuid)
}

// CheckBeforeDelete checks that an lvol is still as it was listed. The clusters of an
// in-flight lvol may differ: they are nobody's data, and an old copy may still write
// there.
func CheckBeforeDelete(ctx context.Context, host ports.Host, listed domain.Lvol) error {
	now, err := host.Look(ctx, listed.UUID)
	_, inFlight := domain.ReplicaInFlight(listed.Name)
	switch {
	case errors.Is(err, ports.ErrNotFound):
		return fmt.Errorf("%w: the lvol is gone already", ErrPlanAgain)
	case err != nil:
		return err
	case now.Name != listed.Name:
		return fmt.Errorf("%w: the lvol is named %s now", ErrPlanAgain, now.Name)
	case now.UsedBy.Any() && now.UsedBy != listed.UsedBy:
		return fmt.Errorf("%w: lvol %s is %s now", ErrPlanAgain, now.Name, now.UsedBy)
	case now.Own.Count != listed.Own.Count && !inFlight && !domain.IsImageInFlight(listed.Name):
		return fmt.Errorf("%w: lvol %s has %d clusters of its own now, %d when it was listed: something writes to it", ErrPlanAgain, now.Name, now.Own.Count, listed.Own.Count)
	}
	return nil
}

// rename renames an lvol that still has the planned name. It can be repeated.
func (x *Executor) rename(ctx context.Context, s *step) error {
	if s.Stage == domain.StageName {
		return x.nameLive(ctx, s)
	}
	renamer, ok := ports.As[ports.Renamer](x.Host)
	if !ok {
		return ports.Cannot("rename lvols, but claims that it can")
	}
	uuid, name := x.refs.uuid(s.Target), s.Name
	if name == "" {
		name = x.refs.setAside(s.Target)
	}
	now, err := x.Host.Look(ctx, uuid)
	switch {
	case errors.Is(err, ports.ErrNotFound):
		return fmt.Errorf("%w: the lvol is gone already", ErrPlanAgain)
	case err != nil:
		return err
	case s.OldName != "" && now.Name != s.OldName && now.Name != name:
		return fmt.Errorf("%w: the lvol is named %s now", ErrPlanAgain, now.Name)
	}
	if err := x.model.play(s.Operation); err != nil {
		return err
	}
	err = renamer.Rename(ctx, uuid, name)
	if errors.Is(err, ports.ErrExists) || errors.Is(err, ports.ErrNotFound) {
		return fmt.Errorf("%w: %w", ErrPlanAgain, err)
	}
	return err
}

func (x *Executor) record(ctx context.Context, s *step) error {
	recorder, ok := ports.As[ports.Recorder](x.Host)
	if !ok {
		return ports.Cannot("keep records, but claims that it can")
	}
	if err := x.model.play(s.Operation); err != nil {
		return err
	}
	return recorder.Record(ctx, x.refs.uuid(s.Target), s.Record)
}
