package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// VolumePurge is the result of PurgeVolume and of its plan.
type VolumePurge struct {
	Volume    domain.Volume
	Replicas  []domain.VolumeReplica // as they were before
	Snapshots []domain.Purge         // those that were found, also those that stay
	Purged    []string               // names of those that were deleted on all members
	Frozen    time.Duration          // how long clients were stopped at most; of several freezes the longest
}

// PlanVolumePurge returns what PurgeVolume would do.
func (e *Engine) PlanVolumePurge(ctx context.Context, request VolumeRequest) (VolumePurge, error) {
	found, _, err := e.findPurges(ctx, request)
	return found, err
}

// PurgeVolume deletes system snapshots of earlier rebuilds, each on all members in one freeze:
// while the parents of their heads differ, clients that trim would make their bytes
// differ. If a freeze ends too early, the rest is deleted in another one at once. After a crash or
// an error, the same call completes it, and lets clients go on in any case.
func (e *Engine) PurgeVolume(ctx context.Context, request VolumeRequest) (found VolumePurge, err error) {
	if request.Freezer == nil {
		return VolumePurge{}, refusef("no freezer")
	}
	if err := request.check(); err != nil {
		return VolumePurge{}, err
	}
	release, err := e.leaseForPurge(ctx, request)
	if err != nil {
		return VolumePurge{}, err
	}
	defer release()
	frozen := false
	freezer := lockedFreezer{
		Freezer: request.Freezer,
		stopped: func(stopped time.Duration) { frozen, found.Frozen = true, max(found.Frozen, stopped) },
		lock: func(ctx context.Context) (func(), error) {
			var sites []site
			for _, at := range request.Members {
				sites = append(sites, at.guarded())
			}
			return e.lockFreezes(ctx, sites)
		},
	}
	defer func() {
		if !frozen { // a killed purge may have left its freeze
			err = errors.Join(err, thaw(ctx, freezer))
		}
	}()
	found, _, err = e.findPurges(ctx, request)
	if err != nil {
		return found, err
	}
	for _, s := range found.Snapshots {
		p := &volumePurge{engine: e, request: request, snapshot: s.Snapshot}
		err := p.run(ctx, freezer)
		switch {
		case errors.Is(err, errStays):
			continue
		case err != nil:
			err = fmt.Errorf("purge snapshot %s of volume %s: %w", s.Snapshot, found.Volume.Name, err)
			if frozen {
				err = &refusedLate{err}
			}
			return found, err
		}
		found.Purged = append(found.Purged, s.Snapshot)
	}
	return found, nil
}

// leaseForPurge leases all replicas exclusively. The plan refuses one that cannot be listed.
func (e *Engine) leaseForPurge(ctx context.Context, request VolumeRequest) (release func(), err error) {
	var all releases
	var sites []site
	for _, at := range request.Members {
		err := refuseTwice(ctx, sites, at.guarded())
		sites = append(sites, at.guarded())
		if err == nil {
			err = all.take(e.leaseForChange(ctx, at.guarded(), "the purge of a volume"))
		}
		if errors.Is(err, ErrRefused) {
			return all.unless(err)
		}
	}
	return all.release, nil
}

func (e *Engine) findPurges(ctx context.Context, request VolumeRequest) (found VolumePurge, sites []site, err error) {
	report, sites, err := e.volume(ctx, request)
	found.Volume, found.Replicas = report.Volume, report.Replicas
	if err != nil {
		return found, nil, err
	}
	if len(report.Lost) > 0 {
		return found, nil, refusef("nobody knows which snapshots a rebuild of this replica still needs: %s", report.Lost[0])
	}
	found.Snapshots, err = report.Volume.PlanPurge(report.Replicas, report.Strangers)
	return found, sites, refused(err)
}

var (
	// errStays says that a snapshot stays, as the plan tells.
	errStays = errors.New("the snapshot stays")
	// errGone is an errStays of a snapshot that no member has any more.
	errGone = fmt.Errorf("no member has it any more: %w", errStays)
)

// volumePurge deletes one snapshot on all members.
type volumePurge struct {
	engine   *Engine
	request  VolumeRequest
	snapshot string

	members []purgedMember
}

type purgedMember struct {
	at      site
	replica domain.Replica
	removal domain.SnapshotRemoval
}

// run deletes the snapshot, what is left of it in another freeze if one ends too early.
func (p *volumePurge) run(ctx context.Context, freezer lockedFreezer) error {
	for attempt := 1; ; attempt++ {
		err := freezer.prepared(ctx, cmp.Or(p.request.FreezeLimit, DefaultFreezeLimit), p.prepare, p.delete)
		if attempt > 1 && errors.Is(err, errGone) {
			return nil
		}
		if !errors.Is(err, ports.ErrThawed) {
			return err
		}
		p.engine.log.Warn(mayDiffer, zap.String("snapshot", p.snapshot))
		if ctx.Err() != nil || attempt == maxCuts {
			return errors.Join(err, errors.New(mayDiffer))
		}
	}
}

// prepare plans again right before the freeze: earlier ones have changed the trees.
func (p *volumePurge) prepare(ctx context.Context) error {
	found, sites, err := p.engine.findPurges(ctx, p.request)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(found.Snapshots, func(s domain.Purge) bool { return s.Snapshot == p.snapshot })
	switch {
	case i < 0:
		return errGone
	case found.Snapshots[i].Stays != "":
		return errStays
	}
	p.members = nil
	for _, at := range found.Snapshots[i].Members {
		removal, err := found.Replicas[at].PlanPurge(p.snapshot)
		if err != nil {
			return refused(err)
		}
		if _, ok := ports.As[ports.Merger](sites[at].Host); !ok && removal.Into != nil {
			return refusef("the host of replica %s cannot merge snapshots", sites[at].Replica)
		}
		p.members = append(p.members, purgedMember{sites[at], found.Replicas[at].Replica, removal})
	}
	return nil
}

func (p *volumePurge) delete(ctx context.Context) error {
	var calls []func() error
	for _, m := range p.members {
		calls = append(calls, func() error { return p.engine.removeSnapshot(ctx, m.at, m.replica, m.removal) })
	}
	return executor.AtOnce(len(calls), calls...)
}
