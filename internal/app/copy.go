package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// copy fills an lvol in flight with the own clusters of a source's snapshot.
func (x *execution) copy(ctx context.Context, host ports.Host, i int, o domain.Operation) error {
	from, left, end, err := x.pick(o)
	if err != nil {
		return err
	}
	defer end()
	if x.sources.whyLost(from.at) != nil {
		return ofSource(from.at, errNotUsed)
	}
	uuid := x.uuid(o.Target)

	if err := x.lockSource(ctx, from); err != nil {
		return err
	}
	endTurns, err := x.takeTurns(ctx, from.at)
	if err != nil {
		return err
	}
	defer endTurns()
	peer, err := x.peer(ctx, from.at)
	if err != nil {
		return err
	}
	x.setReceived(uuid, true)
	var address ports.Address
	err = x.atOnce(
		func() error { return x.lookBeforeCopy(ctx, o, from) },
		func() (err error) { address, err = host.Receive(ctx, x.run, uuid, peer); return err },
		func() error { return x.engine.room.check(ctx, host, x.need) },
	)
	if err != nil {
		return err
	}
	if err := x.awaitPrepared(ctx); err != nil {
		return err
	}
	free, err := x.holdBack(ctx, host, uuid, from.at)
	if err != nil {
		return err
	}
	defer free()
	progress := func(done, _ uint64) {
		left(from.origin.Clusters - min(done, from.origin.Clusters))
		x.filled(o, done)
		x.progress.copying(i, x.subject[i], x.servedBy(o), done)
	}
	err = x.engine.room.whileRoom(ctx, host, x.need, func(ctx context.Context) error {
		return whileAnswering(ctx, host, uuid, func(ctx context.Context) error {
			err := x.whileUsed(ctx, from.at, func(ctx context.Context) error {
				return patiently(ctx, func() error { return x.sources.host(from.at).Copy(ctx, x.run, from.origin.UUID, address, progress) })
			})
			if errors.Is(err, ports.ErrNotFound) {
				if _, gone := x.countSource(ctx, from); errors.Is(gone, errPlanAgain) {
					err = gone
				}
			}
			return x.blame(ctx, from, uuid, err)
		})
	})
	if err != nil {
		return err // the clean-up withdraws
	}
	x.filled(o, o.Source.Clusters)
	// Done again by itself: all is copied, and that is what takes time.
	err = insist(ctx, quietly, func(int) error { return host.Withdraw(ctx, x.run, uuid) })
	if err != nil {
		return fmt.Errorf("stop receiving: %w", err)
	}
	x.setReceived(uuid, false)
	if err := x.lookAfterCopy(ctx, host, uuid, from, o.Source); err != nil {
		return err
	}
	x.unlockSources(from)
	x.progress.copying(i, x.subject[i], x.servedBy(o), o.Source.Clusters)
	x.sources.didServe(from.at, served{x.subject[i], from.origin.Clusters * x.seen.source.Store.ClusterSize})
	return x.play(o)
}

// filled is how far a copy is.
func (x *execution) filled(o domain.Operation, clusters uint64) {
	x.engine.room.note(x.need, o.Target, func(p *part) { p.filled = clusters })
}

// lockSource has copies of one snapshot come one after the other, and its deletion
// after them. A copy that failed may go on, on the target, until what receives it
// is withdrawn: the lock is kept for another attempt, and given back by the clean-up.
func (x *execution) lockSource(ctx context.Context, from offer) error {
	x.mu.Lock()
	_, held := x.copiedFrom[from]
	x.mu.Unlock()
	if held {
		return nil
	}
	release, err := x.lockLvol(ctx, x.storeOf(from.at), from.origin.UUID)
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.copiedFrom[from] = release
	return nil
}

// unlockSources gives the locks back of those that are not copied any more.
func (x *execution) unlockSources(all ...offer) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, from := range all {
		if release, held := x.copiedFrom[from]; held {
			delete(x.copiedFrom, from)
			release()
		}
	}
}

// whileUsed does something that ends when the source is not used any more.
func (x *execution) whileUsed(ctx context.Context, at int, do func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(x.sources.inUse[at], func() { cancel(errNotUsed) })
	defer stop()
	return do(ctx)
}

// storeOf is the store that a source was seen on.
func (x *execution) storeOf(at int) domain.Listing {
	for _, l := range x.seen.others {
		if l.at == at {
			return l.replica.Store
		}
	}
	return x.seen.source.Store
}

// peer is who a source is when it sends.
func (x *execution) peer(ctx context.Context, at int) (ports.Peer, error) {
	x.mu.Lock()
	known, ok := x.peers[at]
	x.mu.Unlock()
	if ok {
		return known, nil
	}
	peer, err := x.sources.host(at).Peer(ctx)
	if err != nil {
		return "", ofSource(at, err)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.peers[at] = peer
	return peer, nil
}

func (x *execution) lookBeforeCopy(ctx context.Context, o domain.Operation, from offer) error {
	now, err := x.countSource(ctx, from)
	if err != nil {
		return err
	}
	if now != from.origin.Clusters {
		changed := fmt.Errorf("the source's snapshot has %d clusters of its own now, %d when it was planned", now, from.origin.Clusters)
		if from.at != x.seen.primary {
			return ofSource(from.at, changed) // it is not any more what was proven
		}
		return fmt.Errorf("%w: %w", errPlanAgain, changed)
	}
	uuid := x.uuid(o.Target)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.begun[o.Target] = source{copy: uuid, served: from, planned: o.Source}
	return nil
}

// lookAfterCopy makes sure at once that a copy is whole, where another source
// may have to vouch for it later: the one that served it may not be there any
// more when it is sealed.
func (x *execution) lookAfterCopy(ctx context.Context, host ports.Host, uuid string, from offer, planned domain.Origin) error {
	if len(x.loans.offers[planned.UUID]) == 0 {
		return nil
	}
	var copied, now uint64
	err := x.atOnce(
		func() (err error) { copied, err = countOwn(ctx, host, uuid); return err },
		func() (err error) { now, err = x.countSource(ctx, from); return err },
	)
	switch {
	case err != nil:
		return err
	case now != from.origin.Clusters:
		changed := fmt.Errorf("the source's snapshot has %d clusters of its own now, %d when its copy began", now, from.origin.Clusters)
		if from.at != x.seen.primary {
			return ofSource(from.at, changed)
		}
		return fmt.Errorf("%w: %w", errPlanAgain, changed)
	case copied != from.origin.Clusters:
		return ofSource(from.at, fmt.Errorf("%w: the copy has %d clusters of its own, its source %d", ports.ErrCorrupt, copied, from.origin.Clusters))
	}
	return nil
}

// servedBy is the source of a copy, in words, where there are several.
func (x *execution) servedBy(o domain.Operation) string {
	if o.Verb != domain.VerbCopy || !x.sources.several() {
		return ""
	}
	x.mu.Lock()
	from, ok := x.serving[o.Target]
	x.mu.Unlock()
	if !ok {
		return ""
	}
	return x.sources.name(from.at)
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
