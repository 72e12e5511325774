package app

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/app/guard"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// takeLeases leases the destination, shares the sources, and leases the run itself, in
// this process and, if the hosts support it, among processes (longhorn/longhorn#9191,
// #1895, #3086). On other hosts, two processes on one replica are their callers' mistake.
//
// It comes before the first listing, so the plan is made from leased replicas. A host that
// knows its store is not listed for this: one that hangs delays no other rebuild.
func (r *rebuild) takeLeases(ctx context.Context) (release func(), err error) {
	destination, err := r.identify(ctx, r.request.Destination)
	if err != nil {
		return nil, err
	}
	r.run.Store = destination.UUID
	r.holder = fmt.Sprintf("%s%s on lvstore %s", rebuildHolder, r.run.Replica, destination.Name)
	stores, failures := r.identifySources(ctx)
	if !r.sources.several() && failures[0] != nil {
		return nil, failures[0]
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	for at, store := range stores {
		if failures[at] == nil && store.UUID == destination.UUID && r.sources.sites[at].Replica == r.run.Replica {
			return nil, refusef("replica %s on lvstore %s is both source and destination", r.run.Replica, store.Name)
		}
	}
	r.images = make(map[string]bool)
	all := &r.held
	key := replicaKey(destination.UUID, r.run.Replica)
	if err := all.take(r.engine.lease(ctx, r.request.Destination.Host, destination.UUID, key, ports.Lease{Holder: r.holder})); err != nil {
		return nil, inUse(fmt.Sprintf("replica %s on lvstore %s", r.run.Replica, destination.Name), err)
	}
	if err := r.leaseSources(ctx, stores, failures, all); err != nil {
		return all.unless(err)
	}
	return all.unless(r.leaseRun(ctx, all))
}

func (r *rebuild) identify(ctx context.Context, at site) (store domain.Listing, err error) {
	err = r.retry(ctx, "list the hosts", func() (err error) {
		store, err = identify(ctx, at)
		return err
	})
	return store, err
}

func (r *rebuild) identifySources(ctx context.Context) (stores []domain.Listing, failures []error) {
	sites := r.sources.sites
	stores, failures = make([]domain.Listing, len(sites)), make([]error, len(sites))
	var calls []func() error
	for at, site := range sites {
		if failures[at] = r.sources.lostReason(at); failures[at] != nil {
			continue
		}
		calls = append(calls, func() error {
			stores[at], failures[at] = r.identify(ctx, site)
			return nil
		})
	}
	_ = executor.AtOnce(r.request.parallel(), calls...) // each has its own failure
	return stores, failures
}

// leaseSources shares the sources with other readers. One of several sources that cannot
// be leased is not used.
func (r *rebuild) leaseSources(ctx context.Context, stores []domain.Listing, failures []error, all *releases) error {
	for at, store := range stores {
		if failures[at] != nil {
			continue
		}
		r.sources.setLvstore(at, store)
		site := r.sources.sites[at]
		lease := ports.Lease{Shared: true, Holder: r.holder + " from it"}
		if err := all.take(r.engine.lease(ctx, site.Host, store.UUID, replicaKey(store.UUID, site.Replica), lease)); err != nil {
			failures[at] = inUse(fmt.Sprintf("replica %s on lvstore %s", site.Replica, store.Name), err)
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !r.sources.several() {
		return failures[0]
	}
	if !slices.Contains(failures, nil) {
		return r.sources.noneUsable(failures)
	}
	for at, failure := range failures {
		if failure != nil {
			r.lose(at, failure)
		}
	}
	return nil
}

// leaseRun shows on every host that this run is alive, since it opens exports and
// connections there. Where two hosts are on one target, the second lease finds ours: that
// is fine.
func (r *rebuild) leaseRun(ctx context.Context, all *releases) error {
	lease := ports.Lease{Holder: r.holder}
	if err := all.take(r.engine.leases.Take(runKey(r.run.Run), lease)); err != nil {
		return err
	}
	sites := []site{r.request.Destination}
	for _, at := range r.sources.used() {
		sites = append(sites, r.sources.sites[at])
	}
	for _, site := range sites {
		err := all.take(r.engine.leaseAmongProcesses(ctx, site.Host, runKey(r.run.Run), lease))
		if err != nil && !errors.Is(err, ports.ErrBusy) {
			return err
		}
	}
	return nil
}

// leaseBase protects the volume's base on the destination: an image while it is copied, and
// until something is grafted onto it, or what a linked clone reads through.
func (r *rebuild) leaseBase(ctx context.Context, seen observation, plan domain.Plan) error {
	if image, isImage := plan.Base.Image(); isImage {
		return r.leaseImages(ctx, seen, plan, image)
	}
	if plan.Clone == (domain.PlacedClone{}) || r.leasedClone == plan.Clone {
		return nil
	}
	err := r.held.take(r.engine.leaseClone(ctx, r.request.Destination.Host, seen.destination.Store, plan.Clone, r.holder))
	if err != nil {
		return err
	}
	r.leasedClone = plan.Clone
	return nil
}

// leaseClone protects the entry point of a linked clone, which nothing may be a clone of
// yet, and the replica that its snapshot belongs to. A rebuild of that replica excludes it.
func (e *Engine) leaseClone(ctx context.Context, host *guard.Host, store domain.Listing, clone domain.PlacedClone, holder string) (release func(), err error) {
	var all releases
	lease := ports.Lease{Shared: true, Holder: holder}
	for _, of := range []struct{ what, key string }{
		{"replica " + clone.Replica, replicaKey(store.UUID, clone.Replica)},
		{"entry point " + clone.EntryPoint, imageKey(store.UUID, clone.EntryPoint)},
	} {
		if err := all.take(e.lease(ctx, host, store.UUID, of.key, lease)); err != nil {
			return all.unless(inUse(fmt.Sprintf("%s on lvstore %s", of.what, store.Name), err))
		}
	}
	return all.release, nil
}

func (r *rebuild) leaseImages(ctx context.Context, seen observation, plan domain.Plan, image string) error {
	users := map[*guard.Host]domain.Listing{r.request.Destination.Host: seen.destination.Store}
	if plan.FetchesImage() {
		users[r.sources.host(seen.primary)] = seen.source.Store
		for _, l := range seen.others {
			users[r.sources.host(l.at)] = l.replica.Store
		}
	}
	for host, store := range users {
		if r.images[store.UUID] {
			continue
		}
		if err := r.held.take(r.engine.leaseImageUse(ctx, host, store, image, ports.Lease{Shared: true, Holder: r.holder})); err != nil {
			return err
		}
		r.images[store.UUID] = true
	}
	return nil
}
