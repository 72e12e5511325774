package app

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/rootgraft/rebuild/internal/app/retry"
	"github.com/rootgraft/rebuild/internal/ports"
)

// A host may keep no rate below a least one; SPDK counts whole MiB a second. So
// only as many lvols are filled at a time as can have that each, among all rebuilds
// that share a Bandwidth, or the limit would be exceeded. The others wait for their
// turn, first come first served.

// copySlot is the right of a copy to go on.
type copySlot struct {
	least   uint64        // the lowest rate that it can be held at; 0: any
	granted chan struct{} // closed when it is its turn
}

// fits is called with the lock held.
func (b *Bandwidth) fits(t *copySlot) bool {
	return b.rate == 0 || len(b.granted) == 0 || b.grantedRate+t.least <= b.rate
}

// grantSlots is called with the lock held, after whatever may have made room.
func (b *Bandwidth) grantSlots() {
	for len(b.waiting) > 0 && b.fits(b.waiting[0]) {
		next := b.waiting[0]
		b.waiting = b.waiting[1:]
		b.granted[next] = struct{}{}
		b.grantedRate += next.least
		close(next.granted)
	}
}

// acquireSlot waits for a turn.
func (b *Bandwidth) acquireSlot(ctx context.Context, least uint64) (end func(), err error) {
	t := &copySlot{least: least, granted: make(chan struct{})}
	b.mu.Lock()
	b.waiting = append(b.waiting, t)
	b.grantSlots()
	b.mu.Unlock()
	end = func() { b.releaseSlot(t) }
	forWhat := func() string { return "other copies: the bandwidth is enough for no more at a time" }
	err = retry.While(ctx, forWhat, func() error {
		select {
		case <-t.granted:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	if err != nil {
		end()
		return nil, err
	}
	return end, nil
}

func (b *Bandwidth) releaseSlot(t *copySlot) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, given := b.granted[t]; given {
		delete(b.granted, t)
		b.grantedRate -= t.least
	} else {
		b.waiting = slices.DeleteFunc(b.waiting, func(other *copySlot) bool { return other == t })
	}
	b.grantSlots()
}

// slotsAtLeast is how many copies there may be at once of those that can be held at the
// least rate, up to most.
func (b *Bandwidth) slotsAtLeast(least uint64, most int) int {
	rate := b.Rate()
	if rate == 0 || least == 0 {
		return most
	}
	return int(min(max(rate/least, 1), uint64(most)))
}

// allowed are the limits of what is copied from a source, each once, in an order
// that is the same for all who wait for several.
func (r request) allowed(from int) []*Bandwidth {
	allowed := slices.Clone(r.Bandwidth)
	if from < len(r.perSource) {
		allowed = append(allowed, r.perSource[from])
	}
	slices.SortFunc(allowed, func(a, b *Bandwidth) int { return cmp.Compare(a.id, b.id) })
	return slices.Compact(allowed)
}

// Slot implements executor.Limits: it waits for all limits.
func (l *limits) Slot(ctx context.Context, from int) (end func(), err error) {
	var ends []func()
	end = func() {
		for _, end := range ends {
			end()
		}
	}
	for _, b := range l.request.allowed(from) {
		one, err := b.acquireSlot(ctx, l.request.leastRate())
		if err != nil {
			end()
			return nil, err
		}
		ends = append(ends, one)
	}
	return end, nil
}

// copiesAtOnce is how many copies the rebuild's own limits have room for. What others
// use of them is waited for.
func (r request) copiesAtOnce() int {
	most := r.parallel()
	for _, b := range r.Bandwidth {
		most = b.slotsAtLeast(r.leastRate(), most)
	}
	return most
}

// leastRate is the lowest rate that the destination keeps; 0: any.
func (r request) leastRate() uint64 {
	if limiter, ok := ports.As[ports.LeastLimiter](r.Destination.Host); ok {
		return limiter.LeastLimit()
	}
	return 0
}

// checkLeastRate refuses a limit that a single copy would exceed.
func (r request) checkLeastRate(b *Bandwidth) error {
	if rate, least := b.Rate(), r.leastRate(); rate > 0 && rate < least {
		return &refusal{fmt.Errorf("a bandwidth of %d bytes per second cannot be kept: the host of replica %s keeps none below %d, so allow at least that", rate, r.Destination.Replica, least)}
	}
	return nil
}
