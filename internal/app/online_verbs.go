package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/app/retry"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

var _ executor.Live = (*liveRun)(nil)

// Lvstore implements executor.Live.
func (l *liveRun) Lvstore(member int) string { return l.rebuild.sources.lvstore(l.members[member-1]) }

// Snapshot implements executor.Live. A call whose answer was lost may have taken it. The failure of
// another member does not end the call: the snapshot could be taken after an undo has looked for it.
func (l *liveRun) Snapshot(ctx context.Context, o domain.Operation) (string, error) {
	at := l.members[o.Member-1]
	head, _ := o.Parent.Listed()
	if l.cutter != nil {
		if err := l.cutByOwner(ctx); err != nil {
			return "", err
		}
		replica := l.rebuild.sources.sites[at].Replica
		uuid, err := takenByOwner(ctx, l.rebuild.sources.host(at), head, domain.SnapshotLvolName(replica, l.cut.Snapshot))
		return uuid, executor.OfSource(at, err)
	}
	host := l.rebuild.sources.host(at)
	uuid, err := host.Snapshot(l.frozen, head, o.Name, o.Attributes)
	if errors.Is(err, ports.ErrExists) {
		uuid, err = snapshotBelow(ctx, host, head, o.Name)
	}
	return uuid, executor.OfSource(at, err)
}

