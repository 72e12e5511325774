package app

import (
	"context"

	"github.com/rootgraft/rebuild/internal/ports"
)

// Hold leases replicas exclusively while their owner changes them itself, as an expansion or a
// revert of the whole volume does. what describes the change for those that are refused
// meanwhile.
func (e *Engine) Hold(ctx context.Context, what string, replicas ...Site) (release func(), err error) {
	var all releases
	for _, where := range replicas {
		if err := all.take(e.leaseReplica(ctx, where.guarded(), ports.Lease{Holder: what})); err != nil {
			return all.unless(err)
		}
	}
	return all.release, nil
}
