package rebuild

import (
	"context"

	"github.com/rootgraft/rebuild/internal/app"
)

// Engine rebuilds, audits, repairs and changes replicas on hosts. Its methods may
// be called from several goroutines at once.
//
// A process has one Engine. Its runs know of each other: they lock the replicas and
// images that they use, and count the space that others still need on a host.
//
// Every method that changes a host checks first and returns an [ErrRefused] error if
// the change is not safe; nothing was changed then. Every method returns soon after its
// context ends.
type Engine struct {
	app *app.Engine
}

// New makes an engine. Without options it logs nothing.
func New(options ...Option) *Engine {
	var s settings
	for _, o := range options {
		o.set(&s)
	}
	return &Engine{app: app.New(s.log)}
}

// Plan observes the hosts and returns what Rebuild would do, and why. It changes
// nothing, with one exception: a host may compute and store checksums that it does
// not have yet, unless Options.NoChecksums is set.
func (e *Engine) Plan(ctx context.Context, request Request) (Plan, error) {
	return e.app.Plan(ctx, request.internal())
}

// Rebuild makes the destination a copy of the source: the whole snapshot tree on the
// volume's backing image, and a head. It is safe to stop at any moment; the next
// Rebuild keeps the snapshots that were finished.
//
// The error is nil exactly if the outcome is [OutcomeComplete]. An [ErrRefused] error, with
// [OutcomeRefused], guarantees that nothing was changed; if a later plan of the rebuild is
// refused, since the hosts changed, it has failed. If ctx ends, the error wraps ctx.Err()
// and its cause; if EndRebuilds ends the rebuild, it wraps [ErrEnded] and the reason. The
// Report is valid in any case, as far as the rebuild got.
func (e *Engine) Rebuild(ctx context.Context, request Request) (Report, error) {
	return e.app.Rebuild(ctx, request.internal())
}

// PlanOnline returns what RebuildOnline would do, and why. It changes nothing, with the
// exception that Plan has. The snapshot that will be taken of the volume is described as it
// would be now, since clients go on writing.
func (e *Engine) PlanOnline(ctx context.Context, request OnlineRequest) (Plan, error) {
	return e.app.PlanOnline(ctx, request.internal())
}

// RebuildOnline makes the destination a whole member of a volume that clients read and write
// meanwhile. They are stopped twice, for a few round trips. First a snapshot is taken of every
// member, and a live head over it joins the mirror. From then on it has every write, and the
// tree below it is rebuilt as Rebuild does. Then the live head is grafted onto that tree. It
// gets its final name only if the mirror was never without it, so a replica with a head is
// whole.
//
// It is safe to stop at any moment: then the live head leaves the mirror and is deleted, and
// clients notice nothing. The next RebuildOnline, or Rebuild, keeps the snapshots that were
// finished. If the volume could not be frozen in time, the error wraps [ErrNotFrozen], and no
// member was changed. Otherwise errors and outcomes are those of Rebuild.
func (e *Engine) RebuildOnline(ctx context.Context, request OnlineRequest) (Report, error) {
	return e.app.RebuildOnline(ctx, request.internal())
}

// Volume lists a live volume and its replicas. It changes nothing.
func (e *Engine) Volume(ctx context.Context, request VolumeRequest) (VolumeReport, error) {
	return e.app.Volume(ctx, request)
}

// CheckVolume compares maps and checksums of the whole members of a live volume, while
// clients go on. It changes nothing, except that a host may compute and store checksums that
// it does not have yet.
func (e *Engine) CheckVolume(ctx context.Context, request VolumeRequest) (VolumeCheck, error) {
	return e.app.CheckVolume(ctx, request)
}

// SnapshotVolume takes a user's snapshot of one name of every member of a live volume, in one
// freeze, also while one of them is being rebuilt. Of that one it is taken of the live head.
// If it fails, no member has the snapshot, unless the error wraps [ErrCleanUp].
func (e *Engine) SnapshotVolume(ctx context.Context, request VolumeRequest, name string) (VolumeSnapshot, error) {
	return e.app.SnapshotVolume(ctx, request, name)
}

// CreateVolume makes a volume over the heads of replicas, which become its members. The mirror
// must be a [Maker]; it may have been opened before it exists. Replicas that do not exist are
// created empty, with size bytes on the request's base, as CreateReplica does. Those that exist
// must be whole and proven equal: by maps and checksums where hosts have them, else they are
// read. size is 0 if all exist.
//
// After a crash or an error, the same call completes it, or DeleteVolume takes it back. If it
// is made already, CreateVolume only reports it.
func (e *Engine) CreateVolume(ctx context.Context, request VolumeRequest, size uint64) (VolumeReport, error) {
	return e.app.CreateVolume(ctx, request, size)
}

// PlanVolumeRemoval returns what DeleteVolume would do. It changes nothing, and does not look
// whether clients use the volume.
func (e *Engine) PlanVolumeRemoval(ctx context.Context, request VolumeRequest, replicas bool) (VolumeRemoval, error) {
	return e.app.PlanVolumeRemoval(ctx, request, replicas)
}

