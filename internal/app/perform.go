package app

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// perform does one operation on the real store.
func (x *execution) perform(ctx context.Context, i int, o domain.Operation, reached func()) error {
	host := x.request.Destination.Host
	switch o.Verb {
	case domain.VerbCreate:
		return x.create(ctx, host, o)
	case domain.VerbCopy:
		return x.copy(ctx, host, i, o)
	case domain.VerbGraft:
		return x.graft(ctx, host, o)
	case domain.VerbSeal:
		return x.seal(ctx, host, o, reached)
	case domain.VerbClone:
		return x.clone(ctx, host, o)
	case domain.VerbDelete:
		return x.delete(ctx, host, o)
	case domain.VerbRecord:
		return x.record(ctx, host, o)
	}
	return fmt.Errorf("the plan has a verb that nobody knows: %q", o.Verb)
}

// play plays the operation on the picture first, once: one that is done again
// has been played.
func (x *execution) play(o domain.Operation) error {
	x.pictureMu.Lock()
	defer x.pictureMu.Unlock()
	this := step{o.Stage, o.Verb, o.Target}
	if x.played[this] {
		return nil
	}
	err := x.picture.Apply(x.seen.source.Store, o)
	x.played[this] = err == nil
	return err
}

// uuid is the lvol that a Ref stands for, "" for none.
func (x *execution) uuid(r domain.Ref) string {
	if uuid, ok := r.Listed(); ok {
		return uuid
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.uuids[r]
}

func (x *execution) made(r domain.Ref, uuid string) {
	x.engine.room.note(x.need, r, func(p *part) { p.uuid = uuid })
	x.mu.Lock()
	defer x.mu.Unlock()
	x.uuids[r] = uuid
}

// drawName draws a name in flight and remembers it, before anything of that
// name can exist, so that the clean-up finds it whatever becomes of the call,
// and the next attempt, too.
func (x *execution) drawName(r domain.Ref) string {
	x.mu.Lock()
	defer x.mu.Unlock()
	if name, drawn := x.drawn[r]; drawn {
		return name
	}
	form := func(id string) string { return domain.InFlightLvolName(x.request.Destination.Replica, id) }
	if r.IsImage() {
		form = domain.ImageInFlightLvolName
	}
	x.drawn[r] = x.drawLocked(form)
	return x.drawn[r]
}

func (x *execution) drawImageName() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.drawLocked(domain.ImageInFlightLvolName)
}

// drawLocked draws a name that nothing has that was listed: what has a drawn name is
// taken for this run's.
func (x *execution) drawLocked(form func(id string) string) string {
	for {
		name := form(drawID())
		taken := slices.ContainsFunc(x.seen.destination.Store.Lvols, func(l domain.Lvol) bool { return l.Name == name })
		if !taken && !x.names[name] {
			x.names[name] = true
			return name
		}
	}
}

// giveUpName forgets a name that somebody else has by now.
func (x *execution) giveUpName(name string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.names, name)
}

// lockLvol keeps the other rebuilds of this process off an lvol that they may
// share with this one.
func (x *execution) lockLvol(ctx context.Context, store domain.Listing, uuid string) (release func(), err error) {
	return x.engine.lockLvol(ctx, store, uuid)
}

func (e *Engine) lockLvol(ctx context.Context, store domain.Listing, uuid string) (release func(), err error) {
	forWhat := func() string {
		name := uuid
		if i := slices.IndexFunc(store.Lvols, func(l domain.Lvol) bool { return l.UUID == uuid }); i >= 0 {
			name = store.Lvols[i].Name
		}
		return fmt.Sprintf("another run of this process, which uses lvol %s on lvstore %s", name, store.Name)
	}
	return e.locks.acquire(ctx, "lvol "+store.UUID+"/"+uuid, forWhat)
}

func (x *execution) create(ctx context.Context, host ports.Host, o domain.Operation) error {
	if err := x.play(o); err != nil {
		return err
	}
	name := x.drawName(o.Target)
	if o.Target.IsImage() {
		if err := x.claimImage(ctx, host, name); err != nil {
			return err
		}
	}
	uuid, err := host.Create(ctx, name, o.Size)
	switch {
	case err == nil:
		x.made(o.Target, uuid)
	case errors.Is(err, ports.ErrExists):
		return x.drawAnew(o.Target, name)
	default:
		x.mayHaveMade(name)
	}
	return err
}

func (x *execution) mayHaveMade(name string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.unsure[name] = true
}

// drawAnew has the next attempt draw another name. Unless an earlier one may have been
// carried out, what is called so is somebody else's.
func (x *execution) drawAnew(r domain.Ref, name string) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.drawn, r)
	if !x.unsure[name] {
		delete(x.names, name)
	}
	return fmt.Errorf("somebody else has an lvol %s: %w", name, ports.ErrUnavailable)
}

