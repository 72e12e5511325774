package app

import (
	"context"
	"slices"

	"github.com/rootgraft/rebuild/internal/app/retry"
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
