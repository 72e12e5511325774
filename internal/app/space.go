package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rootgraft/rebuild/internal/app/guard"
	"github.com/rootgraft/rebuild/internal/app/retry"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// spaceLedger are what the running rebuilds and imports of an engine still need on each store.
// A thin lvol takes its clusters as it is filled, so a store alone does not tell what is
// free: two rebuilds that fit there, each alone, would fill it up together. The zero
// value is ready.
type spaceLedger struct {
	mu           sync.Mutex
	reservations []*reservation
	version      uint64 // how many so far
}

// reservation is what one run needs on a store, as it was planned.
type reservation struct {
	run     *reservation // the first one of the run, by its first plan
	store   string       // UUID
	reserve uint64       // clusters that stay free
	lvols   []*reservedLvol
	deletes []string  // UUIDs of lvols that are deleted before any part is filled
	checked time.Time // at the store, for the room that is left
	failing bool      // it has found too little room, and gives back what it has taken
}

// reservedLvol is one lvol that is filled.
type reservedLvol struct {
	target   domain.Ref
	image    string // the name that it will have, if it is an image; others may wait for the same
	clusters uint64

	uuid   string // of the lvol in flight; "": it is not there yet
	filled uint64 // clusters, as far as its run knows
}

func (p *reservedLvol) left() uint64 { return p.clusters - min(p.filled, p.clusters) }

// newReservation is what a plan needs.
func newReservation(plan domain.Plan, store domain.Listing, reserve uint64) *reservation {
	n := &reservation{store: store.UUID, reserve: reserve}
	for _, o := range plan.Operations {
		switch uuid, listed := o.Target.Listed(); {
		case o.Verb == domain.VerbCopy:
			n.lvols = append(n.lvols, &reservedLvol{target: o.Target, clusters: o.Source.Clusters})
		case o.Verb == domain.VerbDelete && listed:
			n.deletes = append(n.deletes, uuid)
		case o.Verb == domain.VerbSeal && o.Target.IsImage():
			n.lvols[len(n.lvols)-1].image = o.Name
		}
	}
	return n
}

// planWithinSpace plans with what others take, and holds what the plan needs itself. Another
// run may have begun meanwhile, and taken what this one was about to.
func (e *Engine) planWithinSpace(r request, s observation, image domain.Image, held **reservation) (domain.Plan, error) {
	store, alreadyTaken := s.destination.Store, r.Options.Taken
	fetched := ""
	if name, has := image.Name(); has {
		if _, isThere := store.BackingImage(name); !isThere {
			fetched = domain.ImageLvolName(name, store.UUID)
		}
	}
	var old *reservation
	if held != nil {
		old = *held
	}
	for {
		demand, shared, version := e.space.demand(store, s.filledBefore, old, fetched)
		r.Options.Taken, s.destination.Store.FreeClusters = alreadyTaken+demand, store.FreeClusters+shared
		plan, err := domain.PlanRebuild(s.source, s.destination, image, r.Options)
		if err != nil || held == nil {
			return plan, err
		}
		reserve, err := domain.Reserve(store, r.Options.ReservePercent)
		if err != nil {
			return plan, err
		}
		if n := newReservation(plan, store, reserve); e.space.reserve(n, old, version) {
			*held = n
			return plan, nil
		}
	}
}

// filledSoFar is what a run had filled of its parts before a store was listed. In the listing
// it has filled as much, or more.
type filledSoFar struct {
	reservation *reservation
	filled      []uint64
}

// filled is taken before a store is listed.
func (r *spaceLedger) filled() []filledSoFar {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]filledSoFar, len(r.reservations))
	for i, n := range r.reservations {
		all[i] = filledSoFar{n, make([]uint64, len(n.lvols))}
		for j, p := range n.lvols {
			all[i].filled[j] = p.filled
		}
	}
	return all
}

// demand is how many clusters of the store that is listed others will still take: those
// that ran before it was listed, though they may have ended since, and those that run
// now. Whoever is to fetch the image of that name itself shares it with them: what they
// have of it is given. entered tells whether others have begun since.
func (r *spaceLedger) demand(store domain.Listing, before []filledSoFar, mine *reservation, image string) (clusters, given, version uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := slices.Clone(before)
	for _, n := range r.reservations {
		if !slices.ContainsFunc(before, func(t filledSoFar) bool { return t.reservation == n }) {
			all = append(all, filledSoFar{n, make([]uint64, len(n.lvols))})
		}
	}
	own, named := make(map[string]uint64, len(store.Lvols)), make(map[string]bool, len(store.Lvols))
	for i := range store.Lvols {
		own[store.Lvols[i].UUID] = store.Lvols[i].Own.Count
		named[store.Lvols[i].Name] = true
	}
	ofRun := make(map[*reservation]uint64) // by several plans, perhaps
	type fetched struct{ clusters, left uint64 }
	images := make(map[string]fetched) // one of those that need it will bring it
	for _, t := range all {
		if mine != nil && t.reservation.run == mine.run || t.reservation.store != store.UUID {
			continue
		}
		var left, freed uint64
		for i, p := range t.reservation.lvols {
			missing := p.clusters - min(max(own[p.uuid], t.filled[i]), p.clusters)
			switch known, ok := images[p.image]; {
			case p.image == "":
				left += missing
			case named[p.image]: // it is there
			case !ok || missing < known.left:
				images[p.image] = fetched{p.clusters, missing}
			}
		}
		for _, uuid := range t.reservation.deletes {
			freed += own[uuid]
		}
		ofRun[t.reservation.run] = max(ofRun[t.reservation.run], left-min(freed, left))
	}
	for _, left := range ofRun {
		clusters += left
	}
	shared := images[image]
	delete(images, image)
	for _, f := range images {
		clusters += f.left
	}
	given = shared.clusters - shared.left
	return clusters - min(given, clusters), given - min(given, clusters), r.version
}

