package ports

import (
	"context"

	"github.com/rootgraft/rebuild/internal/domain"
)

//go:generate -command mockgen go tool -modfile=../../tools/go.mod mockgen -package=mocks -self_package=github.com/rootgraft/rebuild/internal/ports/mocks
//go:generate mockgen -source=store.go -destination=mocks/store.go
//go:generate mockgen -source=copier.go -destination=mocks/copier.go
//go:generate mockgen -source=prover.go -destination=mocks/prover.go
//go:generate mockgen -source=opener.go -destination=mocks/opener.go
//go:generate mockgen -source=host.go -destination=mocks/host.go -aux_files=github.com/rootgraft/rebuild/internal/ports=store.go,github.com/rootgraft/rebuild/internal/ports=copier.go

// Looker looks at a store and changes nothing.
type Looker interface {
	// List is one consistent look at the store: what it is like, and every
	// lvol on it. What the host cannot tell is an error, or Lvol.Degraded, never
	// the zero value: no parent, no clusters and nothing recorded are answers, too.
	// Maps and checksums of own clusters may be missing (Prover).
	// Lvol.ReadOnly is true for every snapshot, also for one that the store
	// lists as something else, as SPDK does with a snapshot without clones
	// after a restart.
	List(ctx context.Context) (domain.Listing, error)

	// Look is what List would say of one lvol, at the cost of one lvol.
	// ErrNotFound where there is none of that UUID.
	Look(ctx context.Context, uuid string) (domain.Lvol, error)
}

// Store carries out the verbs of a plan, but for copy (Copier).
type Store interface {
	Looker

	// Create makes an empty, thin, writable lvol without a parent, size bytes
	// long, and returns its UUID. Read, it is zeros.
	// ErrExists where the name is taken, ErrInvalid where it is too long.
	Create(ctx context.Context, name string, size uint64) (uuid string, err error)

	// Graft gives the lvol, writable or a snapshot with or without clones,
	// that parent ("": none) instead of the one it has. Both keep their name,
	// size, attributes and own clusters; not a byte is copied. The parent is a
	// snapshot, of any size, shorter or longer than the lvol; beyond its end
	// zeros are read. It may be one that a restart has put to sleep. The parent
	// that the lvol already has is no error.
	// ErrNotFound where either is missing, ErrInvalid where the parent is
	// writable or the lvol itself. A parent that hangs on the lvol must not be
	// asked for: SPDK accepts it, and hangs.
	Graft(ctx context.Context, uuid, parent string) error

	// Seal turns the writable lvol into a snapshot of that name and returns
	// the snapshot's UUID, which may be another one: clusters, size and parent
	// are the lvol's. What the store needs the lvol for besides is gone
	// afterwards. Attributes are recorded where the store can.
	// ErrExists where the name is taken; the lvol is then as it was.
	Seal(ctx context.Context, uuid, name string, seal SealRecord) (snapshot string, err error)

	// Clone makes a writable lvol that hangs on the snapshot ("": on nothing),
	// with no clusters of its own, size bytes long, longer or as long as the
	// snapshot, and returns its UUID; ErrInvalid where it would be shorter. The
	// name is given last: an lvol of that name has the size and the record. The
	// record is kept where the store can.
	Clone(ctx context.Context, snapshot, name string, size uint64, record string) (uuid string, err error)

	// Delete removes the lvol, also one that is degraded, or reads through to an
	// external snapshot that is gone. ErrNotFound where there is none, ErrInvalid
	// where something hangs on it, also where the store itself would merge the
	// two, or where somebody uses it so that the host would hang (Lvol.UsedBy);
	// then nothing was changed. Another use is no obstacle.
	Delete(ctx context.Context, uuid string) error
}

// SealRecord is what is recorded of a sealed snapshot: the attributes of a
// replica's snapshot, or those of a backing image.
type SealRecord struct {
	Attributes domain.Attributes
	Image      *domain.ImageRecord // nil: not an image

	// Sealed, if it is not nil, is called with the snapshot's UUID, at most
	// once, as soon as the snapshot is there and others can be grafted onto
	// it, while Seal still removes what is left of the lvol. It must return
	// soon. Seal may yet end with an error.
	Sealed func(snapshot string)
}

// Snapshotter freezes what a writable lvol holds. It is the one change that
// a rebuild makes to its source.
type Snapshotter interface {
	// Snapshot moves the lvol's own clusters and its parent into a new
	// snapshot of that name, on which the lvol hangs afterwards, and returns
	// the snapshot's UUID. ErrExists where the name is taken.
	Snapshot(ctx context.Context, uuid, name string, attributes domain.Attributes) (snapshot string, err error)
}

// Recorder is implemented by hosts that keep a record on a head.
type Recorder interface {
	// Record writes which backing image the head's volume has: its name, or
	// domain.RecordNoImage. ErrUnsupported where this host keeps none.
	Record(ctx context.Context, head, record string) error
}

// Merger is implemented by hosts that can delete a snapshot that something
// hangs on. A rebuild never does: a kept snapshot that something merges into
// is forged.
type Merger interface {
	// Merge deletes the snapshot on which exactly one lvol hangs, writable or a
	// snapshot: the clusters that the lvol lacks move into it, and it hangs on
	// the snapshot's parent afterwards. Nothing that is read through the lvol
	// changes; its UUID, name, size and attributes stay.
	// ErrNotFound where the snapshot is missing, ErrInvalid where it is writable,
	// not exactly one lvol hangs on it, or the store would damage that one (SPDK
	// can, where the two are not equally long), ErrBusy where either takes part in
	// something; then nothing was changed.
	Merge(ctx context.Context, snapshot string) error
}
