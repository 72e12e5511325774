package guard

import (
	"context"
	"fmt"

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
	gauge, err := optional[ports.Gauge](g, "report its free space alone")
	if err != nil {
		return 0, err
	}
	return within(ctx, g, callTime, gauge.FreeClusters)
}

// PrepareGraft implements ports.Preparer.
func (g *Host) PrepareGraft(ctx context.Context, run ports.Run, size uint64, parent string) error {
	preparer, err := optional[ports.Preparer](g, "prepare grafts")
	if err != nil {
		return err
	}
	return withinErr(ctx, g, func(ctx context.Context) error {
		return preparer.PrepareGraft(ctx, run, size, parent)
	})
}

// Merge implements ports.Merger.
func (g *Host) Merge(ctx context.Context, snapshot string) error {
	merger, err := optional[ports.Merger](g, "merge snapshots")
	if err != nil {
		return err
	}
	return patientErr(ctx, g, storeTime, func(ctx context.Context) error { return merger.Merge(ctx, snapshot) })
}

// Rename implements ports.Renamer.
func (g *Host) Rename(ctx context.Context, uuid, name string) error {
	renamer, err := optional[ports.Renamer](g, "rename lvols")
	if err != nil {
		return err
	}
	return patientErr(ctx, g, callTime, func(ctx context.Context) error { return renamer.Rename(ctx, uuid, name) })
}

// Record implements ports.Recorder.
func (g *Host) Record(ctx context.Context, head, record string) error {
	recorder, err := optional[ports.Recorder](g, "keep records")
	if err != nil {
		return err
	}
	return patientErr(ctx, g, callTime, func(ctx context.Context) error { return recorder.Record(ctx, head, record) })
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
	limiter, err := optional[ports.Limiter](g, "limit bandwidth")
	if err != nil {
		return err
	}
	return patientErr(ctx, g, callTime, func(ctx context.Context) error { return limiter.Limit(ctx, uuid, bytesPerSecond) })
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
	claimer, err := optional[ports.Claimer](g, "tell processes apart")
	if err != nil {
		return nil, err
	}
	return within(ctx, g, callTime, func(ctx context.Context) (func(), error) { return claimer.Claim(ctx, name) })
}

// Lease implements ports.Leaser.
func (g *Host) Lease(ctx context.Context, name string, lease ports.Lease) (release func(), err error) {
	leaser, err := optional[ports.Leaser](g, "share leases")
	if err != nil {
		return nil, err
	}
	return within(ctx, g, callTime, func(ctx context.Context) (func(), error) { return leaser.Lease(ctx, name, lease) })
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
	ender, err := optional[ports.Ender](g, "end single runs")
	if err != nil {
		return err
	}
	return withinErr(ctx, g, func(ctx context.Context) error { return ender.End(ctx, run) })
}

// Opened implements ports.Collector.
func (g *Host) Opened(ctx context.Context) ([]ports.Opened, error) {
	collector, err := optional[ports.Collector](g, "list exports and connections")
	if err != nil {
		return nil, err
	}
	return within(ctx, g, storeTime, collector.Opened)
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