// reserve takes note of what a run needs, in place of what it needed by an earlier plan,
// unless others have begun since it was found to fit.
func (r *spaceLedger) reserve(n, old *reservation, version uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.version != version {
		return false
	}
	r.version++
	n.run = n
	if old != nil {
		n.run = old.run
	}
	r.reservations = append(slices.DeleteFunc(r.reservations, func(other *reservation) bool { return other == old }), n)
	return true
}

func (r *spaceLedger) release(n *reservation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reservations = slices.DeleteFunc(r.reservations, func(other *reservation) bool { return other == n })
}

// update changes what is known of the part of a need.
func (r *spaceLedger) update(n *reservation, target domain.Ref, change func(*reservedLvol)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n == nil {
		return
	}
	for _, p := range n.lvols {
		if p.target == target {
			change(p)
		}
	}
}

// left is how many clusters all that run there will take at the most, and how many of
// these the one.
func (r *spaceLedger) left(of *reservation) (all, one uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.reservations {
		if n.store != of.store || n.failing {
			continue
		}
		for _, p := range n.lvols {
			all += p.left()
			if n == of {
				one += p.left()
			}
		}
	}
	return all, one
}

// spaceCheckInterval is how often a store's room is looked at while it is filled. Others may be
// filling it, too, whom this process does not know of.
const spaceCheckInterval = time.Second

// check makes sure that what runs on a store still fits there, and the reserve besides.
// A look at the free clusters is enough as a rule; where it is close, or a copy has got
// further than is known, the store is listed.
func (r *spaceLedger) check(ctx context.Context, host *guard.Host, n *reservation) error {
	all, mine := r.left(n)
	if mine == 0 {
		return nil
	}
	if gauge, ok := ports.As[ports.Gauge](host); ok {
		free, err := gauge.FreeClusters(ctx)
		if err != nil || free >= all+n.reserve {
			return err
		}
	} else if !r.isDue(n) {
		return nil
	}
	for again := false; ; again = true {
		before := r.filled()
		store, err := host.List(ctx)
		if err != nil {
			return err
		}
		needed, waits, fits := r.fits(store, before, n, again)
		switch {
		case fits:
			return nil
		case waits:
			if err := retry.Wait(ctx, spaceCheckInterval); err != nil {
				return err
			}
		case again:
			return fmt.Errorf("lvstore %s has too little space left: what runs here still needs %d clusters and %d stay in reserve, but %d are free, since something else takes them: make room and run it again, what is finished is kept: %w",
				store.Name, needed, n.reserve, store.FreeClusters, ports.ErrNoSpace)
		}
	}
}

// isDue has a store that has to be listed for that looked at no more often than it is
// while a copy goes on: there may be many small ones.
func (r *spaceLedger) isDue(n *reservation) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(n.checked) < spaceCheckInterval {
		return false
	}
	n.checked = time.Now()
	return true
}

// fits reports whether all that runs on the store that is listed fits. Of several that
// do not fit together one gives up, and the others wait for what it gives back.
func (r *spaceLedger) fits(store domain.Listing, before []filledSoFar, n *reservation, giveUp bool) (needed uint64, waits, fits bool) {
	r.mu.Lock()
	before = slices.DeleteFunc(before, func(t filledSoFar) bool { return t.reservation.failing })
	r.mu.Unlock()
	needed, _, _ = r.demand(store, before, nil, "")
	if needed+n.reserve <= store.FreeClusters {
		return needed, false, true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, other := range r.reservations {
		waits = waits || other != n && other.store == n.store && other.failing
	}
	n.failing = n.failing || giveUp && !waits
	return needed, waits, false
}

// full tells that a store has no room.
func full(err error) bool { return errors.Is(err, ports.ErrNoSpace) }

// whileSpaceLasts does something that fills a store, and ends it where that runs out of room.
func (r *spaceLedger) whileSpaceLasts(ctx context.Context, host *guard.Host, n *reservation, fill func(ctx context.Context) error) error {
	filling, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for retry.Wait(filling, spaceCheckInterval) == nil {
			if err := r.check(filling, host, n); full(err) && filling.Err() == nil {
				cancel(err)
			}
		}
	}()
	err := fill(filling)
	if why := context.Cause(filling); err != nil && full(why) && ctx.Err() == nil {
		err = why
	}
	cancel(nil)
	<-watched
	return err
}
