package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

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
	Frozen    time.Duration          // how long clients were stopped at once, at most
}

// PlanVolumePurge returns what PurgeVolume would do.
func (e *Engine) PlanVolumePurge(ctx context.Context, request VolumeRequest) (VolumePurge, error) {
	found, _, err := e.findPurges(ctx, request)
	return found, err
}

// PurgeVolume deletes system snapshots of earlier rebuilds, each on all members in one freeze:
// while members differ in what their heads hang on, clients that trim would make their bytes
// differ. After a crash or an error, the same call completes it.
func (e *Engine) PurgeVolume(ctx context.Context, request VolumeRequest) (VolumePurge, error) {
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
	found, sites, err := e.findPurges(ctx, request)
	if err != nil {
		return found, err
	}
	freezer := lockedFreezer{request.Freezer, func(ctx context.Context) (func(), error) { return e.lockFreezes(ctx, sites) }}
	limit := request.FreezeLimit
	if limit == 0 {
		limit = DefaultFreezeLimit
	}
	for _, s := range found.Snapshots {
		p := &volumePurge{engine: e, request: request, snapshot: s.Snapshot}
		err := freezer.prepared(ctx, limit, p.prepare, p.delete)
		found.Frozen = max(found.Frozen, p.took)
		switch {
		case errors.Is(err, errStays):
			continue
		case err != nil:
			err = fmt.Errorf("purge snapshot %s of volume %s: %w", s.Snapshot, found.Volume.Name, err)
			if len(found.Purged) > 0 || p.took > 0 {
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
	for _, at := range request.Members {
		one, err := e.leaseForChange(ctx, at.guarded(), "the purge of a volume")
		switch {
		case err == nil:
			all.add(one)
		case errors.Is(err, ErrRefused):
			all.release()
			return nil, err
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

// errStays says that a snapshot stays, as the plan tells.
var errStays = errors.New("the snapshot stays")

// volumePurge deletes one snapshot on all members.
type volumePurge struct {
	engine   *Engine
	request  VolumeRequest
	snapshot string

	members []purgedMember
	took    time.Duration
}

type purgedMember struct {
	at      site
	replica domain.Replica
	removal domain.SnapshotRemoval
}

// prepare plans again right before the freeze: earlier ones have changed the trees.
func (p *volumePurge) prepare(ctx context.Context) error {
	found, sites, err := p.engine.findPurges(ctx, p.request)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(found.Snapshots, func(s domain.Purge) bool { return s.Snapshot == p.snapshot })
	if i < 0 || found.Snapshots[i].Stays != "" {
		return errStays
	}
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
	began := time.Now()
	defer func() { p.took = time.Since(began) }()
	var calls []func() error
	for _, m := range p.members {
		calls = append(calls, func() error { return p.engine.removeSnapshot(ctx, m.at, m.replica, m.removal) })
	}
	return executor.AtOnce(len(calls), calls...)
}
