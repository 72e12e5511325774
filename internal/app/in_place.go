package app

import (
	"context"
	"fmt"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// What is done to one replica on its own host, without another one.

// executionOf carries a plan out that copies nothing: it has a destination and
// no source.
func (e *Engine) executionOf(at Site, r domain.Replica, plan domain.Plan, observer Observer) *execution {
	progress := newProgress(observer)
	progress.planned(plan, r.Store.ClusterSize)
	return newExecution(&rebuild{
		engine: e, request: Request{Destination: at, Parallel: 1}, sources: &sources{}, progress: progress,
		run: ports.Run{Replica: at.Replica, Store: r.Store.UUID, ID: drawID()},
	}, sight{destination: r}, plan, func() {})
}

// inOrder carries the plan out, a stage after the other.
func (x *execution) inOrder(ctx context.Context) error {
	for stage := domain.StageRemoveHead; stage <= domain.StageCreateHead; stage++ {
		if err := x.do(ctx, stage); err != nil {
			return err
		}
	}
	return nil
}

// CreateReplica makes a replica without snapshots: a head of so many bytes, on
// the volume's image, with the record of it.
func (e *Engine) CreateReplica(ctx context.Context, at Site, size uint64, image domain.Image) (domain.Replica, error) {
	at = at.bounded()
	release, err := e.claimReplica(ctx, at, "the creation")
	if err != nil {
		return domain.Replica{}, err
	}
	defer release()
	r, err := lookAt(ctx, at)
	if err != nil {
		return domain.Replica{}, err
	}
	plan, err := domain.PlanCreation(r.Store, at.Replica, size, image)
	if err != nil {
		return domain.Replica{}, refused(err)
	}
	if err := e.executionOf(at, r, plan, nil).inOrder(ctx); err != nil {
		return domain.Replica{}, err
	}
	return e.Look(ctx, at)
}

// PlanRemoval says what deleting a replica takes, and changes nothing.
func (e *Engine) PlanRemoval(ctx context.Context, at Site) (domain.Plan, error) {
	r, err := e.Look(ctx, at)
	if err != nil {
		return domain.Plan{}, err
	}
	plan, err := domain.PlanRemoval(r)
	return plan, refused(err)
}

// DeleteReplica deletes a replica, the head first. Stopped anywhere, it goes on
// from there when it is called again. A replica that anything else hangs on is
// refused.
func (e *Engine) DeleteReplica(ctx context.Context, at Site, observer Observer) (domain.Plan, error) {
	at = at.bounded()
	release, err := e.claimReplica(ctx, at, "the deletion")
	if err != nil {
		return domain.Plan{}, err
	}
	defer release()
	r, err := e.Look(ctx, at)
	if err != nil {
		return domain.Plan{}, err
	}
	plan, err := domain.PlanRemoval(r)
	if err != nil {
		return domain.Plan{}, refused(err)
	}
	x := e.executionOf(at, r, plan, observer)
	// A copy that outlived its engine may still be writing into what goes.
	if err := closeOpened(ctx, at.Host, x.run); err != nil {
		return plan, fmt.Errorf("close what earlier runs left open: %w", err)
	}
	if err := x.inOrder(ctx); err != nil {
		return plan, fmt.Errorf("delete replica %s: %w", at.Replica, err)
	}
	return plan, nil
}
