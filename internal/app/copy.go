package app

import (
	"context"
	"fmt"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// copy fills an lvol in flight with the own clusters of a source snapshot.
func (x *execution) copy(ctx context.Context, host ports.Host, i int, o domain.Operation) error {
	from, uuid := x.request.Source.Host, x.uuid(o.Target)

	if err := x.lockSource(ctx, o.Source.UUID); err != nil {
		return err
	}
	x.setReceived(uuid, true)
	var address ports.Address
	err := x.atOnce(
		func() error { return x.lookBeforeCopy(ctx, uuid, o.Source) },
		func() (err error) { address, err = host.Receive(ctx, x.run, uuid, x.peer); return err },
	)
	if err != nil {
		return err
	}
	free, err := x.holdBack(ctx, host, uuid)
	if err != nil {
		return err
	}
	defer free()
	err = whileAnswering(ctx, host, uuid, func(ctx context.Context) error {
		return patiently(ctx, func() error {
			return from.Copy(ctx, x.run, o.Source.UUID, address, func(done, _ uint64) { x.progress.copying(i, x.subject[i], done) })
		})
	})
	if err != nil {
		return err // the clean-up withdraws
	}
	// Done again by itself: all is copied, and that is what takes time.
	err = insist(ctx, quietly, func(int) error { return host.Withdraw(ctx, x.run, uuid) })
	if err != nil {
		return fmt.Errorf("stop receiving: %w", err)
	}
	x.setReceived(uuid, false)
	x.unlockSources(o.Source.UUID)
	x.progress.copying(i, x.subject[i], o.Source.Clusters)
	return x.play(o)
}

// lockSource has copies of one snapshot come one after the other, and its deletion
// after them. A copy that failed may go on, on the target, until what receives it
// is withdrawn: the lock is kept for another attempt, and given back by the clean-up.
func (x *execution) lockSource(ctx context.Context, uuid string) error {
	x.mu.Lock()
	_, held := x.sources[uuid]
	x.mu.Unlock()
	if held {
		return nil
	}
	release, err := x.lockLvol(ctx, x.seen.source.Store, uuid)
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.sources[uuid] = release
	return nil
}

// unlockSources gives the locks back of those that are not copied any more.
func (x *execution) unlockSources(uuids ...string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, uuid := range uuids {
		if release, held := x.sources[uuid]; held {
			delete(x.sources, uuid)
			release()
		}
	}
}

func (x *execution) lookBeforeCopy(ctx context.Context, uuid string, planned domain.Origin) error {
	now, err := x.countSource(ctx, planned.UUID)
	if err != nil {
		return err
	}
	if now != planned.Clusters {
		return fmt.Errorf("%w: the source's snapshot has %d clusters of its own now, %d when it was planned", errPlanAgain, now, planned.Clusters)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.begun[uuid] = source{uuid: planned.UUID, clusters: now}
	return nil
}

func (x *execution) setReceived(uuid string, is bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if is {
		x.received[uuid] = true
	} else {
		delete(x.received, uuid)
	}
}
