package app

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// reviveTime is how long a host may take to notice that an external snapshot is back.
const reviveTime = 5 * time.Second

// reviveLeftover shows the destination the members' cuts again if it has degraded snapshots. Users
// took them of a live head whose run died, and its host has lost the connection. While they are
// degraded, the host does not list their clones, so no plan deletes them. If that does not help, the
// plan says what is wrong.
func (l *liveRun) reviveLeftover(ctx context.Context, volume domain.Volume, listing domain.Listing) error {
	if !l.hasDegraded(volume, listing) {
		return nil
	}
	l.rebuild.use.changed = true
	cuts := make(map[string][]ports.Address) // ways by the ID of the cut
	for _, at := range l.rebuild.sources.used() {
		if err := l.showCuts(ctx, at, cuts); err != nil {
			l.warnDegraded(err)
		}
	}
	destination := l.rebuild.request.Destination
	for _, ways := range cuts {
		l.ways = append(l.ways, ways...) // end closes them
		if err := destination.Host.Connect(ctx, l.rebuild.run.Run, ways...); err != nil {
			l.warnDegraded(err)
		}
	}
	for until := time.Now().Add(reviveTime); l.hasDegraded(volume, listing) && time.Now().Before(until); {
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		var err error
		if listing, err = list(ctx, destination); err != nil {
			return err
		}
	}
	return nil
}

func (l *liveRun) warnDegraded(err error) {
	l.rebuild.engine.log.Warn("a degraded snapshot may not get its cut back", zap.String("replica", l.rebuild.run.Replica), zap.Error(err))
}

// hasDegraded reports whether the destination has a degraded snapshot, and no lvol that the mirror
// may read.
func (l *liveRun) hasDegraded(volume domain.Volume, listing domain.Listing) bool {
	replica, err := l.rebuild.request.Destination.replica(listing)
	if err != nil || !slices.ContainsFunc(replica.Snapshots, func(s domain.Snapshot) bool { return s.Lvol.Degraded }) {
		return false // the plan says what is wrong
	}
	return !slices.ContainsFunc(listing.Lvols, func(of domain.Lvol) bool {
		m, is := volume.Member(of.UUID)
		return is && m.Mode != domain.ModeERR && !of.Degraded
	})
}

// showCuts shows all cuts of a member, and adds the ways to them. The ways of runs that died are
// closed: nothing reads through them.
func (l *liveRun) showCuts(ctx context.Context, at int, cuts map[string][]ports.Address) error {
	host, run := l.rebuild.sources.host(at), l.rebuild.run.Run
	replica, err := existingReplica(ctx, l.rebuild.sources.sites[at])
	if err != nil {
		return err
	}
	peer, err := l.rebuild.request.Destination.Host.Peer(ctx)
	if err != nil {
		return err
	}
	if err := host.Release(ctx, run); err != nil {
		return err
	}
	for _, s := range replica.Snapshots {
		id, is := domain.CutID(s.Name)
		if !is {
			continue
		}
		way, err := host.Offer(ctx, run, ports.Way{ID: id, Path: len(cuts[id])}, peer)
		if err != nil {
			return err
		}
		cuts[id] = append(cuts[id], way)
		if err := host.Show(ctx, run, way, s.Lvol.UUID); err != nil {
			return err
		}
	}
	return nil
}
