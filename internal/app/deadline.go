package app

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// Every call of a port ends, also on a host that answers nobody (longhorn/longhorn
// #12406, #11332): a rebuild that waited for one for good would keep its place in
// the queue and its locks from all others. Adapters know their hosts better and
// give up sooner; these are for those that do not.
//
// What reads data takes as long as it takes, so it has no deadline of its own: its
// host is looked at meanwhile, and has to answer that.
const (
	callTime  = time.Minute     // what concerns one lvol
	storeTime = 5 * time.Minute // what takes longer the more there is
)

// bounded is a host whose calls end. It can all that a host can, as far as the
// one below can: see can.
type bounded struct {
	ports.Host

	known bool // it computes no checksums, and proves by those that are there already
}

var (
	_ ports.Counter      = (*bounded)(nil)
	_ ports.Prover       = (*bounded)(nil)
	_ ports.Recorder     = (*bounded)(nil)
	_ ports.Merger       = (*bounded)(nil)
	_ ports.Limiter      = (*bounded)(nil)
	_ ports.LeastLimiter = (*bounded)(nil)
	_ ports.Opener       = (*bounded)(nil)
	_ ports.Leaser       = (*bounded)(nil)
	_ ports.Collector    = (*bounded)(nil)
	_ ports.Ender        = (*bounded)(nil)
	_ ports.Identifier   = (*bounded)(nil)
	_ ports.Preparer     = (*bounded)(nil)
	_ ports.Gauge        = (*bounded)(nil)
)

// bound bounds the calls of a host; nil stays nil.
func bound(host ports.Host) ports.Host {
	if _, is := host.(*bounded); is || host == nil {
		return host
	}
	return &bounded{Host: host}
}

func (s Site) bounded() Site {
	s.Host = bound(s.Host)
	return s
}

// knowing is a Site whose host computes no checksums.
func (s Site) knowing() Site {
	if s = s.bounded(); s.Host != nil {
		s.Host = &bounded{Host: s.Host.(*bounded).Host, known: true}
	}
	return s
}

func (r Request) bounded() Request {
	bounded := Site.bounded
	if r.Options.NoChecksums {
		bounded = Site.knowing
	}
	r.Source, r.Destination = bounded(r.Source), bounded(r.Destination)
	r.MoreSources = slices.Clone(r.MoreSources)
	for i, site := range r.MoreSources {
		r.MoreSources[i] = bounded(site)
	}
	return r
}

// can is the host as something that not every host is.
func can[T any](host ports.Host) (T, bool) {
	var none T
	below := host
	if b, is := host.(*bounded); is {
		below = b.Host
	}
	if _, is := below.(T); !is {
		return none, false
	}
	it, is := host.(T)
	return it, is
}

// within ends a call after that time.
func within[T any](ctx context.Context, allowed time.Duration, call func(ctx context.Context) (T, error)) (T, error) {
	bounded, cancel := context.WithTimeout(ctx, allowed)
	defer cancel()
	value, err := call(bounded)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w: no answer within %v: %w: %w", ports.ErrUnavailable, allowed, context.DeadlineExceeded, err)
	}
	return value, err
}

// endWithin is within for a call that returns nothing but an error.
func endWithin(ctx context.Context, allowed time.Duration, call func(ctx context.Context) error) error {
	_, err := within(ctx, allowed, func(ctx context.Context) (struct{}, error) { return struct{}{}, call(ctx) })
	return err
}

// whileAnswering has a call go on for as long as the host answers looks at an lvol.
func whileAnswering(ctx context.Context, host ports.Host, uuid string, call func(ctx context.Context) error) error {
	watched, stop := watch(ctx, host, uuid)
	err := call(watched)
	if gone := context.Cause(watched); err != nil && gone != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w: %w", gone, err)
	}
	stop()
	return err
}

// List implements ports.Looker.
func (b *bounded) List(ctx context.Context) (domain.Listing, error) {
	return within(ctx, storeTime, b.Host.List)
}

// Look implements ports.Looker.
func (b *bounded) Look(ctx context.Context, uuid string) (domain.Lvol, error) {
	return within(ctx, callTime, func(ctx context.Context) (domain.Lvol, error) { return b.Host.Look(ctx, uuid) })
}

