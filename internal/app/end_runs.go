package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/app/guard"
	"github.com/rootgraft/rebuild/internal/ports"
)

// closeOpened closes everything that runs of a replica have opened. The caller has the
// replica alone and opens nothing itself.
func closeOpened(ctx context.Context, host *guard.Host, run ports.Run) error {
	return errors.Join(host.Release(ctx, run), executor.End(ctx, host, run))
}

// endCrashed closes everything that one crashed run has opened. Other runs of the replica
// may be alive. Some hosts can only end all runs of a replica at once: these are asked
// again for live runs first, since one may have begun.
func (e *Engine) endCrashed(ctx context.Context, host *guard.Host, run ports.Run, dead map[ports.Run]bool) error {
	if ender, ok := ports.As[ports.Ender](host); ok {
		return ender.End(ctx, run)
	}
	if collector, ok := ports.As[ports.Collector](host); ok {
		opened, err := collector.Opened(ctx)
		if err != nil {
			return fmt.Errorf("list exports and connections: %w", err)
		}
		for _, o := range opened {
			if o.Run.SameReplica(run) && !dead[o.Run] {
				return fmt.Errorf("run %s of replica %s has begun: %w", o.Run.ID, run.Replica, ports.ErrBusy)
			}
		}
	}
	return closeOpened(ctx, host, ports.Run{Replica: run.Replica, Store: run.Store, ID: executor.NewID()})
}

// endDeadRuns closes everything that crashed runs have opened on a host, such as exports
// for a verification of views. It reports whether there was any.
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
		err := all.take(e.leaseNow(ctx, host, runKey(o.Run), ports.Lease{Holder: "the end of a crashed run"}))
		if err == nil {
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
