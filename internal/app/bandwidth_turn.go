package app

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/rootgraft/rebuild/internal/app/retry"
	"github.com/rootgraft/rebuild/internal/ports"
)

// copySlot is the right of one copy to transfer.
//
// SPDK counts limits in whole MiB per second, so a host may keep no rate below a least
// one. More copies at that rate would exceed the limit. So only as many copies transfer as
// can each have the least rate, among all rebuilds that share a Bandwidth. The others wait
// for a slot, first come, first served.
type copySlot struct {
	least   uint64        // lowest rate that the host keeps; 0: any
	granted chan struct{} // closed when the copy may transfer
}

// fits is called with the lock held.
func (b *Bandwidth) fits(t *copySlot) bool {
	return b.rate == 0 || len(b.granted) == 0 || b.grantedRate+t.least <= b.rate
}

// grantSlots is called with the lock held, after every change that may make a slot free.
func (b *Bandwidth) grantSlots() {
	for len(b.waiting) > 0 && b.fits(b.waiting[0]) {
		next := b.waiting[0]
		b.waiting = b.waiting[1:]
		b.granted[next] = struct{}{}
		b.grantedRate += next.least
		close(next.granted)
	}
}

// acquireSlot waits for a slot.
func (b *Bandwidth) acquireSlot(ctx context.Context, least uint64) (end func(), err error) {
	t := &copySlot{least: least, granted: make(chan struct{})}
	b.mu.Lock()
	b.waiting = append(b.waiting, t)
	b.grantSlots()
	b.mu.Unlock()
	end = func() { b.releaseSlot(t) }
	forWhat := func() string { return "other copies: the bandwidth allows no more at once" }
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

// slotsAtLeast is the number of copies at once at the least rate, up to most.
func (b *Bandwidth) slotsAtLeast(least uint64, most int) int {
	rate := b.Rate()
	if rate == 0 || least == 0 {
		return most
	}
	return int(min(max(rate/least, 1), uint64(most)))
}

// allowed are the limits of copies from a source, each once. Their order is the same for
// all, so that nobody waits in a circle.
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

// copiesAtOnce is the number of copies that the rebuild's limits allow, without other
// rebuilds.
func (r request) copiesAtOnce() int {
	most := r.parallel()
	for _, b := range r.Bandwidth {
		most = b.slotsAtLeast(r.leastRate(), most)
	}
	return most
}

// leastRate is the lowest rate that the destination keeps, in bytes per second; 0: any.
func (r request) leastRate() uint64 {
	if limiter, ok := ports.As[ports.LeastLimiter](r.Destination.Host); ok {
		return limiter.LeastLimit()
	}
	return 0
}

// checkLeastRate refuses a limit that a single copy would exceed.
func (r request) checkLeastRate(b *Bandwidth) error {
	if rate, least := b.Rate(), r.leastRate(); rate > 0 && rate < least {
		return &refusal{fmt.Errorf("a bandwidth of %d bytes per second is too low: the host of replica %s keeps no limit below %d", rate, r.Destination.Replica, least)}
	}
	return nil
}
