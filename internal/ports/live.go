package ports

import "context"

// Way is a way from other hosts, or from a mirror, to an lvol of a host. It is opened
// before the lvol is chosen: what takes long is done before a volume is frozen.
type Way struct {
	// ID identifies the lvol to those who connect: 8 hex digits. Snapshots on several
	// hosts that read the same are offered with one ID. Who connects to all these ways
	// reads through one, and goes on through another if that one fails.
	ID string

	// Path distinguishes the ways of one ID, from 0.
	Path int

	// Head is the name of the replica whose head the way leads to. Such a way stays after
	// Release, until Hide: a mirror goes on using it. "": the way ends with the run.
	Head string
}

// Live is implemented by hosts whose replicas can be rebuilt under a live volume. The
// destination must also be a Renamer.
//
// The source offers a way to a snapshot, and the destination one to its live head, which
// it created in flight. In the freeze of the volume, the source shows the snapshot, the
// destination grafts the empty head onto it, and the mirror takes the head in.
type Live interface {
	// Offer opens a way for the peers, without an lvol yet. An open way of that Head, or of
	// that run, ID and path, is replaced. ErrInvalid for an ID that is not 8 hex digits.
	Offer(ctx context.Context, run Run, way Way, to ...Peer) (Address, error)

	// Show puts an lvol, a snapshot or writable, at the end of an open way. The lvol stays
	// usable as before: a snapshot can be taken of it, it can be grafted and renamed. At a
	// way with a Head it is listed with a user (Lvol.UsedBy), unless the peer is on this host. If
	// that way is for the host of one mirror alone, User.Host is its domain.Volume.Host.
	// ErrNotFound without such a way or lvol, ErrExists if the way has another one.
	Show(ctx context.Context, run Run, at Address, uuid string) error

	// Hide closes a way. No error if there is none.
	Hide(ctx context.Context, run Run, at Address) error

	// HideHead closes the way of that Way.Head, whichever run opened it. No error if there
	// is none.
	HideHead(ctx context.Context, replica string) error

	// Connect connects this host to the ways of one ID, until Release, which takes lvols
	// off the external snapshots at their ends first: they read zeros there then. If one of
	// them, or an lvol above it, is shown at the way of a head, Release is ErrBusy. Nothing has to be
	// shown there yet. A connection to ways of that ID is replaced. ErrInvalid if their IDs
	// differ, ErrUnavailable if one of them cannot be reached or is not open for this host.
	Connect(ctx context.Context, run Run, ways ...Address) error

	// GraftExternal makes the snapshot that is shown at the ways, of one ID and connected,
	// the parent of a writable lvol without a parent and without clusters of its own. It
	// is as long as the snapshot. Its readers and writers see the snapshot's bytes from
	// then on. The lvol is listed with Lvol.External. Graft exchanges that for a parent on
	// this store; if that one reads the same, this is possible while the lvol is read and
	// written, but not while reads of a lost host are outstanding: a target crashes then.
	// No error if it reads through to that snapshot already.
	// ErrUnavailable if nothing is shown at any of the ways.
	GraftExternal(ctx context.Context, run Run, uuid string, ways ...Address) error
}
