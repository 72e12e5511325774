package app

import (
	"math"
	"sync"
	"sync/atomic"
)

// Bandwidth limits the copies of all rebuilds that have it in their Request, in bytes per
// second. The active copies have equal shares. If a host cannot keep a rate as low as one
// share (LeastLimiter), fewer lvols are filled at a time. A lower rate does not interrupt
// active copies.
type Bandwidth struct {
	id uint64 // unique, for a fixed order

	mu     sync.Mutex
	rate   uint64
	copies map[*limitedCopy]struct{}

	granted     map[*copySlot]struct{} // copies that may transfer
	grantedRate uint64                 // sum of their least rates
	waiting     []*copySlot            // first come, first served
}

// bandwidths counts them, for their ids.
var bandwidths atomic.Uint64

// NewBandwidth makes a limit in bytes per second; 0 is no limit.
func NewBandwidth(bytesPerSecond uint64) *Bandwidth {
	return &Bandwidth{id: bandwidths.Add(1), rate: bytesPerSecond, copies: make(map[*limitedCopy]struct{}), granted: make(map[*copySlot]struct{})}
}

// Set changes the limit in bytes per second, also for active copies; 0 is no limit.
func (b *Bandwidth) Set(bytesPerSecond uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rate = bytesPerSecond
	b.grantSlots()
	b.notifyShares()
}

// Rate returns the limit in bytes per second; 0 is no limit.
func (b *Bandwidth) Rate() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rate
}

// share is the rate of one copy; 0: no limit.
func (b *Bandwidth) share() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rate == 0 {
		return 0
	}
	return max(b.rate/uint64(max(len(b.copies), 1)), 1)
}

func (b *Bandwidth) join(f *limitedCopy) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.copies[f] = struct{}{}
	b.sharesChanged()
}

func (b *Bandwidth) leave(f *limitedCopy) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.copies, f)
	b.sharesChanged()
}

func (b *Bandwidth) sharesChanged() {
	if b.rate > 0 {
		b.notifyShares()
	}
}

func (b *Bandwidth) notifyShares() {
	for f := range b.copies {
		f.notifyShare()
	}
}

// unknownRate differs from every share.
const unknownRate = math.MaxUint64

// limitedCopy is a copy whose limit follows its share. Most copies never have a limit, so
// a goroutine runs only while a share changes.
type limitedCopy struct {
	limits []*Bandwidth
	adjust func() // sets the limit to the current share

	mu        sync.Mutex
	adjusting bool
	changed   bool // the share may have changed since adjust began
	ended     bool
	all       sync.WaitGroup
}

// notifyShare is called when the share may have changed.
func (f *limitedCopy) notifyShare() {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.ended:
	case f.adjusting:
		f.changed = true
	default:
		f.adjusting = true
		f.all.Go(f.adjustAll)
	}
}

func (f *limitedCopy) adjustAll() {
	for more := true; more; {
		f.adjust()
		f.mu.Lock()
		more = f.changed && !f.ended
		f.changed, f.adjusting = false, more
		f.mu.Unlock()
	}
}

// end waits for the last adjustment.
func (f *limitedCopy) end() {
	f.mu.Lock()
	f.ended = true
	f.mu.Unlock()
	f.all.Wait()
}

// share is the smallest share of all limits; 0: no limit.
func (f *limitedCopy) share() (least uint64) {
	for _, b := range f.limits {
		if share := b.share(); share > 0 && (least == 0 || share < least) {
			least = share
		}
	}
	return least
}

func (f *limitedCopy) leave() {
	for _, b := range f.limits {
		b.leave(f)
	}
}

// startAdjusting makes the limit follow the share from now on.
func (f *limitedCopy) startAdjusting(changes bool) {
	f.mu.Lock()
	changes = changes || f.changed
	f.adjusting, f.changed = false, false
	f.mu.Unlock()
	if changes {
		f.notifyShare()
	}
}