// graft gives the lvol its parent.
func (x *execution) graft(ctx context.Context, host ports.Host, o domain.Operation) error {
	if err := x.play(o); err != nil {
		return err
	}
	uuid, parent := x.uuid(o.Target), x.uuid(o.Parent)
	if o.Name != "" { // a kept one, which is not sealed
		return patiently(ctx, func() error { return x.graftAlone(ctx, host, uuid, parent) })
	}
	return patiently(ctx, func() error { return x.graftAndCount(ctx, host, o.Target, parent) })
}

// graftAlone: grafts under one parent exclude each other. Nothing but the graft
// itself is waited for meanwhile: the parent may be an image that other rebuilds
// share, the source a host that hangs.
func (x *execution) graftAlone(ctx context.Context, host ports.Host, uuid, parent string) error {
	if parent != "" {
		release, err := x.lockLvol(ctx, x.seen.destination.Store, parent)
		if err != nil {
			return err
		}
		defer release()
	}
	return host.Graft(ctx, uuid, parent)
}

// graftAndCount does what a seal waits for: the graft, and the look at both
// sides right before. A chain of snapshots is as fast as its grafts and seals,
// one after the other, so the look shares the graft's round trip. That the lvol
// hangs where it should, the answer to the graft says.
func (x *execution) graftAndCount(ctx context.Context, host ports.Host, target domain.Ref, parent string) error {
	began := x.begunAs(target)
	uuid := began.copy
	var now counts
	calls, err := x.countAsked(ctx, &now, began)
	if err != nil {
		return err
	}
	err = x.atOnce(append([]func() error{
		func() error { return x.graftAlone(ctx, host, uuid, parent) },
		func() (err error) { now.copied, err = countOwn(ctx, host, uuid); return err },
	}, calls...)...)
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.counted[target] = now
	return nil
}

func (x *execution) begunAs(target domain.Ref) source {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.begun[target]
}

// seal has compared both sides once more: a snapshot under its final name is
// right.
func (x *execution) seal(ctx context.Context, host ports.Host, o domain.Operation, reached func()) error {
	merger, merges := can[ports.Merger](host)
	if o.Prove && merges {
		if err := x.proveInFlight(ctx, host, merger, o); err != nil {
			return err
		}
	}
	uuid := x.begunAs(o.Target).copy
	if err := x.compareBeforeSeal(ctx, host, o); err != nil {
		return err
	}
	if o.Target.IsImage() {
		if err := x.readBack(ctx, o, uuid); err != nil {
			return err
		}
	}
	if err := x.play(o); err != nil {
		return err
	}
	record := ports.SealRecord{Attributes: o.Attributes}
	switch {
	case o.Prove && !merges:
		record.Image = &domain.ImageRecord{} // unproven yet: any run that finds it so proves it
	case o.Target.IsImage():
		record.Image = o.Image
	case x.request.parallel() > 1:
		record.Sealed = func(snapshot string) {
			x.made(o.Target, snapshot)
			reached()
		}
	}
	var sealed string
	waited := false // while the lvol was busy: what was compared may have changed
	err := patiently(ctx, func() (err error) {
		if waited {
			if err := x.compareBeforeSeal(ctx, host, o); err != nil {
				return err
			}
		}
		waited = true
		sealed, err = host.Seal(ctx, uuid, o.Name, record)
		return err
	})
	switch {
	case errors.Is(err, ports.ErrExists) && o.Target.IsImage():
		return fmt.Errorf("%w: somebody else has brought the image meanwhile", errPlanAgain)
	case err != nil:
		return err
	}
	return x.wasSealed(ctx, o, sealed, o.Source.Clusters)
}

// wasSealed takes up what a seal has made.
func (x *execution) wasSealed(ctx context.Context, o domain.Operation, sealed string, clusters uint64) error {
	x.made(o.Target, sealed)
	if o.Target.IsImage() {
		defer x.unlockImage()
		return x.proveSealed(ctx, o, sealed)
	}
	// It is the copy of what each source has of which that was proven. The one
	// that the plan is made from comes last.
	for _, lent := range append(slices.Clone(x.loans.offers[o.Source.UUID]), offer{x.seen.primary, o.Source}) {
		x.remember(ctx, o.Name, domain.Sealing{Source: lent.origin.UUID, SourceClusters: lent.origin.Clusters, Copy: sealed, CopyClusters: clusters})
	}
	return nil
}

