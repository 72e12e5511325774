package app

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/app/retry"
	"github.com/rootgraft/rebuild/internal/ports"
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

// limits implements executor.Limits for one rebuild.
type limits struct {
	request request
	run     *executor.Run
	log     *zap.Logger

	mu      sync.Mutex
	limited map[string]bool // by UUID
}

// Copies implements executor.Limits.
func (l *limits) Copies() int { return l.request.copiesAtOnce() }

// Limit implements executor.Limits. The limit is set when it returns.
func (l *limits) Limit(ctx context.Context, uuid string, from int) (release func(), err error) {
	allowed := l.request.allowed(from)
	if len(allowed) == 0 {
		return func() {}, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	// The share is not followed before the limit is set.
	f := &limitedCopy{limits: allowed, adjusting: true}
	for _, b := range f.limits {
		b.join(f)
	}
	now, changes := f.share(), false
	switch {
	case l.isLimited(uuid):
		// By an earlier attempt. Upstream SPDK changes a limit only while
		// the lvol is open, so this one is changed when the copy goes on.
		now, changes = unknownRate, true
	case now > 0:
		if err := l.limit(ctx, uuid, now); err != nil {
			f.leave()
			cancel()
			return nil, err
		}
	}
	f.adjust = func() { now = l.adjust(ctx, uuid, f, now) }
	f.startAdjusting(changes)
	return func() {
		f.leave()
		cancel()
		f.end()
	}, nil
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

// adjustPause is the pause between two attempts to change a limit.
const adjustPause = time.Second

// adjust sets the limit to the share, and returns it. If the host refuses, it tries again
// for as long as the copy goes on.
func (l *limits) adjust(ctx context.Context, uuid string, f *limitedCopy, now uint64) uint64 {
	for share := f.share(); share != now && ctx.Err() == nil; share = f.share() {
		err := l.limit(ctx, uuid, share)
		if err == nil {
			now = share
			continue
		}
		if ctx.Err() != nil {
			break
		}
		l.log.Warn("bandwidth limit not changed", zap.String("replica", l.run.Replica), zap.Uint64("bytesPerSecond", share), zap.Error(err))
		if retry.Wait(ctx, adjustPause) != nil {
			break
		}
	}
	return now
}

func (l *limits) limit(ctx context.Context, uuid string, rate uint64) error {
	limiter, ok := ports.As[ports.Limiter](l.request.Destination.Host)
	if !ok {
		return fmt.Errorf("%w: the destination cannot limit a copy to %d bytes per second", ports.ErrUnsupported, rate)
	}
	l.mu.Lock()
	l.limited[uuid] = true
	l.mu.Unlock()
	return limiter.Limit(ctx, uuid, rate)
}

func (l *limits) isLimited(uuid string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.limited[uuid]
}

// checkBandwidth refuses a limit that the destination cannot keep.
func (r request) checkBandwidth() error {
	for _, b := range slices.Concat(r.Bandwidth, r.perSource) {
		if b == nil {
			return refusef("a bandwidth limit is nil: use NewBandwidth")
		}
		if _, ok := ports.As[ports.Limiter](r.Destination.Host); !ok && b.Rate() > 0 {
			return refusef("the host of replica %s cannot limit the bandwidth of copies to it", r.Destination.Replica)
		}
		if err := r.checkLeastRate(b); err != nil {
			return err
		}
	}
	return nil
}
