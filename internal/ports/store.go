package ports

import (
	"context"

	"github.com/rootgraft/rebuild/internal/domain"
)

// Looker lists a store and changes nothing.
type Looker interface {
	// List returns a consistent listing of the store: its properties and all lvols on
	// it. A value that the host cannot tell is an error or Lvol.Degraded, never the zero
	// value: no parent, no clusters and no record are valid values.
	// Maps and checksums of own clusters may be missing (Prover).
	// Lvol.ReadOnly is true for every snapshot, also if the store does not list it as
	// one; SPDK does that with a snapshot without clones after a restart.
	List(ctx context.Context) (domain.Listing, error)

	// Look returns one lvol, as List reports it, at the cost of one lvol. ErrNotFound if
	// there is none of that UUID.
	Look(ctx context.Context, uuid string) (domain.Lvol, error)
}

// Store carries out the verbs of a plan, except for copy (Copier).
type Store interface {
	Looker

	// Create creates an empty, thin, writable lvol without a parent, size bytes long,
	// and returns its UUID. It reads as zeros.
	// ErrExists if the name is taken, ErrInvalid if it is too long.
	Create(ctx context.Context, name string, size uint64) (uuid string, err error)

	// Graft replaces the parent of the lvol, which is writable or a snapshot with or
	// without clones ("": no parent). Both lvols keep their name, size, attributes and own
	// clusters; no byte is copied. The parent is a snapshot of any size, shorter or longer
	// than the lvol; beyond its end zeros are read. It may be a snapshot that SPDK does
	// not list as one after a restart. No error if the lvol already has that parent.
	// ErrNotFound if either is missing, ErrInvalid if the parent is writable or the lvol
	// itself. The parent must not descend from the lvol: SPDK accepts that, and hangs.
	Graft(ctx context.Context, uuid, parent string) error

	// Seal turns the writable lvol into a snapshot of that name and returns the
	// snapshot's UUID, which may be a new one. Clusters, size and parent stay; nothing
	// else remains of the lvol. Attributes are recorded if the store can.
	// ErrExists if the name is taken; the lvol is unchanged then.
	Seal(ctx context.Context, uuid, name string, seal SealRecord) (snapshot string, err error)

	// Clone creates a writable lvol whose parent is the snapshot ("": none), with no
	// clusters of its own, size bytes long, and returns its UUID. ErrInvalid if it would
	// be shorter than the snapshot. The name is given last: an lvol of that name has the
	// size and the record. The record is kept if the store can.
	Clone(ctx context.Context, snapshot, name string, size uint64, record string) (uuid string, err error)

	// Delete deletes the lvol, also one that is degraded or reads through to a missing
	// external snapshot. ErrNotFound if there is none. ErrInvalid if it has a clone, even
	// if the store itself would merge the two, or if it is in use so that the host would
	// hang (Lvol.UsedBy); then nothing was changed. Other uses do not prevent it.
	Delete(ctx context.Context, uuid string) error
}

// SealRecord is the metadata to record of a sealed snapshot: the attributes of a
// replica's snapshot, or those of a backing image.
type SealRecord struct {
	Attributes domain.Attributes   // zero: nothing is recorded, as of an entry point
	Image      *domain.ImageRecord // nil: not an image

	// Sealed, if not nil, is called with the snapshot's UUID, at most once, as soon as
	// the snapshot exists and lvols can be grafted onto it, while Seal still cleans up.
	// It must return soon. Seal may still return an error afterwards.
	Sealed func(snapshot string)
}

// Snapshotter takes snapshots of writable lvols, the only change that a rebuild makes
// to its source.
type Snapshotter interface {
	// Snapshot moves the lvol's own clusters and its parent into a new snapshot of that
	// name, which becomes the lvol's parent, and returns the snapshot's UUID. ErrExists if
	// the name is taken.
	Snapshot(ctx context.Context, uuid, name string, attributes domain.Attributes) (snapshot string, err error)
}

// Recorder is implemented by hosts that keep a record on a head.
type Recorder interface {
	// Record records the backing image of the head's volume: its name, or
	// domain.RecordNoBase. ErrUnsupported if this host keeps no records.
	Record(ctx context.Context, head, record string) error
}

// Merger is implemented by hosts that can delete a snapshot that has a clone. A rebuild
// never does: a merge changes the data of the clone, which would not be identical to the
// source's any more.
type Merger interface {
	// Merge deletes a snapshot that has exactly one clone, writable or a snapshot: the
	// clone takes over the clusters that it lacks, and the snapshot's parent. A reader of
	// the clone sees the same bytes; its UUID, name, size and attributes stay.
	// ErrNotFound if the snapshot is missing. ErrInvalid if it is writable, does not have
	// exactly one clone, or the store would damage the clone (SPDK can, if the two differ
	// in length). ErrBusy if either takes part in another operation. After these errors
	// nothing was changed.
	Merge(ctx context.Context, snapshot string) error
}
