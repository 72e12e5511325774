package ports

import "context"

// Run identifies one rebuild of one replica. Resources that an adapter opens for it
// (exports, connections) carry its name, so that a later run of the same replica finds
// and removes the leftovers of a crash.
type Run struct {
	Replica string // the destination replica's name
	Store   string // UUID of the destination's store; "": not known, for runs of earlier versions
	ID      string // 8 hex digits, new for every run
}

// SameReplica reports whether both runs are of one replica on one store.
func (r Run) SameReplica(other Run) bool { return r.Replica == other.Replica && r.Store == other.Store }

// Address is the destination of a copy. The receiving adapter makes it and the sending
// one reads it. It can be sent over a network.
type Address string

// Peer identifies the sender to the receiving adapter: for SPDK, its target and the
// host NQN that it connects with.
type Peer string

// Progress is called with the number of own clusters copied so far and in total. It
// must return at once. Calls are sequential.
type Progress func(done, total uint64)

// Copier copies the own clusters of a snapshot of this host into a writable lvol of
// another host, or of the same. A run uses the receiving methods of the destination's
// adapter and the sending ones of the source's.
type Copier interface {
	Sender
	Receiver
	Releaser
}

// Sender is the source's side of a copy.
type Sender interface {
	// Peer identifies this host as a sender.
	Peer(ctx context.Context) (Peer, error)

	// Copy writes the own clusters of this host's snapshot to the address, and nothing
	// else: the lvol keeps its other clusters. It returns when no cluster is being
	// written any more. A nil error means that all were written; after any other the
	// content of the lvol is not known.
	// ErrInvalid if the source is writable or longer than the lvol, ErrBusy if it is
	// being copied already, ErrNoSpace if the destination is full.
	Copy(ctx context.Context, run Run, snapshot string, to Address, progress Progress) error
}

// Receiver is the destination's side of a copy.
type Receiver interface {
	// Receive lets peer copy into the writable lvol.
	Receive(ctx context.Context, run Run, uuid string, from Peer) (Address, error)

	// Withdraw undoes Receive and ends a copy into the lvol that may still be running.
	// No error if the lvol was not received.
	Withdraw(ctx context.Context, run Run, uuid string) error
}

// Releaser closes the resources that runs have opened.
type Releaser interface {
	// Release closes all resources that runs of that replica on that store have opened
	// on this host: the given run and, before it begins, those that crashed. No error if
	// there are none.
	Release(ctx context.Context, run Run) error
}