// Count implements ports.Counter.
func (b *bounded) Count(ctx context.Context, uuid string) (uint64, error) {
	return within(ctx, callTime, func(ctx context.Context) (uint64, error) {
		if counter, ok := b.Host.(ports.Counter); ok {
			return counter.Count(ctx, uuid)
		}
		l, err := b.Host.Look(ctx, uuid)
		return l.Own.Count, err
	})
}

// FreeClusters implements ports.Gauge.
func (b *bounded) FreeClusters(ctx context.Context) (uint64, error) {
	gauge, ok := b.Host.(ports.Gauge)
	if !ok {
		return 0, cannot("tell its room alone")
	}
	return within(ctx, callTime, gauge.FreeClusters)
}

// Create implements ports.Store.
func (b *bounded) Create(ctx context.Context, name string, size uint64) (string, error) {
	return within(ctx, callTime, func(ctx context.Context) (string, error) { return b.Host.Create(ctx, name, size) })
}

// Graft implements ports.Store.
func (b *bounded) Graft(ctx context.Context, uuid, parent string) error {
	return endWithin(ctx, callTime, func(ctx context.Context) error { return b.Host.Graft(ctx, uuid, parent) })
}

// PrepareGraft implements ports.Preparer.
func (b *bounded) PrepareGraft(ctx context.Context, run ports.Run, size uint64, parent string) error {
	return endWithin(ctx, callTime, func(ctx context.Context) error {
		return b.Host.(ports.Preparer).PrepareGraft(ctx, run, size, parent)
	})
}

// Seal implements ports.Store.
func (b *bounded) Seal(ctx context.Context, uuid, name string, seal ports.SealRecord) (string, error) {
	return within(ctx, callTime, func(ctx context.Context) (string, error) { return b.Host.Seal(ctx, uuid, name, seal) })
}

// Clone implements ports.Store.
func (b *bounded) Clone(ctx context.Context, snapshot, name string, size uint64, record string) (string, error) {
	return within(ctx, callTime, func(ctx context.Context) (string, error) {
		return b.Host.Clone(ctx, snapshot, name, size, record)
	})
}

// Delete implements ports.Store: what is large takes its time.
func (b *bounded) Delete(ctx context.Context, uuid string) error {
	return endWithin(ctx, storeTime, func(ctx context.Context) error { return b.Host.Delete(ctx, uuid) })
}

// Merge implements ports.Merger.
func (b *bounded) Merge(ctx context.Context, snapshot string) error {
	merger, ok := b.Host.(ports.Merger)
	if !ok {
		return cannot("merge snapshots")
	}
	return endWithin(ctx, storeTime, func(ctx context.Context) error { return merger.Merge(ctx, snapshot) })
}

// Snapshot implements ports.Snapshotter.
func (b *bounded) Snapshot(ctx context.Context, uuid, name string, attributes domain.Attributes) (string, error) {
	return within(ctx, callTime, func(ctx context.Context) (string, error) {
		return b.Host.Snapshot(ctx, uuid, name, attributes)
	})
}

// Record implements ports.Recorder.
func (b *bounded) Record(ctx context.Context, head, record string) error {
	recorder, ok := b.Host.(ports.Recorder)
	if !ok {
		return cannot("record anything")
	}
	return endWithin(ctx, callTime, func(ctx context.Context) error { return recorder.Record(ctx, head, record) })
}

// Prove implements ports.Prover. What is not known yet is read.
func (b *bounded) Prove(ctx context.Context, snapshots []string) (proven map[string]domain.Clusters, err error) {
	prover, ok := b.Host.(ports.Prover)
	if !ok {
		return nil, cannot("prove anything")
	}
	prove := prover.Prove
	if b.known {
		knows, ok := b.Host.(ports.KnownProver)
		if !ok {
			return map[string]domain.Clusters{}, nil
		}
		prove = knows.ProveKnown
	}
	if len(snapshots) == 0 {
		return prove(ctx, snapshots)
	}
	err = whileAnswering(ctx, b, snapshots[0], func(ctx context.Context) (err error) {
		proven, err = prove(ctx, snapshots)
		return err
	})
	return proven, err
}

// Peer implements ports.Copier.
func (b *bounded) Peer(ctx context.Context) (ports.Peer, error) {
	return within(ctx, callTime, b.Host.Peer)
}

