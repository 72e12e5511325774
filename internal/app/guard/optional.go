package guard

import (
	"context"
	"fmt"
	"time"

	"github.com/rootgraft/rebuild/internal/app/retry"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// optional is the wrapped host as an optional interface. what describes it for the error.
func optional[T any](g *Host, what string) (T, error) {
	it, ok := ports.As[T](g.Host)
	if !ok {
		return it, ports.Cannot(what)
	}
	return it, nil
}

// withinAs is within for a method of an optional interface. what describes the capability for
// the error.
func withinAs[P, T any](ctx context.Context, g *Host, allowed time.Duration, what string, call func(context.Context, P) (T, error)) (result T, err error) {
	port, err := optional[P](g, what)
	if err != nil {
		return result, err
	}
	return within(ctx, g, allowed, func(ctx context.Context) (T, error) { return call(ctx, port) })
}

// withinErrAs is withinErr for a method of an optional interface.
func withinErrAs[P any](ctx context.Context, g *Host, what string, call func(context.Context, P) error) error {
	_, err := withinAs(ctx, g, callTime, what, func(ctx context.Context, port P) (struct{}, error) { return struct{}{}, call(ctx, port) })
	return err
}

// patientAs is patientErr for a method of an optional interface.
func patientAs[P any](ctx context.Context, g *Host, allowed time.Duration, what string, call func(context.Context, P) error) error {
	port, err := optional[P](g, what)
	if err != nil {
		return err
	}
	return patientErr(ctx, g, allowed, func(ctx context.Context) error { return call(ctx, port) })
}

// Count implements ports.Counter.
func (g *Host) Count(ctx context.Context, uuid string) (uint64, error) {
	return within(ctx, g, callTime, func(ctx context.Context) (uint64, error) {
		if counter, ok := ports.As[ports.Counter](g.Host); ok {
			return counter.Count(ctx, uuid)
		}
		l, err := g.Host.Look(ctx, uuid)
		return l.Own.Count, err
	})
}

// FreeClusters implements ports.Gauge.
func (g *Host) FreeClusters(ctx context.Context) (uint64, error) {
	return withinAs(ctx, g, callTime, "report its free space alone", func(ctx context.Context, gauge ports.Gauge) (uint64, error) {
		return gauge.FreeClusters(ctx)
	})
}

// PrepareGraft implements ports.Preparer.
func (g *Host) PrepareGraft(ctx context.Context, run ports.Run, size uint64, parent string) error {
	return withinErrAs(ctx, g, "prepare grafts", func(ctx context.Context, preparer ports.Preparer) error {
		return preparer.PrepareGraft(ctx, run, size, parent)
	})
}

// Merge implements ports.Merger.
func (g *Host) Merge(ctx context.Context, snapshot string) error {
	return patientAs(ctx, g, storeTime, "merge snapshots", func(ctx context.Context, merger ports.Merger) error {
		return merger.Merge(ctx, snapshot)
	})
}

// Rename implements ports.Renamer.
func (g *Host) Rename(ctx context.Context, uuid, name string) error {
	return patientAs(ctx, g, callTime, "rename lvols", func(ctx context.Context, renamer ports.Renamer) error {
		return renamer.Rename(ctx, uuid, name)
	})
}

// Record implements ports.Recorder.
func (g *Host) Record(ctx context.Context, head, record string) error {
	return patientAs(ctx, g, callTime, "keep records", func(ctx context.Context, recorder ports.Recorder) error {
		return recorder.Record(ctx, head, record)
	})
}

// Prove implements ports.Prover. The host may read data to compute checksums.
func (g *Host) Prove(ctx context.Context, snapshots []string) (proven map[string]domain.Clusters, err error) {
	prover, err := optional[ports.Prover](g, "prove snapshots")
	if err != nil {
		return nil, err
	}
	prove := prover.Prove
	if g.knownProofs {
		knows, ok := ports.As[ports.KnownProver](g.Host)
		if !ok {
			return map[string]domain.Clusters{}, nil
		}
		prove = knows.ProveKnown
	}
	if len(snapshots) == 0 {
		return prove(ctx, snapshots)
	}
	using, end := g.Using(ctx)
	defer end()
	err = retry.Busy.Call(using, func() error {
		return WhileAnswering(using, g, snapshots[0], func(ctx context.Context) (err error) {
			proven, err = prove(ctx, snapshots)
			return err
		})
	})
	return proven, orNotUsed(using, err)
}

// Limit implements ports.Limiter.
func (g *Host) Limit(ctx context.Context, uuid string, bytesPerSecond uint64) error {
	return patientAs(ctx, g, callTime, "limit bandwidth", func(ctx context.Context, limiter ports.Limiter) error {
		return limiter.Limit(ctx, uuid, bytesPerSecond)
	})
}

// LeastLimit implements ports.LeastLimiter; 0: the host keeps any rate.
func (g *Host) LeastLimit() uint64 {
	if limiter, ok := ports.As[ports.LeastLimiter](g.Host); ok {
		return limiter.LeastLimit()
	}
	return 0
}

// Claim implements ports.Claimer.
func (g *Host) Claim(ctx context.Context, name string) (release func(), err error) {
	return withinAs(ctx, g, callTime, "tell processes apart", func(ctx context.Context, claimer ports.Claimer) (func(), error) {
		return claimer.Claim(ctx, name)
	})
}

// Lease implements ports.Leaser.
func (g *Host) Lease(ctx context.Context, name string, lease ports.Lease) (release func(), err error) {
	return withinAs(ctx, g, callTime, "share leases", func(ctx context.Context, leaser ports.Leaser) (func(), error) {
		return leaser.Lease(ctx, name, lease)
	})
}

// Identity implements ports.Identifier; both are "" if the wrapped host is none.
func (g *Host) Identity() (uuid, name string) {
	if identifier, ok := ports.As[ports.Identifier](g.Host); ok {
		return identifier.Identity()
	}
	return "", ""
}

// End implements ports.Ender.
func (g *Host) End(ctx context.Context, run ports.Run) error {
	return withinErrAs(ctx, g, "end single runs", func(ctx context.Context, ender ports.Ender) error { return ender.End(ctx, run) })
}

// Opened implements ports.Collector.
func (g *Host) Opened(ctx context.Context) ([]ports.Opened, error) {
	return withinAs(ctx, g, storeTime, "list exports and connections", func(ctx context.Context, collector ports.Collector) ([]ports.Opened, error) {
		return collector.Opened(ctx)
	})
}

// Open implements ports.Opener. The end of the context closes the lvol, so the context
// lives until Close, or until the host stops answering.
func (g *Host) Open(ctx context.Context, run ports.Run, uuid string) (ports.Bytes, error) {
	opener, err := optional[ports.Opener](g, "open lvols")
	if err != nil {
		return nil, err
	}
	using, end := g.Using(ctx)
	watched, stop := watch(using, g, uuid)
	opened, err := opener.Open(watched, run, uuid)
	if gone := context.Cause(watched); err != nil && gone != nil && using.Err() == nil {
		err = fmt.Errorf("%w: %w", gone, err)
	}
	if err != nil {
		stop()
		end()
		return nil, orNotUsed(using, err)
	}
	return &watchedBytes{opened, func() { stop(); end() }}, nil
}

// watchedBytes watches the host of an open lvol.
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