// DeleteVolume removes the mirror of a volume and closes the exports of its members' heads. It
// deletes the replicas only if asked to. The request names every member. It refuses a volume
// that clients use, and replicas that DeleteReplica refuses. After a crash or an error, the same
// call completes it.
func (e *Engine) DeleteVolume(ctx context.Context, request VolumeRequest, replicas bool) (VolumeRemoval, error) {
	return e.app.DeleteVolume(ctx, request, replicas)
}

// PlanVolumePurge returns what PurgeVolume would do, and why snapshots stay. It changes nothing.
func (e *Engine) PlanVolumePurge(ctx context.Context, request VolumeRequest) (VolumePurge, error) {
	return e.app.PlanVolumePurge(ctx, request)
}

// PurgeVolume deletes the system snapshots that earlier rebuilds took of a live volume, each on
// all whole members in one freeze. A snapshot merges into its child; the data of all other lvols
// stays as it is. A snapshot stays if several lvols or linked clones read through it, if it
// is exported, or if a replica that is not whole has it: a rebuild of that one need not copy it.
// So name the lost replicas, too. It is refused while a rebuild is at work, and while one has left
// something that may read through a snapshot of the members, such as a half-built member. A member
// that fails, or is too slow for the freeze, is purged in another freeze, and Warnings tell it. After
// a crash or an error, the same call completes it.
func (e *Engine) PurgeVolume(ctx context.Context, request VolumeRequest) (VolumePurge, error) {
	return e.app.PurgeVolume(ctx, request)
}

// EndRebuilds ends the rebuilds of this engine that use a host or a replica that is gone:
// the replica was deleted, its disk or its node was lost. It reaches those that run and
// those that wait in a [Queue], and returns at once how many there are.
//
// A rebuild ends if its destination is gone or no source is left; its error wraps
// [ErrEnded] and why. If one of several sources is gone, the rebuild goes on with the
// others, as when a source fails; its report says [SourceLost], and why. Rebuilds that
// begin later are not concerned. As after a cancellation, a host that does not answer
// delays the end by its cleanup, 30 seconds at most.
func (e *Engine) EndRebuilds(of Using, why error) (found int) { return e.app.EndRebuilds(of, why) }

// Hold keeps rebuilds, and every other change by this engine or another one, away from
// replicas while the caller changes them itself, for example to expand a volume or to revert
// it. what describes that for those that are refused meanwhile, such as "the expansion of
// volume vol-1". Call release when it is done; the end of the process releases them, too.
//
// While a rebuild is at work on one of them, Hold is refused with an [ErrAtWork] error that
// names the rebuild and its process: refuse the change with it. No replica is held then.
func (e *Engine) Hold(ctx context.Context, what string, replicas ...Site) (release func(), err error) {
	return e.app.Hold(ctx, what, replicas...)
}

// Replica returns one replica as it is on its host now. It refuses a replica that has
// nothing on the host.
func (e *Engine) Replica(ctx context.Context, at Site) (Replica, error) {
	return e.app.Replica(ctx, at)
}

// Survey lists a host's store and tells for every lvol whether it belongs to a replica,
// is a backing image, or neither. It changes nothing.
func (e *Engine) Survey(ctx context.Context, host Looker) (Survey, error) {
	return e.app.Survey(ctx, host)
}

// Audit reports which rules the replicas break and, if a volume has several of them,
// in what they differ. It changes nothing, with one exception: where several replicas
// are compared, a host may compute and store checksums that it does not have yet
// (AuditRequest.Counts avoids that).
func (e *Engine) Audit(ctx context.Context, request AuditRequest) (AuditReport, error) {
	return e.app.Audit(ctx, request)
}

// PlanRepair returns what Repair would do and changes nothing.
func (e *Engine) PlanRepair(ctx context.Context, request RepairRequest) (Plan, error) {
	return e.app.PlanRepair(ctx, request)
}

// Repair restores the lineage of a replica whose ancestor lost its backing image. It
// only grafts, on the replica's own host; no data is copied. It refuses damage that a
// graft does not repair: rebuild such a replica instead.
func (e *Engine) Repair(ctx context.Context, request RepairRequest) (RepairReport, error) {
	return e.app.Repair(ctx, request)
}

// ReadViews reads lvols of a replica through the host's [Opener] and returns the
// SHA-256 of each, by UUID. It is an [ErrUnsupported] error if the host is no Opener.
// While it reads, the engine refuses to change the replica; if something else changes
// it, ReadViews returns an error. observer may be nil.
func (e *Engine) ReadViews(ctx context.Context, at Site, lvols []Lvol, observer Observer) (Views, error) {
	return e.app.ReadViews(ctx, at, lvols, observer)
}

