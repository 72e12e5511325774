package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// CreateVolume makes a volume: a mirror over the heads of replicas. Those that do not exist are
// created, with size bytes on the base. After a crash or an error, the same call completes it.
func (e *Engine) CreateVolume(ctx context.Context, request VolumeRequest, size uint64) (VolumeReport, error) {
	c, err := e.newMirrorChange(ctx, request)
	if err != nil {
		return VolumeReport{}, err
	}
	release, err := c.lease(ctx, "the creation of a volume")
	if err != nil {
		return VolumeReport{}, err
	}
	defer release()
	if err := c.create(ctx, size, request.Base); err != nil {
		return VolumeReport{}, err
	}
	return e.Volume(ctx, request)
}

func (c *mirrorChange) create(ctx context.Context, size uint64, base domain.Base) error {
	if err := c.list(ctx); err != nil {
		return err
	}
	volume, exists, err := c.volume(ctx)
	if err != nil {
		return err
	}
	if exists {
		if err := volume.CheckMade(c.replicas, size, base); err != nil {
			return refused(err)
		}
		if !volume.Pending {
			return c.finish(ctx)
		}
		c.own()
	}
	plan, err := domain.PlanVolumeCreation(c.replicas, size, base)
	if err != nil {
		return refused(err)
	}
	if err := c.compare(ctx, base); err != nil {
		return err
	}
	if err := c.createReplicas(ctx, plan, base); err != nil {
		return err
	}
	return c.make(ctx)
}

func (c *mirrorChange) createReplicas(ctx context.Context, plan domain.VolumeCreation, base domain.Base) (err error) {
	for _, i := range plan.Clear {
		if _, err := c.engine.deleteLeased(ctx, c.sites[i], nil); err != nil {
			return err
		}
	}
	for n, i := range plan.Create {
		if c.replicas[i], err = c.engine.createLeased(ctx, c.sites[i], plan.Size, base); err != nil {
			if n > 0 || len(plan.Clear) > 0 {
				err = &refusedLate{err}
			}
			return err
		}
	}
	return nil
}

// own allows the use of heads that an earlier call has exported.
func (c *mirrorChange) own() {
	for i := range c.replicas {
		c.replicas[i].AllowInUse = true
	}
}

// make shows the heads to the mirror's host, as a rebuild does with a live head, and makes the
// mirror.
func (c *mirrorChange) make(ctx context.Context) error {
	heads := make([]string, len(c.replicas))
	for i, r := range c.replicas {
		heads[i] = r.Head.UUID
	}
	if err := c.maker.Begin(ctx, heads...); err != nil {
		return fmt.Errorf("begin to make the volume: %w", err)
	}
	peer, err := c.mirror.Peer(ctx)
	if err != nil {
		return err
	}
	ways := make([]ports.Address, len(c.sites))
	if err := c.forAll(func(i int) (err error) { ways[i], err = c.show(ctx, i, peer); return err }); err != nil {
		return fmt.Errorf("show the heads to the mirror: %w", err)
	}
	if err := c.maker.Make(ctx, ways...); err != nil {
		return fmt.Errorf("make the volume: %w", err)
	}
	return c.finish(ctx)
}

func (c *mirrorChange) show(ctx context.Context, i int, peer ports.Peer) (ports.Address, error) {
	host, run := c.sites[i].Host, c.runOf(i)
	if err := host.Release(ctx, run); err != nil { // what a crashed call left
		return "", err
	}
	way, err := host.Offer(ctx, run, ports.Way{ID: executor.NewID(), Head: run.Replica}, peer)
	if err != nil {
		return "", err
	}
	if err := host.Show(ctx, run, way, c.replicas[i].Head.UUID); err != nil {
		return "", err
	}
	return way, c.mirror.Connect(ctx, run, way)
}

// finish forgets how the volume was made, by whichever run. What the mirror uses stays open.
func (c *mirrorChange) finish(ctx context.Context) error {
	ended := c.forAll(func(i int) error { return closeOpened(ctx, c.sites[i].Host, c.runOf(i)) })
	if err := errors.Join(ended, c.maker.End(ctx)); err != nil {
		return fmt.Errorf("%w: the volume is made: %w", ErrCleanUp, err)
	}
	return nil
}