// Receive implements ports.Copier.
func (b *bounded) Receive(ctx context.Context, run ports.Run, uuid string, from ports.Peer) (ports.Address, error) {
	return within(ctx, callTime, func(ctx context.Context) (ports.Address, error) {
		return b.Host.Receive(ctx, run, uuid, from)
	})
}

// Withdraw implements ports.Copier.
func (b *bounded) Withdraw(ctx context.Context, run ports.Run, uuid string) error {
	return endWithin(ctx, callTime, func(ctx context.Context) error { return b.Host.Withdraw(ctx, run, uuid) })
}

// Copy implements ports.Copier.
func (b *bounded) Copy(ctx context.Context, run ports.Run, snapshot string, to ports.Address, progress ports.Progress) error {
	return whileAnswering(ctx, b, snapshot, func(ctx context.Context) error {
		return b.Host.Copy(ctx, run, snapshot, to, progress)
	})
}

// Release implements ports.Copier.
func (b *bounded) Release(ctx context.Context, run ports.Run) error {
	return endWithin(ctx, callTime, func(ctx context.Context) error { return b.Host.Release(ctx, run) })
}

// Limit implements ports.Limiter.
func (b *bounded) Limit(ctx context.Context, uuid string, bytesPerSecond uint64) error {
	limiter, ok := b.Host.(ports.Limiter)
	if !ok {
		return cannot("limit bandwidth")
	}
	return endWithin(ctx, callTime, func(ctx context.Context) error { return limiter.Limit(ctx, uuid, bytesPerSecond) })
}

// LeastLimit implements ports.LeastLimiter; 0: the host keeps any rate.
func (b *bounded) LeastLimit() uint64 {
	if limiter, ok := b.Host.(ports.LeastLimiter); ok {
		return limiter.LeastLimit()
	}
	return 0
}

// Claim implements ports.Claimer.
func (b *bounded) Claim(ctx context.Context, name string) (release func(), err error) {
	claimer, ok := b.Host.(ports.Claimer)
	if !ok {
		return nil, cannot("tell processes from each other")
	}
	return within(ctx, callTime, func(ctx context.Context) (func(), error) { return claimer.Claim(ctx, name) })
}

// Lease implements ports.Leaser.
func (b *bounded) Lease(ctx context.Context, name string, lease ports.Lease) (release func(), err error) {
	leaser, ok := b.Host.(ports.Leaser)
	if !ok {
		return nil, cannot("tell who reads")
	}
	return within(ctx, callTime, func(ctx context.Context) (func(), error) { return leaser.Lease(ctx, name, lease) })
}

// Identity implements ports.Identifier.
func (b *bounded) Identity() (uuid, name string) { return b.Host.(ports.Identifier).Identity() }

// End implements ports.Ender.
func (b *bounded) End(ctx context.Context, run ports.Run) error {
	ender, ok := b.Host.(ports.Ender)
	if !ok {
		return cannot("end single runs")
	}
	return endWithin(ctx, callTime, func(ctx context.Context) error { return ender.End(ctx, run) })
}

// Opened implements ports.Collector.
func (b *bounded) Opened(ctx context.Context) ([]ports.Opened, error) {
	collector, ok := b.Host.(ports.Collector)
	if !ok {
		return nil, cannot("tell what is open")
	}
	return within(ctx, storeTime, collector.Opened)
}

// Open implements ports.Opener. The context that an lvol is opened with ends what
// was opened, so it goes on until that is closed, or the host answers no more.
func (b *bounded) Open(ctx context.Context, run ports.Run, uuid string) (ports.Bytes, error) {
	opener, ok := b.Host.(ports.Opener)
	if !ok {
		return nil, cannot("open lvols")
	}
	watched, stop := watch(ctx, b, uuid)
	opened, err := opener.Open(watched, run, uuid)
	if gone := context.Cause(watched); err != nil && gone != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w: %w", gone, err)
	}
	if err != nil {
		stop()
		return nil, err
	}
	return &watchedBytes{opened, stop}, nil
}

// watchedBytes are an lvol's bytes while its host answers.
type watchedBytes struct {
	ports.Bytes

	stop func()
}

// Close implements io.Closer.
func (b *watchedBytes) Close() error {
	err := b.Bytes.Close()
	b.stop()
	return err
}

func cannot(what string) error {
	return fmt.Errorf("this host does not %s: %w", what, ports.ErrUnsupported)
}
