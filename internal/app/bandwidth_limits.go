package app

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/app/retry"
	"github.com/rootgraft/rebuild/internal/ports"
	"github.com/rootgraft/rebuild/internal/table"
)

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

// limits implements executor.Limits for one rebuild.
type limits struct {
	request request
	run     *executor.Run
	log     *zap.Logger

	limited table.Map[string, bool] // by UUID
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
	case l.limited.Get(uuid):
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

func (l *limits) limit(ctx context.Context, uuid string, rate uint64) error {
	limiter, ok := ports.As[ports.Limiter](l.request.Destination.Host)
	if !ok {
		return fmt.Errorf("%w: the destination cannot limit a copy to %d bytes per second", ports.ErrUnsupported, rate)
	}
	l.limited.Set(uuid, true)
	return limiter.Limit(ctx, uuid, rate)
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
