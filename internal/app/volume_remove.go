package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// VolumeRemoval is what DeleteVolume deletes.
type VolumeRemoval struct {
	Volume   domain.Volume
	Replicas []domain.VolumeReplica // those of Members that exist, in their order
	Plans    []domain.Plan          // for each of them, if the replicas are deleted, too
}

// PlanVolumeRemoval returns what DeleteVolume would do. It leases nothing.
func (e *Engine) PlanVolumeRemoval(ctx context.Context, request VolumeRequest, replicas bool) (VolumeRemoval, error) {
	c, err := e.newMirrorChange(ctx, request)
	if err != nil {
		return VolumeRemoval{}, err
	}
	return c.planRemoval(ctx, replicas)
}

// DeleteVolume removes the mirror of a volume, closes the ways to its members' heads and, if
// asked to, deletes the replicas. After a crash or an error, the same call completes it.
func (e *Engine) DeleteVolume(ctx context.Context, request VolumeRequest, replicas bool) (VolumeRemoval, error) {
	c, err := e.newMirrorChange(ctx, request)
	if err != nil {
		return VolumeRemoval{}, err
	}
	release, err := c.lease(ctx, "the deletion of the volume")
	if err != nil {
		return VolumeRemoval{}, err
	}
	defer release()
	removal, err := c.planRemoval(ctx, replicas)
	if err != nil {
		return removal, err
	}
	switch err := c.maker.Remove(ctx, slices.Collect(maps.Values(c.heads))...); {
	case errors.Is(err, ports.ErrBusy):
		return removal, refusef("volume %s is in use: %w: end that use first", removal.Volume.Name, err)
	case err != nil:
		return removal, fmt.Errorf("delete volume %s: %w", removal.Volume.Name, err)
	}
	err = c.forAll(func(i int) error { return c.part(ctx, i) })
	if err == nil {
		err = c.forAll(func(i int) error { return c.closeWays(ctx, i) })
	}
	if err == nil && replicas {
		err = c.forAll(func(i int) error {
			if !c.replicas[i].Exists() {
				return nil
			}
			_, err := c.engine.deleteLeased(ctx, c.sites[i], nil)
			return err
		})
	}
	if err == nil {
		err = c.maker.End(ctx)
	}
	if err != nil {
		return removal, fmt.Errorf("volume %s is gone, run its deletion again to complete it: %w", removal.Volume.Name, &refusedLate{err})
	}
	return removal, nil
}

// planRemoval observes the volume and refuses everything that is refused.
func (c *mirrorChange) planRemoval(ctx context.Context, replicas bool) (removal VolumeRemoval, err error) {
	if err := c.list(ctx); err != nil {
		return removal, err
	}
	removal.Volume, err = c.mirror.Volume(ctx)
	if errors.Is(err, ports.ErrNotFound) {
		return removal, refusef("the volume does not exist: %w", err)
	}
	if err != nil {
		return removal, err
	}
	given := len(c.sites)
	c.leaveOut(removal.Volume)
	var existing []domain.Replica
	c.heads, c.unfinished = make(map[int]string), nil
	for i, r := range c.replicas {
		switch {
		case r.Exists():
			existing = append(existing, r)
			own, _ := removal.Volume.Assign([]domain.Replica{r})
			if own[0].Mirrored() != nil {
				c.heads[i] = own[0].Mirrored().UUID
			}
			if own[0].Member.Mode != domain.ModeRW {
				c.unfinished = append(c.unfinished, i)
			}
		case !removal.Volume.Pending:
			return removal, refusef("replica %s not found on lvstore %s", c.sites[i].Replica, r.Store.Name)
		}
	}
	parts, strangers := removal.Volume.Assign(existing)
	removal.Replicas = parts
	if err := removal.Volume.CheckRemoval(parts, strangers, given-len(existing)); err != nil {
		return removal, refused(err)
	}
	for _, p := range parts {
		if !replicas {
			break
		}
		plan, err := p.PlanRemoval()
		if err != nil {
			return removal, refused(err)
		}
		removal.Plans = append(removal.Plans, plan)
	}
	return removal, nil
}

// leaveOut leaves replicas alone that were deleted and made again since the volume is pending.
func (c *mirrorChange) leaveOut(v domain.Volume) {
	for i := len(c.sites) - 1; i >= 0; i-- {
		if own, _ := v.Assign(c.replicas[i : i+1]); own[0].MadeAgain(v) {
			c.sites, c.replicas = slices.Delete(c.sites, i, i+1), slices.Delete(c.replicas, i, i+1)
		}
	}
}

// closeWays closes the ways that rebuilds which died have left on a host to other replicas.
func (c *mirrorChange) closeWays(ctx context.Context, i int) error {
	for _, other := range c.unfinished {
		if other == i {
			continue
		}
		if err := closeOpened(ctx, c.sites[i].Host, c.runOf(other)); err != nil {
			return err
		}
	}
	return nil
}

// part ends the connection of the mirror's host to a head first, and then closes the way.
func (c *mirrorChange) part(ctx context.Context, i int) error {
	run, host := c.runOf(i), c.sites[i].Host
	if head, is := c.heads[i]; is {
		if err := c.mirror.Leave(ctx, head); err != nil {
			return err
		}
	}
	if err := c.mirror.Release(ctx, run); err != nil {
		return err
	}
	if err := host.HideHead(ctx, run.Replica); err != nil {
		return err
	}
	return closeOpened(ctx, host, run)
}
