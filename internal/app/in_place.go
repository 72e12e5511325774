package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// changeInPlace plans a change that copies nothing, on a replica's own host, and carries it out.
// holder names the change in leases on the base of a linked clone. It plans again if the store
// is not as planned: another engine may have removed an entry point before its first clone.
// changed reports whether anything may have been changed.
func (e *Engine) changeInPlace(ctx context.Context, at site, holder string, observer Observer, plan func() (domain.Replica, domain.Plan, error)) (changed bool, err error) {
	for plans := 1; ; plans++ {
		r, planned, err := plan()
		if err != nil {
			return changed, err
		}
		release, err := e.leasePlacedClone(ctx, at, r, planned, holder)
		if err != nil {
			return changed, err
		}
		changed = true
		err = e.carryOutInPlace(ctx, at, r, planned, observer)
		release()
		if !errors.Is(err, executor.ErrPlanAgain) || plans == maxPlans || ctx.Err() != nil {
			return changed, err
		}
	}
}

// leasePlacedClone leases the base of a linked clone, if the plan has one.
func (e *Engine) leasePlacedClone(ctx context.Context, at site, r domain.Replica, plan domain.Plan, holder string) (release func(), err error) {
	if plan.Clone == (domain.PlacedClone{}) {
		return func() {}, nil
	}
	return e.leaseClone(ctx, at.Host, r.Store, plan.Clone, holder)
}

// carryOutInPlace carries out a plan that copies nothing, on a replica's own host.
func (e *Engine) carryOutInPlace(ctx context.Context, at site, r domain.Replica, plan domain.Plan, observer Observer) error {
	progress := newProgress(observer)
	progress.planned(plan, r.Store.ClusterSize)
	run := executor.NewRun(ports.Run{Replica: at.Replica, Store: r.Store.UUID, ID: executor.NewID()})
	x := executor.New(executor.Config{
		Host: at.Host, Listing: r.Store, Plan: plan, Parallel: 1, Lock: e.lockLvol, Sink: planSink{progress}, Log: e.log, Run: run,
	})
	err := x.Do(ctx, domain.Stages...)
	if errors.Is(err, executor.ErrPlanAgain) {
		if left := executor.DeleteAll(ctx, at.Host, func(l domain.Lvol) bool { return run.Drew(l.Name) }); left != nil {
			return fmt.Errorf("%w; delete what the change has left: %w", err, left)
		}
	}
	return err
}

// CreateReplica makes a replica without snapshots: a head of size bytes on the volume's
// image, which it records.
func (e *Engine) CreateReplica(ctx context.Context, where Site, size uint64, image domain.Base) (domain.Replica, error) {
	at := where.guarded()
	release, err := e.leaseForChange(ctx, at, "the creation")
	if err != nil {
		return domain.Replica{}, err
	}
	defer release()
	return e.createLeased(ctx, at, size, image)
}

// createLeased creates a replica that is leased.
func (e *Engine) createLeased(ctx context.Context, at site, size uint64, image domain.Base) (domain.Replica, error) {
	_, err := e.changeInPlace(ctx, at, "the creation of replica "+at.Replica, nil, func() (domain.Replica, domain.Plan, error) {
		r, err := listReplica(ctx, at)
		if err != nil {
			return r, domain.Plan{}, err
		}
		plan, err := domain.PlanCreation(r.Store, at.Replica, size, image)
		return r, plan, refused(err)
	})
	if err != nil {
		return domain.Replica{}, err
	}
	return existingReplica(ctx, at)
}

// PlanReplicaRemoval returns what DeleteReplica would do.
func (e *Engine) PlanReplicaRemoval(ctx context.Context, at Site) (domain.Plan, error) {
	r, err := e.Replica(ctx, at)
	if err != nil {
		return domain.Plan{}, err
	}
	plan, err := domain.PlanRemoval(r)
	return plan, refused(err)
}

// DeleteReplica deletes a replica, the head first. After an interruption another call goes
// on with what is left. It refuses a replica that is the parent of other lvols.
func (e *Engine) DeleteReplica(ctx context.Context, where Site, observer Observer) (domain.Plan, error) {
	at := where.guarded()
	release, err := e.leaseForChange(ctx, at, "the deletion")
	if err != nil {
		return domain.Plan{}, err
	}
	defer release()
	return e.deleteLeased(ctx, at, observer)
}

// deleteLeased deletes a replica that is leased.
func (e *Engine) deleteLeased(ctx context.Context, at site, observer Observer) (domain.Plan, error) {
	r, err := existingReplica(ctx, at)
	if err != nil {
		return domain.Plan{}, err
	}
	plan, err := domain.PlanRemoval(r)
	if err != nil {
		return domain.Plan{}, refused(err)
	}
	// A copy of a crashed engine may still write into an lvol that is deleted.
	run := ports.Run{Replica: at.Replica, Store: r.Store.UUID, ID: executor.NewID()}
	if err := closeOpened(ctx, at.Host, run); err != nil {
		return plan, fmt.Errorf("close exports of earlier runs: %w", err)
	}
	if err := e.carryOutInPlace(ctx, at, r, plan, observer); err != nil {
		return plan, fmt.Errorf("delete replica %s: %w", at.Replica, err)
	}
	return plan, nil
}