// cutByOwner has the owner of the mirror take the snapshots, once for all members.
func (l *liveRun) cutByOwner(ctx context.Context) error {
	select {
	case l.ownersTurn <- struct{}{}:
		defer func() { <-l.ownersTurn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if l.cutByOwnerAlready {
		return nil
	}
	name, err := l.cutter.Cut(ctx, l.rebuild.run.Run, l.cut.Snapshot, l.cut.Attributes)
	if err != nil {
		return err
	}
	for _, at := range l.members { // an older snapshot lacks writes, and an undo would delete it
		if err := l.rebuild.sources.checkNew(at, name); err != nil {
			return fmt.Errorf("the mirror named its cut %q: %w: %w", name, err, ports.ErrInvalid)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut.Snapshot, l.cutByOwnerAlready = name, true
	return nil
}

// takenByOwner finds the snapshot of that name that the owner of the mirror says it took.
func takenByOwner(ctx context.Context, host ports.Host, head, name string) (string, error) {
	uuid, err := snapshotBelow(ctx, host, head, name)
	if errors.Is(err, ports.ErrExists) {
		return "", fmt.Errorf("the mirror did not take snapshot %s: %w", name, ports.ErrInvalid)
	}
	return uuid, err
}

// snapshotBelow finds the snapshot of that name, if it is the head's parent.
func snapshotBelow(ctx context.Context, host ports.Host, head, name string) (string, error) {
	listing, err := host.List(ctx)
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(listing.Lvols, func(of domain.Lvol) bool { return of.Name == name })
	child := slices.IndexFunc(listing.Lvols, func(of domain.Lvol) bool { return of.UUID == head })
	if i < 0 || child < 0 || listing.Lvols[child].Parent != listing.Lvols[i].UUID {
		return "", fmt.Errorf("snapshot %s is not the parent of the head: %w", name, ports.ErrExists)
	}
	return listing.Lvols[i].UUID, nil
}

// Export implements executor.Live.
func (l *liveRun) Export(ctx context.Context, member int, uuid string) error {
	if member > 0 {
		at := l.members[member-1]
		return executor.OfSource(at, l.rebuild.sources.host(at).Show(ctx, l.rebuild.run.Run, l.ways[member-1], uuid))
	}
	l.head.uuid = uuid
	l.rebuild.run.Keep(uuid, true) // end deletes it, in the right order
	if err := l.offerHead(ctx); err != nil {
		return err
	}
	run := l.rebuild.run.Run
	if err := l.rebuild.request.Destination.Host.Show(ctx, run, l.head.way, uuid); err != nil {
		return err
	}
	return l.mirror.Connect(ctx, run, l.head.way)
}

// offerHead opens the way from the live head to the mirror, unless it is open. That takes as
// long as to create the live head, so both go on at once.
func (l *liveRun) offerHead(ctx context.Context) error {
	select {
	case l.offering <- struct{}{}:
		defer func() { <-l.offering }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if l.head.way != "" {
		return nil
	}
	peer, err := l.mirror.Peer(ctx)
	if err != nil {
		return err
	}
	l.head.offered = true
	run := l.rebuild.run.Run
	way := ports.Way{ID: executor.NewID(), Head: run.Replica}
	l.head.way, err = l.rebuild.request.Destination.Host.Offer(ctx, run, way, peer)
	return err
}

// GraftExternal implements executor.Live. It is called when all members have their snapshots.
func (l *liveRun) GraftExternal(ctx context.Context, head string) error {
	return executor.AtOnce(l.rebuild.request.parallel(),
		func() error { return l.checkMembers(ctx) },
		func() error {
			return l.rebuild.request.Destination.Host.GraftExternal(ctx, l.rebuild.run.Run, head, l.ways...)
		})
}

// checkMembers refuses a cut with a member that the mirror has lost since the plan was made, such
// as by the last writes before the freeze: its snapshot lacks these. One that has joined since has no
// snapshot.
func (l *liveRun) checkMembers(ctx context.Context) error {
	volume, err := l.mirror.Volume(ctx)
	if err != nil {
		return err
	}
	known := map[string]bool{l.head.uuid: true}
	for _, at := range l.members {
		planned, _ := l.volume.Member(l.rebuild.sources.firstHead(at))
		err := volume.CheckKept(planned)
		if now, _ := volume.Member(planned.Head); err != nil && (now.IsDoubted() || now.Mode == domain.ModeRW && now.Since.IsZero()) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.volume = volume
			return doubtful{err}
		}
		if err != nil {
			return executor.OfSource(at, err)
		}
		known[planned.Head] = true
	}
	for _, m := range volume.Members {
		if m.Mode != domain.ModeERR && !known[m.Head] {
			return fmt.Errorf("%s has joined volume %s since the plan was made, and is not cut: %w", m.Name, volume.Name, ports.ErrInvalid)
		}
	}
	return nil
}

// doubtful is the error of a cut with a member that the mirror may be about to drop, or does not
// know any more since when it has every write. It is not lost: it can be in the next cut.
type doubtful struct{ error }

func (e doubtful) Unwrap() error { return e.error }

// notJoined is the error of a join that failed. It is final in its freeze: each attempt may make a
// RAID again, and again as it was. The cut is undone, and another one is made.
type notJoined struct{ error }

func (e notJoined) Unwrap() error { return retry.Final(e.error) }

// Join implements executor.Live.
func (l *liveRun) Join(ctx context.Context, head string) error {
	l.head.joins = true
	joined, err := l.mirror.Join(ctx, l.rebuild.run.Run, l.head.way)
	if errors.Is(err, ports.ErrExists) { // the answer of an earlier call was lost
		var volume domain.Volume
		if volume, err = l.mirror.Volume(ctx); err == nil {
			joined, _ = volume.Member(head)
		}
	}
	if err == nil && joined.Since.IsZero() {
		err = fmt.Errorf("the mirror did not tell since when the live head is a member, so nobody could tell that it has every write: %w", ports.ErrInvalid)
	}
	if err != nil {
		return notJoined{err}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	joined.Head = head
	l.cut.Joined = joined
	return nil
}

// Leave implements executor.Live.
func (l *liveRun) Leave(ctx context.Context, head string) error {
	if err := l.mirror.Leave(ctx, head); err != nil {
		return err
	}
	return l.rebuild.request.Destination.Host.HideHead(ctx, l.rebuild.run.Replica)
}

// Land implements executor.Live. Users may have taken snapshots since the cut, so the lowest
// lvol of the chain is found now; in a freeze, so that they take none meanwhile. It is the one
// that seeLowest has found, or was put below that since.
func (l *liveRun) Land(ctx context.Context, head, parent string) error {
	host := l.rebuild.request.Destination.Host
	lowest, err := lowestOf(ctx, host, cmp.Or(l.head.lowest, head), parent)
	if errors.Is(err, ports.ErrNotFound) {
		lowest, err = lowestOf(ctx, host, head, parent)
	}
	if err != nil || lowest.Parent == parent {
		return err
	}
	return host.Graft(ctx, lowest.UUID, parent)
}

func lowestOf(ctx context.Context, host ports.Looker, head, parent string) (domain.Lvol, error) {
	for uuid := head; ; {
		l, err := host.Look(ctx, uuid)
		if err != nil {
			return domain.Lvol{}, err
		}
		if l.Parent == "" || l.Parent == parent {
			return l, nil
		}
		uuid = l.Parent
	}
}

// Name implements executor.Live. Only unbroken membership since the cut makes a head whole.
func (l *liveRun) Name(ctx context.Context, head, name string) error {
	volume, err := l.mirror.Volume(ctx)
	if err != nil {
		return err
	}
	if err := volume.CheckUnbroken(l.cut.Joined); err != nil {
		return fmt.Errorf("%w: %w", errBroken, err)
	}
	l.head.naming = true
	return rename(ctx, l.rebuild.request.Destination.Host, head, name)
}

func rename(ctx context.Context, host ports.Host, uuid, name string) error {
	renamer, ok := ports.As[ports.Renamer](host)
	if !ok {
		return ports.Cannot("rename lvols")
	}
	return renamer.Rename(ctx, uuid, name)
}