// CreateReplica makes a replica without snapshots: a head of size bytes on the volume's
// base, or without a parent if base is [NoBase]. The head records the base.
func (e *Engine) CreateReplica(ctx context.Context, at Site, size uint64, base Base) (Replica, error) {
	return e.app.CreateReplica(ctx, at, size, base)
}

// PlanReplicaRemoval returns what DeleteReplica would do and changes nothing.
func (e *Engine) PlanReplicaRemoval(ctx context.Context, at Site) (Plan, error) {
	return e.app.PlanReplicaRemoval(ctx, at)
}

// DeleteReplica deletes a replica, the head first, then its snapshots from the leaves
// on. After an interruption, call it again: it goes on with what is left. It refuses a
// replica that is the parent of another replica's lvol. observer may be nil.
func (e *Engine) DeleteReplica(ctx context.Context, at Site, observer Observer) (Plan, error) {
	return e.app.DeleteReplica(ctx, at, observer)
}

// CreateSnapshot takes a snapshot of the replica's head and marks it as created by a
// user. It is refused while a rebuild reads or writes the replica.
func (e *Engine) CreateSnapshot(ctx context.Context, at Site, name string) (Snapshot, error) {
	return e.app.CreateSnapshot(ctx, at, name)
}

// PlanSnapshotRemoval returns what DeleteSnapshot would do and changes nothing.
func (e *Engine) PlanSnapshotRemoval(ctx context.Context, at Site, name string) (SnapshotRemoval, error) {
	return e.app.PlanSnapshotRemoval(ctx, at, name)
}

// DeleteSnapshot deletes a snapshot. If it has one child, which is the replica's, its
// clusters move into that child, and the data of all other lvols stays as it is. It
// refuses a snapshot with several children or with one that is not the replica's.
func (e *Engine) DeleteSnapshot(ctx context.Context, at Site, name string) (SnapshotRemoval, error) {
	return e.app.DeleteSnapshot(ctx, at, name)
}

// PlanRevert returns what Revert would do and changes nothing.
func (e *Engine) PlanRevert(ctx context.Context, request RevertRequest) (Revert, error) {
	return e.app.PlanRevert(ctx, request)
}

// Revert replaces the head by a new clone of a snapshot. All writes since the last snapshot
// are lost.
//
// No store replaces an lvol in one call, so the replica has no head for a moment.
// Before the old head is deleted, Revert makes a stand-in for the new one in flight: it
// shows that the clone can be made, and keeps size and record. A crash between the two
// calls leaves a replica without a head; another Revert finishes it.
func (e *Engine) Revert(ctx context.Context, request RevertRequest) (Revert, error) {
	return e.app.Revert(ctx, request)
}

// ImportImage makes a backing image on a host from the request's content. Clusters that
// are all zero are not written. The image has an in-flight name until it is complete
// and sealed; nothing is left of an import that fails.
//
// Where the request needs it, the content is read once more before anything is
// changed, for its checksum and for the space that it takes.
func (e *Engine) ImportImage(ctx context.Context, request ImageRequest) (ImageReport, error) {
	return e.app.ImportImage(ctx, request)
}

// VerifyImage reads a backing image and compares it with a SHA-512 in hex digits:
// expected, or the one that the host records if expected is "". It is an [ErrCorrupt]
// error if they differ. observer may be nil.
//
// A host does not record how long the content was before zeros filled its last
// cluster. So the checksum may be that of the lvol without some of the zeros at its
// end. If expected does not fit but the host's record does, the error is [ErrRefused]:
// the checksum is that of a file in another format, or of another image.
func (e *Engine) VerifyImage(ctx context.Context, host Host, name, expected string, observer Observer) (ImageCheck, error) {
	return e.app.VerifyImage(ctx, host, name, expected, observer)
}

// PlanImageRemoval returns the image that DeleteImage would delete, or the error with
// which it would refuse. It changes nothing.
func (e *Engine) PlanImageRemoval(ctx context.Context, host Host, name string) (ImageOnStore, error) {
	return e.app.PlanImageRemoval(ctx, host, name)
}

// DeleteImage deletes a backing image. It is refused while the image has clones, while
// a replica that lost the image records it, and while an import, a verification or a
// rebuild uses it.
func (e *Engine) DeleteImage(ctx context.Context, host Host, name string) (ImageOnStore, error) {
	return e.app.DeleteImage(ctx, host, name)
}

// FindGarbage lists what crashed runs left on a host: lvols in flight, helpers of
// adapters, exports and connections. Those of runs that are alive, in this process or
// in another one that the host knows of, are listed with the reason to keep them. It
// changes nothing.
func (e *Engine) FindGarbage(ctx context.Context, host Host) (Garbage, error) {
	return e.app.FindGarbage(ctx, host)
}

// RemoveGarbage removes the entries of FindGarbage that need not stay, and returns those that
// it has removed. The error names the others.
func (e *Engine) RemoveGarbage(ctx context.Context, host Host) (removed Garbage, err error) {
	return e.app.RemoveGarbage(ctx, host)
}
