package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rootgraft/rebuild/internal/app/executor"
	"github.com/rootgraft/rebuild/internal/app/retry"
	"github.com/rootgraft/rebuild/internal/domain"
	"github.com/rootgraft/rebuild/internal/ports"
)

// VolumeSnapshot is the result of SnapshotVolume.
type VolumeSnapshot struct {
	VolumeReport // before the snapshot

	Name     string        // a ports.Cutter may have chosen another one than that asked for
	Taken    bool          // all members have it
	Frozen   time.Duration // how long clients were stopped at most
	Warnings []string      // of members whose bytes may differ where clients trim, and of snapshots that were taken away first
}

// SnapshotVolume takes a user's snapshot of one name of every member of a live volume, in one
// freeze; a ports.Cutter takes them itself. Of a replica that is being rebuilt it is taken of the
// live head. After an error there is none on any member, unless the error wraps ErrCleanUp, or Taken
// says that only the thaw failed. It first ends what a killed engine left: a freeze, and a cut or a
// snapshot of that name that only some members have right below their heads.
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
	s := &volumeSnapshot{engine: e, request: request, name: name, tidy: volumeTidy{engine: e, request: request, snapshot: name}}
	s.cutter, _ = request.Mirror.(ports.Cutter)
	limit := cmp.Or(request.FreezeLimit, DefaultFreezeLimit)
	freezer := lockedFreezer{
		Freezer: request.Freezer, stopped: func(stopped time.Duration) { s.frozen = max(s.frozen, stopped) },
		lock: func(ctx context.Context) (func(), error) { return e.lockFreezes(ctx, sites) },
	}
	err = freezer.prepared(ctx, limit, s.prepare, s.take)
	if errors.Is(err, ports.ErrThawed) { // it may be later than a client's write on some members
		s.tidy.warn(mayDiffer)
		err = errors.Join(err, freezer.undo(ctx, limit, s.undo), s.tidy.late(ctx, freezer))
	}
	if err != nil {
		err = fmt.Errorf("take snapshot %s of volume %s: %w", name, report.Volume.Name, s.tidy.tell(err))
	}
	return VolumeSnapshot{s.report, s.name, s.taken, s.frozen, s.tidy.warnings}, err
}

// leaseMembers shares the whole members with rebuilds. A replica that is being rebuilt is
// leased by its rebuild, also after that has named its head: it only looks then.
func (e *Engine) leaseMembers(ctx context.Context, report VolumeReport, sites []site, what string) (release func(), err error) {
	var all releases
	for i, p := range report.Replicas {
		if p.Member.Mode != domain.ModeRW {
			continue
		}
		err := all.take(e.leaseReplica(ctx, sites[i], ports.Lease{Shared: true, Holder: what}))
		if err != nil && !errors.Is(err, ErrAtWork) {
			return all.unless(err)
		}
	}
	return all.release, nil
}

// volumeSnapshot is a snapshot of a volume that is being taken.
type volumeSnapshot struct {
	engine  *Engine
	request VolumeRequest
	cutter  ports.Cutter // nil: the engine takes the snapshots
	name    string

	tidy    volumeTidy
	report  VolumeReport
	members []snapshotMember
	taken   bool // of all
	frozen  time.Duration
}

type snapshotMember struct {
	at     site
	before domain.VolumeReplica
	lvol   string // name of the snapshot

	uuid   string // of the snapshot
	exists bool   // another owner has taken one of that name meanwhile
}

// prepare observes the volume right before the freeze, when no other one can change the
// members any more.
func (s *volumeSnapshot) prepare(ctx context.Context) error {
	if err := s.tidy.run(ctx); err != nil {
		return err
	}
	report, sites, err := s.engine.volume(ctx, s.request)
	s.report, s.members = report, nil
	if err != nil {
		return err
	}
	if len(report.Strangers) > 0 {
		why := "name every replica of the volume, since the snapshot is taken of each"
		if len(report.Lost) > 0 {
			why = strings.Join(report.Lost, "; ")
		}
		return refusef("%s: %s", report.Volume.Faults(nil, report.Strangers)[0], why)
	}
	for i, p := range report.Replicas {
		if p.Head == nil {
			return refusef("replica %s on lvstore %s is no member of volume %s: leave it out, or rebuild it first", p.Replica.Name, p.Replica.Store.Name, report.Volume.Name)
		}
		if !p.HasWrites() {
			continue
		}
		if err := p.CheckNewSnapshot(s.name); err != nil {
			return refused(err)
		}
		s.members = append(s.members, snapshotMember{at: sites[i], before: p, lvol: domain.SnapshotLvolName(p.Replica.Name, s.name)})
	}
	if len(s.members) == 0 {
		return refusef("no replica given is a member of volume %s", report.Volume.Name)
	}
	return nil
}

// take takes the snapshots, and takes them away again if one fails.
func (s *volumeSnapshot) take(ctx context.Context) error {
	attributes := domain.Attributes{CreatedAt: time.Now().UTC().Truncate(time.Second), UserCreated: true}
	if s.cutter != nil {
		if err := s.cut(ctx, attributes); err != nil {
			return err
		}
	}
	calls := []func() error{}
	for i := range s.members {
		m := &s.members[i]
		calls = append(calls, func() (err error) {
			if s.cutter != nil {
				m.uuid, err = takenByOwner(ctx, m.at.Host, m.before.Head.UUID, m.lvol)
				return err
			}
			m.uuid, err = m.at.Host.Snapshot(ctx, m.before.Head.UUID, m.lvol, attributes)
			m.exists = errors.Is(err, ports.ErrExists) // it is called once, so that is not its own
			return err
		})
	}
	err := executor.AtOnce(len(calls), calls...)
	s.taken = err == nil
	if err != nil && ctx.Err() == nil {
		err = errors.Join(err, s.undo(ctx))
	}
	return err
}

// cut has the owner of the mirror take the snapshots, under a name of its choice. After an error
// of its own there is none.
func (s *volumeSnapshot) cut(ctx context.Context, attributes domain.Attributes) error {
	name, err := s.cutter.Cut(ctx, ports.Run{}, s.name, attributes)
	if err != nil {
		for i := range s.members {
			s.members[i].exists = errors.Is(err, ports.ErrExists)
		}
		return err
	}
	for _, m := range s.members { // an undo would delete an older one
		if err := m.before.CheckNewSnapshot(name); err != nil {
			return fmt.Errorf("%w: the mirror named its snapshot %q: %s: %w", ErrCleanUp, name, inOneLine(err), ports.ErrInvalid)
		}
	}
	s.name = name
	for i := range s.members {
		s.members[i].lvol = domain.SnapshotLvolName(s.members[i].at.Replica, name)
	}
	return nil
}

func (s *volumeSnapshot) undo(ctx context.Context) error {
	s.taken = false
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), executor.CleanUpTime)
	defer cancel()
	budget := retry.Tidy()
	var failed []error
	for _, m := range s.members {
		if m.exists {
			continue
		}
		err := budget.Call(ctx, func() error {
			uuid, err := m.uuid, error(nil)
			if uuid == "" { // the answer may be lost
				uuid, err = s.find(ctx, m)
			}
			if err != nil || uuid == "" {
				return err
			}
			return merge(ctx, m.at.Host, uuid)
		})
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
