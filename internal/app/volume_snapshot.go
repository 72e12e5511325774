package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// VolumeSnapshot is the result of SnapshotVolume.
type VolumeSnapshot struct {
	VolumeReport // before the snapshot

	Frozen time.Duration // how long clients were stopped
}

// SnapshotVolume takes a user's snapshot of one name of every member of a live volume, in one
// freeze. Of a replica that is being rebuilt it is taken of the live head. After an error
// there is none on any member, unless the error wraps ErrCleanUp.
func (e *Engine) SnapshotVolume(ctx context.Context, request VolumeRequest, name string) (VolumeSnapshot, error) {
	if request.Freezer == nil {
		return VolumeSnapshot{}, refusef("no freezer")
	}
	report, sites, err := e.volume(ctx, request)
	if err != nil {
		return VolumeSnapshot{VolumeReport: report}, err
	}
	release, err := e.leaseMembers(ctx, report, sites, "snapshot "+name+" of volume "+report.Volume.Name)
	if err != nil {
		return VolumeSnapshot{VolumeReport: report}, err
	}
	defer release()
	freezer := lockedFreezer{request.Freezer, func(ctx context.Context) (func(), error) { return e.lockFreezes(ctx, sites) }}
	s := &volumeSnapshot{engine: e, request: request, name: name}
	limit := request.FreezeLimit
	if limit == 0 {
		limit = DefaultFreezeLimit
	}
	err = freezer.prepared(ctx, limit, s.prepare, s.take)
	if err != nil {
		err = fmt.Errorf("take snapshot %s of volume %s: %w", name, report.Volume.Name, err)
	}
	return VolumeSnapshot{s.report, s.frozen}, err
}

// leaseMembers shares the whole members with rebuilds. A replica that is being rebuilt is
// leased by its rebuild.
func (e *Engine) leaseMembers(ctx context.Context, report VolumeReport, sites []site, what string) (release func(), err error) {
	var all releases
	for i, p := range report.Replicas {
		if p.Member.Mode != domain.ModeRW {
			continue
		}
		one, err := e.leaseReplica(ctx, sites[i], ports.Lease{Shared: true, Holder: what})
		if err != nil {
			all.release()
			return nil, err
		}
		all.add(one)
	}
	return all.release, nil
}

// volumeSnapshot is a snapshot of a volume that is being taken.
type volumeSnapshot struct {
	engine  *Engine
	request VolumeRequest
	name    string

	report  VolumeReport
	members []snapshotMember
	frozen  time.Duration
}

type snapshotMember struct {
	at   site
	head string
	lvol string // name of the snapshot
}

// prepare observes the volume right before the freeze, when no other one can change the
// members any more.
func (s *volumeSnapshot) prepare(ctx context.Context) error {
	report, sites, err := s.engine.volume(ctx, s.request)
	s.report, s.members = report, nil
	if err != nil {
		return err
	}
	if len(report.Strangers) > 0 {
		return refusef("%s: name every replica of the volume, since the snapshot is taken of each", report.Volume.Faults(nil, report.Strangers)[0])
	}
	for i, p := range report.Replicas {
		if p.Member.Mode != domain.ModeRW && p.Member.Mode != domain.ModeWO {
			continue // it lacks writes already
		}
		if err := p.CheckNewSnapshot(s.name); err != nil {
			return refused(err)
		}
		s.members = append(s.members, snapshotMember{sites[i], p.Head.UUID, domain.SnapshotLvolName(p.Replica.Name, s.name)})
	}
	if len(s.members) == 0 {
		return refusef("no replica given is a member of volume %s", report.Volume.Name)
	}
	return nil
}

// take takes the snapshots, and takes them away again if one fails.
func (s *volumeSnapshot) take(ctx context.Context) error {
	began := time.Now()
	attributes := domain.Attributes{CreatedAt: began.UTC().Truncate(time.Second), UserCreated: true}
	taken, calls := make([]string, len(s.members)), []func() error{}
	for i, m := range s.members {
		calls = append(calls, func() (err error) {
			taken[i], err = m.at.Host.Snapshot(ctx, m.head, m.lvol, attributes)
			return err
		})
	}
	err := executor.AtOnce(len(calls), calls...)
	if err == nil {
		err = ctx.Err() // clients may go on already
	}
	if err != nil {
		err = errors.Join(err, s.undo(ctx, taken))
	}
	s.frozen = time.Since(began)
	return err
}

func (s *volumeSnapshot) undo(ctx context.Context, taken []string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), executor.CleanUpTime)
	defer cancel()
	var failed []error
	for i, m := range s.members {
		uuid, err := taken[i], error(nil)
		if uuid == "" { // the answer may be lost
			uuid, err = s.find(ctx, m)
		}
		if err == nil && uuid != "" {
			err = merge(ctx, m.at.Host, uuid)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("%w: snapshot %s may be left: %w", ErrCleanUp, m.lvol, err))
		}
	}
	return errors.Join(failed...)
}

func (s *volumeSnapshot) find(ctx context.Context, m snapshotMember) (uuid string, err error) {
	listing, err := list(ctx, m.at)
	for _, l := range listing.Lvols {
		if l.Name == m.lvol {
			uuid = l.UUID
		}
	}
	return uuid, err
}