// compareBeforeSeal: somebody may have deleted the snapshot below the source's
// one, which merges the two, or written into our lvol. What was counted as it was
// grafted counts once: a seal that is done again looks again. So does that of what
// is not grafted, also for a parent that somebody else has given it.
func (x *execution) compareBeforeSeal(ctx context.Context, host ports.Host, o domain.Operation) error {
	began := x.begunAs(o.Target)
	x.mu.Lock()
	now, counted := x.counted[o.Target]
	delete(x.counted, o.Target)
	x.mu.Unlock()
	if !counted {
		var copied domain.Lvol
		calls, err := x.countAsked(ctx, &now, began)
		if err != nil {
			return err
		}
		err = x.atOnce(append([]func() error{func() (err error) { copied, err = host.Look(ctx, began.copy); return err }}, calls...)...)
		if err != nil {
			return err
		}
		if copied.Parent != x.uuid(o.Parent) {
			return fmt.Errorf("%w: the copy hangs on something else by now", errPlanAgain)
		}
		now.copied = copied.Own.Count
	}
	for i, of := range now.asked {
		if now.now[i] == of.origin.Clusters {
			continue
		}
		changed := fmt.Errorf("the source's snapshot has %d clusters of its own now, %d when it was copied", now.now[i], of.origin.Clusters)
		if of.at != x.seen.primary {
			x.lose(of.at, changed) // it is not any more what was proven
		}
		return fmt.Errorf("%w: %w", errPlanAgain, changed)
	}
	if now.copied != began.planned.Clusters {
		return fmt.Errorf("%w: %w: the copy has %d clusters of its own, its source %d", errPlanAgain, ports.ErrCorrupt, now.copied, began.planned.Clusters)
	}
	return nil
}

func (x *execution) remember(ctx context.Context, lvolName string, s domain.Sealing) {
	x.mu.Lock()
	x.sealed = append(x.sealed, s)
	x.mu.Unlock()
	x.noteSealing(ctx, lvolName, s)
}

// clone makes the head, the last thing that a rebuild makes.
func (x *execution) clone(ctx context.Context, host ports.Host, o domain.Operation) error {
	if err := x.play(o); err != nil {
		return err
	}
	parent := x.uuid(o.Parent)
	if parent != "" {
		release, err := x.lockLvol(ctx, x.seen.destination.Store, parent)
		if err != nil {
			return err
		}
		defer release()
	}
	return patiently(ctx, func() error {
		uuid, err := host.Clone(ctx, parent, o.Name, o.Size, o.Record)
		if err == nil {
			x.made(o.Target, uuid)
		}
		return err
	})
}

// delete looks once more: a UUID that has another name, or other clusters, by
// now is not what the plan condemned. That nothing hangs on it, the port sees to.
//
// Another rebuild of this process may be copying from it: a store hides what is
// deleted then, and its clusters with it, until a restart.
func (x *execution) delete(ctx context.Context, host ports.Host, o domain.Operation) error {
	uuid := x.uuid(o.Target)
	release, err := x.lockLvol(ctx, x.seen.destination.Store, uuid)
	if err != nil {
		return err
	}
	defer release()
	planned := domain.Lvol{UUID: uuid, Name: o.Name}
	if at := slices.IndexFunc(x.seen.destination.Store.Lvols, func(l domain.Lvol) bool { return l.UUID == uuid }); at >= 0 {
		seen := &x.seen.destination.Store.Lvols[at]
		planned.Own, planned.UsedBy = seen.Own, seen.UsedBy
	}
	if err := lookBeforeDelete(ctx, host, planned); err != nil {
		return err
	}
	if err := x.play(o); err != nil {
		return err
	}
	return patiently(ctx, func() error { return host.Delete(ctx, uuid) })
}

// lookBeforeDelete makes sure that an lvol is still what was listed. One in flight
// holds nobody's data, and what an old copy still writes there is no reason to keep
// it.
func lookBeforeDelete(ctx context.Context, host ports.Host, listed domain.Lvol) error {
	now, err := host.Look(ctx, listed.UUID)
	_, inFlight := domain.ReplicaInFlight(listed.Name)
	switch {
	case errors.Is(err, ports.ErrNotFound):
		return fmt.Errorf("%w: the lvol is gone already", errPlanAgain)
	case err != nil:
		return err
	case now.Name != listed.Name:
		return fmt.Errorf("%w: the lvol is called %s now", errPlanAgain, now.Name)
	case now.UsedBy.Any() && now.UsedBy != listed.UsedBy:
		return fmt.Errorf("%w: lvol %s is %s now", errPlanAgain, now.Name, now.UsedBy)
	case now.Own.Count != listed.Own.Count && !inFlight && !domain.IsImageInFlight(listed.Name):
		return fmt.Errorf("%w: lvol %s has %d clusters of its own now, %d when it was listed: something writes to it", errPlanAgain, now.Name, now.Own.Count, listed.Own.Count)
	}
	return nil
}

func (x *execution) record(ctx context.Context, host ports.Host, o domain.Operation) error {
	recorder, ok := can[ports.Recorder](host)
	if !ok {
		return fmt.Errorf("%w: the host keeps no records, but says it does", ports.ErrUnsupported)
	}
	if err := x.play(o); err != nil {
		return err
	}
	return recorder.Record(ctx, x.uuid(o.Target), o.Record)
}
