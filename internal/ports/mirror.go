package ports

import (
	"context"
	"errors"
	"time"

	"github.com/rootgraft/rebuild/internal/domain"
)

// Mirror is a volume that is kept on several replicas: each write goes to the heads of all
// its members (RAID1). A caller implements it for its own kind of volume.
type Mirror interface {
	// Volume returns the members, also the lost ones that the mirror still lists. A mirror
	// that does not know which of them is being rebuilt says domain.ModeRW of it, too: its
	// head has an in-flight name. ErrNotFound if the mirror does not exist (Maker). Without
	// domain.Volume.Host, a replica that the mirror has lost stays in use by its former way.
	Volume(ctx context.Context) (domain.Volume, error)

	// Peer identifies the mirror's host, for the way to a new member (Live.Offer).
	Peer(ctx context.Context) (Peer, error)

	// Connect connects the mirror's host to a way. The lvol may be shown later.
	Connect(ctx context.Context, run Run, at Address) error

	// Join makes the head that is shown at the way a member. It is called in a freeze, and
	// nothing is copied: every write after the freeze reaches the head. The caller answers
	// for its bytes. The member has a Since: without one, nobody can tell that it has every
	// write. ErrExists if it is a member already.
	Join(ctx context.Context, run Run, at Address) (domain.Member, error)

	// Leave removes the member whose head is the lvol of that UUID, and ends the
	// connection to it. Clients of the volume notice nothing. No error if it is no member.
	// ErrInvalid for the last member that is not lost.
	Leave(ctx context.Context, head string) error

	// Release ends the run's connections, except those to members.
	Release(ctx context.Context, run Run) error
}

// Freezer stops the clients' reads and writes of a volume for a moment.
type Freezer interface {
	// Freeze stops them, waits for those in flight, calls work, and lets them go on, also
	// if work panics. It lasts no longer than the limit: then, and when ctx ends, the
	// context of work ends and clients go on, whether work has returned or not. If that
	// was before work returned, Freeze waits for work and returns an error that wraps
	// ErrThawed: what work did may be later than a client's write. Any other error is that
	// of work, or wraps ErrNotFrozen: work was not called, and clients go on. One that
	// wraps ErrNotThawed says that clients may still be stopped.
	Freeze(ctx context.Context, limit time.Duration, work func(ctx context.Context) error) error

	// Thaw ends a freeze that a process left when it died. No error if there is none.
	Thaw(ctx context.Context) error
}

// FreezeChecker is implemented by a Freezer that can find out, while clients go on, that it
// can never stop them.
type FreezeChecker interface {
	// CheckFreeze is called while there is no freeze. ErrUnsupported if all would fail.
	CheckFreeze(ctx context.Context) error
}

// The errors of a Freezer.
var (
	// ErrNotFrozen: the volume could not be frozen in time, and nothing was done.
	ErrNotFrozen = errors.New("the volume was not frozen")
	// ErrThawed: the freeze ended before the work in it did.
	ErrThawed = errors.New("the freeze ended too early")
	// ErrNotThawed: clients may still be stopped. It says nothing about the work.
	ErrNotThawed = errors.New("clients may still be frozen, thaw them")
)

// Cutter is implemented by a Mirror whose snapshots must be taken by its owner: those of a rebuild
// and those of users. Otherwise the engine takes one on each member's host.
type Cutter interface {
	// Cut takes a new snapshot of one name on every member, called in a freeze. run is the
	// rebuild, or the zero Run for a user's snapshot: then a member may be half-built, and its
	// snapshot has the name of the replica as well. The name is a
	// proposal; take it if you can, since a later run can give a cut back to a degraded
	// snapshot only by that name. Cut returns the name without the replica's. After an
	// error there is none on any member. If the freeze was over before it returned, the engine
	// takes the snapshots away again, on the members' hosts.
	Cut(ctx context.Context, run Run, name string, attributes domain.Attributes) (snapshot string, err error)
}
