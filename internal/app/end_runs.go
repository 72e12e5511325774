package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/app/guard"
	"github.com/rootgraft/rebuild/internal/ports"
)

// How what runs have opened is closed by others than themselves.

// closeOpened ends whatever runs of a replica have opened, for one that has the
// replica alone and opens nothing itself: the first Release removes what earlier
// ones have left.
func closeOpened(ctx context.Context, host *guard.Host, run ports.Run) error {
	return errors.Join(host.Release(ctx, run), executor.End(ctx, host, run))
}

// endCrashed ends what one run has opened whose process is dead. Others of the same
// replica may live. A host that ends all of a replica's at once is asked again what
// there is: a run may have begun since.
func (e *Engine) endCrashed(ctx context.Context, host *guard.Host, run ports.Run, dead map[ports.Run]bool) error {
	if ender, ok := ports.As[ports.Ender](host); ok {
		return ender.End(ctx, run)
	}
	if collector, ok := ports.As[ports.Collector](host); ok {
		opened, err := collector.Opened(ctx)
		if err != nil {
			return fmt.Errorf("list what runs have opened: %w", err)
		}
		for _, o := range opened {
			if o.Run.SameReplica(run) && !dead[o.Run] {
				return fmt.Errorf("run %s of replica %s has begun: %w", o.Run.ID, run.Replica, ports.ErrBusy)
			}
		}
	}
	return closeOpened(ctx, host, ports.Run{Replica: run.Replica, Store: run.Store, ID: executor.NewID()})
}

// endDeadRuns ends what crashed runs have open on a host: the verification of its
// views, perhaps, in which their engine died. It reports whether there was any.
func (e *Engine) endDeadRuns(ctx context.Context, host *guard.Host) (ended bool) {
	collector, ok := ports.As[ports.Collector](host)
	if !ok {
		return false
	}
	opened, err := collector.Opened(ctx)
	if err != nil {
		return false
	}
	var all releases
	defer all.release()
	dead, asked := make(map[ports.Run]bool), make(map[ports.Run]bool)
	for _, o := range opened {
		if asked[o.Run] {
			continue
		}
		asked[o.Run] = true
		release, err := e.leaseNow(ctx, host, runKey(o.Run), ports.Lease{Holder: "the end of a crashed run"})
		if err == nil {
			all.add(release)
			dead[o.Run] = true
		}
	}
	for run := range dead {
		if e.endCrashed(ctx, host, run, dead) == nil {
			ended = true
		}
	}
	return ended
}
