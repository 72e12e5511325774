package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rootgraft/rebuild/internal/app/guard"
	"github.com/rootgraft/rebuild/internal/app/retry"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// left is the most that all runs on a store will still take, and the part of one of them.
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

// spaceCheckInterval is the time between two checks of a store that is being filled. Other
// processes may fill it, too.
const spaceCheckInterval = time.Second

// check checks that all runs on a store still fit there, with the reserve. The number of
// free clusters mostly suffices; the store is listed if they seem too few.
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
			return fmt.Errorf("lvstore %s has too little space left: running rebuilds and imports still need %d clusters and %d stay in reserve, but only %d are free: free some space and run it again, finished work is kept: %w",
				store.Name, needed, n.reserve, store.FreeClusters, ports.ErrNoSpace)
		}
	}
}

// isDue limits the rate of checks on a host that has to list its store for each: there may
// be many small copies.
func (r *spaceLedger) isDue(n *reservation) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(n.checked) < spaceCheckInterval {
		return false
	}
	n.checked = time.Now()
	return true
}

// fits reports whether all runs on a listed store fit. Of several runs that do not fit
// together, one fails, and the others wait for the space that it frees.
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

func full(err error) bool { return errors.Is(err, ports.ErrNoSpace) }

// whileSpaceLasts calls fill, and ends it if the store runs out of space.
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
