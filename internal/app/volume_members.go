package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/app/guard"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// mirrorChange makes or removes a mirror.
type mirrorChange struct {
	engine   *Engine
	mirror   guard.Mirror
	maker    guard.Maker
	sites    []site
	replicas []domain.Replica // of the sites; some need not exist
	run      string           // ID

	// Of a mirror that is removed, by position in sites.
	heads      map[int]string // UUIDs of those that are, or were, members
	unfinished []int          // that exist and are no whole members: a rebuild may have left something open
}

// newMirrorChange prepares a change, and refuses what cannot be one.
func (e *Engine) newMirrorChange(ctx context.Context, request VolumeRequest) (*mirrorChange, error) {
	if err := request.check(); err != nil {
		return nil, err
	}
	maker, ok := request.Mirror.(ports.Maker)
	if !ok {
		return nil, refusef("this mirror cannot be made or removed by the engine: its owner does that")
	}
	c := &mirrorChange{engine: e, mirror: guard.Mirror{Mirror: request.Mirror}, maker: guard.Maker{Maker: maker}, run: executor.NewID()}
	for _, where := range request.Members {
		at := where.guarded()
		if err := at.checkChangeable(); err != nil {
			return nil, err
		}
		if err := canBeMember(at); err != nil {
			return nil, err
		}
		if err := refuseTwice(ctx, c.sites, at); err != nil {
			return nil, err
		}
		c.sites = append(c.sites, at)
	}
	return c, nil
}

// refuseTwice refuses a replica that is one of the sites already: it cannot be leased twice.
func refuseTwice(ctx context.Context, sites []site, at site) error {
	for _, other := range sites {
		if other.Replica != at.Replica {
			continue
		}
		here, err := identify(ctx, at)
		if err != nil {
			return err
		}
		there, err := identify(ctx, other)
		if err != nil {
			return err
		}
		if here.UUID == there.UUID {
			return givenTwice(at.Replica, here.Name)
		}
	}
	return nil
}

func givenTwice(replica, lvstore string) error {
	return refusef("replica %s on lvstore %s is given twice", replica, lvstore)
}

// lease leases the replicas exclusively. what describes the change for those that are refused
// meanwhile.
func (c *mirrorChange) lease(ctx context.Context, what string) (release func(), err error) {
	var all releases
	for _, at := range c.sites {
		if err := all.take(c.engine.leaseForChange(ctx, at, what)); err != nil {
			return all.unless(err)
		}
	}
	return all.release, nil
}

// canBeMember refuses a host whose heads cannot be shown to a mirror.
func canBeMember(at site) error {
	if _, ok := ports.As[ports.Live](at.Host); !ok {
		return refusef("the host of replica %s cannot show its head to a mirror", at.Replica)
	}
	return nil
}

// list lists the replicas.
func (c *mirrorChange) list(ctx context.Context) error {
	c.replicas = make([]domain.Replica, len(c.sites))
	return c.forAll(func(i int) (err error) {
		c.replicas[i], err = listReplica(ctx, c.sites[i])
		return err
	})
}

// forAll calls do for all sites at once.
func (c *mirrorChange) forAll(do func(i int) error) error {
	var calls []func() error
	for i := range c.sites {
		calls = append(calls, func() error { return do(i) })
	}
	return executor.AtOnce(len(calls), calls...)
}

func (c *mirrorChange) runOf(i int) ports.Run {
	return ports.Run{Replica: c.sites[i].Replica, Store: c.replicas[i].Store.UUID, ID: c.run}
}

// volume is the mirror's; exists is false if it was never made or is gone.
func (c *mirrorChange) volume(ctx context.Context) (v domain.Volume, exists bool, err error) {
	v, err = c.mirror.Volume(ctx)
	if errors.Is(err, ports.ErrNotFound) {
		return v, false, nil
	}
	if err != nil {
		return v, false, fmt.Errorf("list the members of the volume: %w", err)
	}
	return v, true, nil
}
