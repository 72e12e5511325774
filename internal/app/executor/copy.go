package executor

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/rootgraft/rebuild/internal/app/retry"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
	"github.com/rootgraft/rebuild/internal/table"
)

// copies is the state of the copies.
type copies struct {
	received table.Map[string, bool]      // UUIDs of lvols that the store may still receive into
	peers    table.Map[int, ports.Peer]   // by source
	locks    table.Map[Candidate, func()] // releases the lock of a snapshot that is being copied

	mu      sync.Mutex
	serving map[domain.Ref]Candidate // the source of a copy, from its first attempt on
	load    map[int]uint64           // clusters that are still to be copied, by source
}

func (c *copies) unlock(from Candidate) {
	if release, held := c.locks.Take(from); held {
		release()
	}
}

// forgetSource lets the next attempt of a copy choose its source again.
func (c *copies) forgetSource(target domain.Ref) {
	c.mu.Lock()
	from := c.serving[target]
	delete(c.serving, target)
	c.mu.Unlock()
	c.unlock(from)
}

// copy fills an in-flight lvol with the own clusters of a source's snapshot.
func (x *Executor) copy(ctx context.Context, s *step) error {
	from, setLeft, end, err := x.pickSource(s.Operation)
	if err != nil {
		return err
	}
	defer end()
	s.ServedBy = from.Source
	if x.Sources[from.Source].Lost() != nil {
		return OfSource(from.Source, errNotUsed)
	}
	uuid := x.refs.uuid(s.Target)
	if err := x.lockSource(ctx, from); err != nil {
		return err
	}
	endTurn, err := x.Limits.Slot(ctx, from.Source)
	if err != nil {
		return err
	}
	defer endTurn()
	address, err := x.receive(ctx, s, from)
	if err != nil {
		return err
	}
	release, err := x.Limits.Limit(ctx, uuid, from.Source)
	if err != nil {
		return err
	}
	defer release()
	progress := func(done, _ uint64) {
		setLeft(from.Origin.Clusters - min(done, from.Origin.Clusters))
		x.Space.Filled(s.Target, done)
		x.Sink.Copied(s.Step, done)
	}
	err = x.Space.Fill(ctx, uuid, func(ctx context.Context) error {
		return x.attribute(ctx, from, uuid, x.send(ctx, from, address, progress))
	})
	if err != nil {
		return err // the cleanup withdraws
	}
	x.Space.Filled(s.Target, s.Source.Clusters)
	// Retried alone: a retry of the operation would copy everything again.
	if err := retry.Step.Call(ctx, func() error { return x.Host.Withdraw(ctx, x.Run.Run, uuid) }); err != nil {
		return fmt.Errorf("stop receiving: %w", err)
	}
	x.copies.received.Take(uuid)
	if err := x.checkAfterCopy(ctx, uuid, from, s.Source); err != nil {
		return err
	}
	x.copies.unlock(from)
	x.Sink.Copied(s.Step, s.Source.Clusters)
	return x.model.play(s.Operation)
}

// receive opens the lvol for the copy. The checks before the copy share its round trip.
func (x *Executor) receive(ctx context.Context, s *step, from Candidate) (address ports.Address, err error) {
	peer, err := x.peer(ctx, from.Source)
	if err != nil {
		return "", err
	}
	uuid := x.refs.uuid(s.Target)
	x.copies.received.Set(uuid, true)
	err = x.atOnce(
		func() error { return x.checkBeforeCopy(ctx, s, from) },
		func() (err error) { address, err = x.Host.Receive(ctx, x.Run.Run, uuid, peer); return err },
		func() error { return x.Space.Check(ctx) },
	)
	if err != nil {
		return "", err
	}
	return address, x.preparation.wait(ctx)
}

// send makes the source copy, until the source is lost.
func (x *Executor) send(ctx context.Context, from Candidate, to ports.Address, progress ports.Progress) error {
	source := x.Sources[from.Source]
	copying, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(source.Used, func() { cancel(errNotUsed) })
	defer stop()
	err := source.Host.Copy(copying, x.Run.Run, from.Origin.UUID, to, progress)
	if errors.Is(err, ports.ErrNotFound) {
		if _, gone := x.count(ctx, from); errors.Is(gone, ErrPlanAgain) {
			err = gone
		}
	}
	return err
}

// lockSource makes copies of one snapshot run one after the other, and its deletion after
// them. A failed copy may go on, on the target, until its receiver is withdrawn. So the
// lock is kept for the next attempt, and the cleanup releases it.
func (x *Executor) lockSource(ctx context.Context, from Candidate) error {
	if _, held := x.copies.locks.Find(from); held {
		return nil
	}
	release, err := x.Lock(ctx, x.Sources[from.Source].Listing, from.Origin.UUID)
	if err == nil {
		x.copies.locks.Set(from, release)
	}
	return err
}

// peer identifies a source as a sender.
func (x *Executor) peer(ctx context.Context, source int) (ports.Peer, error) {
	if known, ok := x.copies.peers.Find(source); ok {
		return known, nil
	}
	peer, err := x.Sources[source].Host.Peer(ctx)
	if err != nil {
		return "", OfSource(source, err)
	}
	x.copies.peers.Set(source, peer)
	return peer, nil
}

func (x *Executor) checkBeforeCopy(ctx context.Context, s *step, from Candidate) error {
	now, err := x.count(ctx, from)
	if err != nil {
		return err
	}
	if err := x.changed(from, now, "it was planned"); err != nil {
		return err
	}
	x.refs.copies.Set(s.Target, copyOfSource{uuid: x.refs.uuid(s.Target), served: from, planned: s.Source})
	return nil
}

// checkAfterCopy checks at once that a copy is complete if there are secondary sources.
// The source that served it may be lost before the seal, and another one cannot vouch for
// it.
func (x *Executor) checkAfterCopy(ctx context.Context, uuid string, from Candidate, planned domain.Origin) error {
	if len(x.Secondary[planned.UUID]) == 0 {
		return nil
	}
	var own, now uint64
	err := x.atOnce(
		func() (err error) { own, err = countOwn(ctx, x.Host, uuid); return err },
		func() (err error) { now, err = x.count(ctx, from); return err },
	)
	if err != nil {
		return err
	}
	if err := x.changed(from, now, "its copy began"); err != nil {
		return err
	}
	if own != from.Origin.Clusters {
		return OfSource(from.Source, fmt.Errorf("%w: the copy has %d clusters of its own, its source %d", ports.ErrCorrupt, own, from.Origin.Clusters))
	}
	return nil
}

func (c *copies) unlockAll() {
	for from := range c.locks.All() {
		c.unlock(from)
	}
}
