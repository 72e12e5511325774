package ports

import "context"

// Run is one rebuild of one replica. What an adapter opens for it (exports,
// connections) bears its name, so that a later run of the same replica finds
// and removes what a crash has left.
type Run struct {
	Replica string // the destination replica's name
	Store   string // UUID of the destination's store; "": not told, as runs of earlier versions
	ID      string // 8 hex digits, new for every run
}

// SameReplica reports whether both runs are of one replica on one store.
func (r Run) SameReplica(other Run) bool { return r.Replica == other.Replica && r.Store == other.Store }

// Address says where a copy goes. It is made by the receiving adapter, read by
// the sending one, and can cross a wire.
type Address string

// Peer says who will send, in the words of the sending adapter: for SPDK its
// target and the host NQN that it connects with.
type Peer string

// Progress is called with the own clusters copied so far and in all. It must
// return at once; calls come one after the other.
type Progress func(done, total uint64)

// Copier moves the own clusters of a snapshot of this host into a writable
// lvol of another host, or of the same. One run uses the receiving methods of
// the destination's adapter and the sending ones of the source's.
type Copier interface {
	// Peer is who this host is when it sends.
	Peer(ctx context.Context) (Peer, error)

	// Receive makes the writable lvol a place that peer can copy into.
	Receive(ctx context.Context, run Run, uuid string, from Peer) (Address, error)

	// Withdraw ends what Receive has made, and with it a copy that may still
	// be going on into the lvol. An lvol that is not received is no error.
	Withdraw(ctx context.Context, run Run, uuid string) error

	// Copy writes the own clusters of this host's snapshot to the address, and
	// nothing else: where the snapshot has no cluster, the lvol keeps what it
	// has. It returns when they are written, or when none is being written any
	// more. A nil error says that all were written; after any other the state
	// of the lvol is not known.
	// ErrInvalid where the source is writable or longer than the lvol, ErrBusy
	// where it is being copied already, ErrNoSpace where the destination ran
	// full.
	Copy(ctx context.Context, run Run, snapshot string, to Address, progress Progress) error

	// Release ends whatever runs of that replica on that store have opened on this
	// host, the given one and, before it began, those that crashed. Nothing to
	// release is no error.
	Release(ctx context.Context, run Run) error
}
