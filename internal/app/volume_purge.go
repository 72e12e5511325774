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
	"github.com/rootgraft/rebuild/internal/app/retry"
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
	Warnings  []string               // of members whose bytes may differ where clients trim
}

// PlanVolumePurge returns what PurgeVolume would do.
func (e *Engine) PlanVolumePurge(ctx context.Context, request VolumeRequest) (VolumePurge, error) {
	found, _, err := e.findPurges(ctx, request)
	return found, err
}

// PurgeVolume deletes system snapshots of earlier rebuilds, each on all members in one freeze:
// while the parents of their heads differ, clients that trim would make their bytes
// differ. If a freeze ends too early, or a member fails in it, the rest is deleted in another one at
// once, and Warnings tell it. After a crash or an error, the same call completes it, and lets clients
// go on in any case.
func (e *Engine) PurgeVolume(ctx context.Context, request VolumeRequest) (found VolumePurge, err error) {
	if request.Freezer == nil {
		return VolumePurge{}, refusef("no freezer")
	}
	if err := request.check(); err != nil {
		return VolumePurge{}, err
	}
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
	release, err := e.leaseForPurge(ctx, request)
	if errors.Is(err, ErrRefused) {
		return VolumePurge{}, err
	}
	defer func() {
		switch { // a killed run may have left its freeze
		case frozen:
		case err == nil:
			err = thaw(ctx, freezer)
		default: // its snapshots were not purged
			left := &volumeTidy{engine: e, request: request}
			failed := left.locked(ctx, freezer)
			err = errors.Join(left.tell(err), failed)
		}
	}()
	if err != nil {
		return VolumePurge{}, err
	}
	defer release()
	found, _, err = e.findPurges(ctx, request)
	if err != nil {
		return found, err
	}
	for _, s := range found.Snapshots {
		p := &volumePurge{engine: e, request: request, snapshot: s.Snapshot}
		err := p.run(ctx, freezer)
		if p.uneven && err == nil && !slices.Contains(found.Warnings, mayDiffer) {
			found.Warnings = append(found.Warnings, mayDiffer)
		}
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

// leaseForPurge leases all replicas exclusively.
func (e *Engine) leaseForPurge(ctx context.Context, request VolumeRequest) (release func(), err error) {
	var all releases
	var sites []site
	for _, at := range request.Members {
		err := refuseTwice(ctx, sites, at.guarded())
		sites = append(sites, at.guarded())
		if err == nil {
			err = all.take(e.leaseForChange(ctx, at.guarded(), "the purge of a volume"))
		}
		if err != nil {
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
	for _, snapshot := range domain.UnevenSystemSnapshots(report.Replicas) {
		found.Warnings = append(found.Warnings, fmt.Sprintf("only some members have snapshot %s: where clients trim, the members' bytes may differ until these ranges are written again", snapshot))
	}
	if len(report.Lost) > 0 {
		return found, nil, refusef("it is not known which snapshots a rebuild of this replica still needs: start its host, or leave the replica out: %s", report.Lost[0])
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
	uneven  bool // after some freeze, some members may have lacked the snapshot, and others not
}

type purgedMember struct {
	at      site
	replica domain.Replica
	removal domain.SnapshotRemoval
}

// run deletes the snapshot, what is left of it in another freeze if one ends too early, or if it
// fails on some members.
func (p *volumePurge) run(ctx context.Context, freezer lockedFreezer) error {
	for attempt := 1; ; attempt++ {
		err := freezer.prepared(ctx, cmp.Or(p.request.FreezeLimit, DefaultFreezeLimit), p.prepare, p.delete)
		if p.uneven && errors.Is(err, errGone) {
			return nil
		}
		p.uneven = p.uneven || errors.Is(err, ports.ErrThawed)
		if err == nil || !p.uneven {
			return err
		}
		p.engine.log.Warn(mayDiffer, zap.String("snapshot", p.snapshot), zap.Error(err))
		if ctx.Err() != nil || attempt == maxCuts {
			return errors.Join(err, errors.New("some members may still have the snapshot, and others not: run the purge again; "+mayDiffer))
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
	case found.Snapshots[i].Stays != "" && p.uneven:
		return refusef("it cannot be deleted on all members: %s", found.Snapshots[i].Stays)
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
	budget, kept := retry.Tidy(), make([]bool, len(p.members))
	var calls []func() error
	for i, m := range p.members {
		calls = append(calls, func() (err error) {
			err = budget.Call(ctx, func() error { return p.engine.removeSnapshot(ctx, m.at, m.replica, m.removal) })
			if err == nil {
				return nil
			}
			_, found := m.at.Host.Look(ctx, m.removal.Snapshot.Lvol.UUID)
			if errors.Is(found, ports.ErrNotFound) { // an answer was lost
				return nil
			}
			kept[i] = found == nil
			return err
		})
	}
	err := executor.AtOnce(len(calls), calls...)
	p.uneven = p.uneven || err != nil && slices.Contains(kept, false)
	return err
}
