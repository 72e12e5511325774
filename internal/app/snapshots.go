package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// CreateSnapshot takes a user's snapshot of the replica's head.
func (e *Engine) CreateSnapshot(ctx context.Context, where Site, name string) (domain.Snapshot, error) {
	at := where.guarded()
	release, err := e.leaseForChange(ctx, at, "the creation of snapshot "+name)
	if err != nil {
		return domain.Snapshot{}, err
	}
	defer release()
	r, err := listReplica(ctx, at)
	if err != nil {
		return domain.Snapshot{}, err
	}
	if err := r.CheckNewSnapshot(name); err != nil {
		return domain.Snapshot{}, refused(err)
	}
	attributes := domain.Attributes{CreatedAt: time.Now().UTC().Truncate(time.Second), UserCreated: true}
	if _, err = at.Host.Snapshot(ctx, r.Head.UUID, domain.SnapshotLvolName(at.Replica, name), attributes); err != nil {
		return domain.Snapshot{}, fmt.Errorf("take snapshot %s of replica %s: %w", name, at.Replica, err)
	}
	if r, err = existingReplica(ctx, at); err != nil {
		return domain.Snapshot{}, err
	}
	s, ok := r.Snapshot(name)
	if !ok {
		return domain.Snapshot{}, fmt.Errorf("take snapshot %s of replica %s: %w: it is not listed", name, at.Replica, ports.ErrCorrupt)
	}
	return s, nil
}

// PlanSnapshotRemoval returns what DeleteSnapshot would do.
func (e *Engine) PlanSnapshotRemoval(ctx context.Context, at Site, name string) (domain.SnapshotRemoval, error) {
	r, err := listReplica(ctx, at.guarded())
	if err != nil {
		return domain.SnapshotRemoval{}, err
	}
	removal, err := domain.PlanSnapshotRemoval(r, name)
	return removal, refused(err)
}

// DeleteSnapshot deletes a snapshot. A snapshot with one child merges into it.
func (e *Engine) DeleteSnapshot(ctx context.Context, where Site, name string) (domain.SnapshotRemoval, error) {
	at := where.guarded()
	release, err := e.leaseForChange(ctx, at, "the deletion of snapshot "+name)
	if err != nil {
		return domain.SnapshotRemoval{}, err
	}
	defer release()
	r, err := listReplica(ctx, at)
	if err != nil {
		return domain.SnapshotRemoval{}, err
	}
	removal, err := domain.PlanSnapshotRemoval(r, name)
	if err != nil {
		return removal, refused(err)
	}
	return removal, e.removeSnapshot(ctx, at, r, removal)
}

// removeSnapshot deletes a snapshot of a replica that is leased.
func (e *Engine) removeSnapshot(ctx context.Context, at site, r domain.Replica, removal domain.SnapshotRemoval) error {
	name, uuid := removal.Snapshot.Name, removal.Snapshot.Lvol.UUID
	free, err := e.lockLvol(ctx, r.Store, uuid)
	if err != nil {
		return err
	}
	defer free()
	if err := executor.CheckBeforeDelete(ctx, at.Host, removal.Snapshot.Lvol); err != nil { // it may have changed during the wait
		return fmt.Errorf("delete snapshot %s of replica %s: %w", name, at.Replica, err)
	}
	remove := at.Host.Delete
	if removal.Into != nil {
		merger, ok := ports.As[ports.Merger](at.Host)
		if !ok {
			return refusef("snapshot %s of replica %s is the parent of %s, and the host cannot merge the two", name, at.Replica, removal.Into.Name)
		}
		remove = merger.Merge
	}
	if err := remove(ctx, uuid); err != nil {
		return fmt.Errorf("delete snapshot %s of replica %s: %w", name, at.Replica, err)
	}
	return nil
}

// RevertRequest is the argument of Engine.Revert.
type RevertRequest struct {
	Replica  Site
	Snapshot string
	// Size is the volume's size in bytes if an interrupted revert deleted the head and the
	// host keeps no records; otherwise 0.
	Size uint64
}

// PlanRevert returns what Revert would do.
func (e *Engine) PlanRevert(ctx context.Context, request RevertRequest) (domain.Revert, error) {
	r, err := listReplica(ctx, request.Replica.guarded())
	if err != nil {
		return domain.Revert{}, err
	}
	revert, err := domain.PlanRevert(r, request.Snapshot, request.Size)
	return revert, refused(err)
}

// Revert replaces the head by a clone of a snapshot. No store does that in one call, so
// the replica has no head for a moment. Before the old head is deleted, an in-flight
// stand-in for the new one is created: it proves that the clone is possible, and keeps
// size and record through a crash. After a crash between delete and clone, the replica has
// no head until another Revert.
func (e *Engine) Revert(ctx context.Context, request RevertRequest) (domain.Revert, error) {
	at := request.Replica.guarded()
	release, err := e.leaseForChange(ctx, at, "the revert")
	if err != nil {
		return domain.Revert{}, err
	}
	defer release()
	revert, err := e.PlanRevert(ctx, request)
	if err != nil {
		return revert, err
	}
	if err := e.revert(ctx, at, revert); err != nil {
		return revert, fmt.Errorf("revert replica %s to snapshot %s: %w", at.Replica, request.Snapshot, err)
	}
	return revert, nil
}

func (e *Engine) revert(ctx context.Context, at site, revert domain.Revert) error {
	clone := func(name string) (uuid string, err error) {
		return at.Host.Clone(ctx, revert.Snapshot.Lvol.UUID, name, revert.Size, revert.Record)
	}
	standIns := make([]string, 0, len(revert.StandIns)+1)
	for _, l := range revert.StandIns {
		standIns = append(standIns, l.UUID)
	}
	if revert.Old != nil {
		standIn, err := clone(domain.InFlightLvolName(at.Replica, executor.NewID()))
		if err != nil {
			return fmt.Errorf("the new head cannot be created, the old one is unchanged: %w", err)
		}
		standIns = append(standIns, standIn)
		err = executor.CheckBeforeDelete(ctx, at.Host, *revert.Old)
		if err == nil {
			err = at.Host.Delete(ctx, revert.Old.UUID)
		}
		if err != nil {
			if _, lookErr := at.Host.Look(ctx, revert.Old.UUID); lookErr == nil {
				return errors.Join(fmt.Errorf("the old head is unchanged: %w", err), e.deleteAll(ctx, at, standIns))
			}
			return fmt.Errorf("the old head may be deleted, run the revert again: %w", err)
		}
	}
	if _, err := clone(at.Replica); err != nil {
		return fmt.Errorf("the old head is deleted and the new one does not exist yet, run the revert again: %w", err)
	}
	return e.deleteAll(ctx, at, standIns)
}

// deleteAll deletes stand-ins, also after ctx has ended.
func (e *Engine) deleteAll(ctx context.Context, at site, uuids []string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), executor.CleanUpTime)
	defer cancel()
	var problems []error
	for _, uuid := range uuids {
		err := at.Host.Delete(ctx, uuid)
		if err != nil && !errors.Is(err, ports.ErrNotFound) {
			e.log.Warn("stand-in of a head not deleted", zap.String("uuid", uuid), zap.Error(err))
			problems = append(problems, fmt.Errorf("delete the stand-in of the head: %w", err))
		}
	}
	return errors.Join(problems...)
}
