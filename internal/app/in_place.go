package app

import (
	"context"
	"fmt"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// carryOutInPlace carries out a plan that copies nothing, on a replica's own host.
func (e *Engine) carryOutInPlace(ctx context.Context, at site, r domain.Replica, plan domain.Plan, observer Observer) error {
	progress := newProgress(observer)
	progress.planned(plan, r.Store.ClusterSize)
	x := executor.New(executor.Config{
		Host: at.Host, Listing: r.Store, Plan: plan, Parallel: 1, Lock: e.lockLvol, Sink: planSink{progress}, Log: e.log,
		Run: executor.NewRun(ports.Run{Replica: at.Replica, Store: r.Store.UUID, ID: executor.NewID()}),
	})
	return x.Do(ctx, domain.Stages...)
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
	r, err := listReplica(ctx, at)
	if err != nil {
		return domain.Replica{}, err
	}
	plan, err := domain.PlanCreation(r.Store, at.Replica, size, image)
	if err != nil {
		return domain.Replica{}, refused(err)
	}
	if plan.Clone != (domain.PlacedClone{}) {
		release, err := e.leaseClone(ctx, at.Host, r.Store, plan.Clone, "the creation of replica "+at.Replica)
		if err != nil {
			return domain.Replica{}, err
		}
		defer release()
	}
	if err := e.carryOutInPlace(ctx, at, r, plan, nil); err != nil {
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
