package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/rootgraft/rebuild/internal/app/guard"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Garbage is what crashed runs left on a host.
type Garbage struct {
	Store  domain.Listing
	Lvols  []domain.Leftover // in an order in which they can be deleted, clones before parents
	Opened []Leaving
}

// Leaving is an export or a connection that a crashed run left.
type Leaving struct {
	ports.Opened
	Stays string // why it must not be removed; "": it may be
}

// FindGarbage lists what crashed runs left on a host. It changes nothing.
func (e *Engine) FindGarbage(ctx context.Context, host ports.Host) (Garbage, error) {
	if host == nil {
		return Garbage{}, refusef("no host")
	}
	g, release, err := e.leaseGarbage(ctx, guard.Wrap(host))
	release()
	return g, err
}

// RemoveGarbage removes what FindGarbage lists, except entries that have to stay, and
// returns what was removed.
func (e *Engine) RemoveGarbage(ctx context.Context, on ports.Host) (removed Garbage, err error) {
	host := guard.Wrap(on)
	if err := checkChangeable(host); err != nil {
		return Garbage{}, err
	}
	g, release, err := e.leaseGarbage(ctx, host)
	defer release()
	if err != nil {
		return Garbage{}, err
	}
	removed.Store = g.Store
	var problems []error
	// An open export may still write into an in-flight lvol.
	for _, o := range g.Opened {
		if o.Stays != "" {
			continue
		}
		if err := e.endCrashed(ctx, host, o.Run, g.dead()); err != nil {
			problems = append(problems, fmt.Errorf("remove %s: %w", o.What, err))
			continue
		}
		removed.Opened = append(removed.Opened, o)
	}
	for _, l := range g.Lvols {
		if l.Stays != "" {
			continue
		}
		err := removeLeftover(ctx, host, l.Lvol)
		if err != nil {
			problems = append(problems, fmt.Errorf("delete lvol %s: %w", l.Lvol.Name, err))
			continue
		}
		removed.Lvols = append(removed.Lvols, l)
	}
	return removed, errors.Join(problems...)
}

// removeLeftover deletes an lvol if it still has the name that was listed.
func removeLeftover(ctx context.Context, host *guard.Host, l domain.Lvol) error {
	now, err := host.Look(ctx, l.UUID)
	switch {
	case errors.Is(err, ports.ErrNotFound):
		return nil
	case err != nil:
		return err
	case now.Name != l.Name:
		return fmt.Errorf("it is named %s now: %w", now.Name, ports.ErrInvalid)
	}
	err = host.Delete(ctx, l.UUID)
	if errors.Is(err, ports.ErrNotFound) {
		return nil
	}
	return err
}

// leaseGarbage lists the garbage of a host and leases the names of its owners until
// release is called. An owner whose name is leased already is alive, so its entries stay.
func (e *Engine) leaseGarbage(ctx context.Context, host *guard.Host) (g Garbage, release func(), err error) {
	all := new(releases)
	release = all.release
	g.Store, err = host.List(ctx)
	if err != nil {
		return g, release, fmt.Errorf("list lvols: %w", err)
	}
	if err := all.take(e.locks.acquire(ctx, garbageKey(g.Store.UUID), describeCollection)); err != nil {
		return g, release, err
	}
	if err := all.take(e.leaseCollection(ctx, host, g.Store.UUID)); err != nil {
		return g, release, err
	}
	if g.Lvols, err = domain.Garbage(g.Store); err != nil {
		return g, release, refused(err)
	}
	if collector, ok := ports.As[ports.Collector](host); ok {
		opened, err := collector.Opened(ctx)
		if err != nil {
			return g, release, fmt.Errorf("list exports and connections: %w", err)
		}
		for _, o := range opened {
			g.Opened = append(g.Opened, Leaving{Opened: o})
		}
	}
	probe := &ownerProbe{engine: e, host: host, found: make(map[string]string), held: all}
	for i := range g.Lvols {
		l := &g.Lvols[i]
		key := replicaKey(g.Store.UUID, l.Owner)
		if l.Owner == l.Lvol.Name {
			key = imageKey(g.Store.UUID, l.Owner)
		}
		lives, err := probe.userOf(ctx, key, l.Owner)
		if err != nil {
			return g, release, err
		}
		if l.Stays == "" {
			l.Stays = lives
		}
	}
	for i := range g.Opened {
		o := &g.Opened[i]
		if o.Stays, err = probe.userOf(ctx, runKey(o.Run), "run "+o.Run.ID); err != nil {
			return g, release, err
		}
	}
	if _, ok := ports.As[ports.Ender](host); !ok {
		g.keepIfReplicaInUse()
	}
	return g, release, nil
}

// dead are the runs that have crashed.
func (g Garbage) dead() map[ports.Run]bool {
	dead := make(map[ports.Run]bool)
	for _, o := range g.Opened {
		if o.Stays == "" {
			dead[o.Run] = true
		}
	}
	return dead
}

// keepIfReplicaInUse keeps everything of a replica that has a live run, for hosts that can
// only end all runs of a replica at once.
func (g Garbage) keepIfReplicaInUse() {
	for i := range g.Opened {
		for _, other := range g.Opened {
			if g.Opened[i].Stays == "" && other.Stays != "" && other.Run.SameReplica(g.Opened[i].Run) {
				g.Opened[i].Stays = other.Stays
			}
		}
	}
}

// ownerProbe leases each name once, to find out whether its owner is alive.
type ownerProbe struct {
	engine *Engine
	host   *guard.Host
	found  map[string]string
	held   *releases
}

// userOf describes the holder of a name; "": nobody, and the probe holds it now.
func (c *ownerProbe) userOf(ctx context.Context, key, whose string) (string, error) {
	if said, known := c.found[key]; known {
		return said, nil
	}
	user := ""
	release, err := c.engine.leaseNow(ctx, c.host, key, ports.Lease{Holder: "a collection of garbage"})
	switch {
	case err == nil:
		c.held.add(release)
	case isHeldByOtherProcess(err):
		user = whose + " is active in another process"
	case errors.Is(err, ports.ErrBusy):
		user = whose + " is active in this process"
	default:
		return "", err
	}
	c.found[key] = user
	return user, nil
}
