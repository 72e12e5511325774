package ports

import (
	"context"
	"strings"
)

// Claimer is implemented by hosts on which processes can see each other's work. A
// claim does not block calls to the store: it only shows that a live process is at
// work, so that a second engine does not begin, and leftovers of a crash can be
// distinguished from lvols that are being filled.
type Claimer interface {
	// Claim claims a name among all processes that reach the host's target, until
	// release is called or the process ends in any way. ErrBusy if this process or
	// another one has claimed it already. ErrUnsupported if this host has no claims.
	Claim(ctx context.Context, name string) (release func(), err error)
}

// Leaser is a Claimer whose names can be shared, and that names the holders. A
// rebuild shares its sources with other readers. On a host that is no Leaser,
// processes cannot see which replicas are being read.
type Leaser interface {
	Claimer

	// Lease is Claim for a shared or an exclusive lease. A shared lease excludes
	// exclusive leases and claims, and the other way round. If the name is held, the
	// error is a *HeldError, if the holder is known.
	Lease(ctx context.Context, name string, lease Lease) (release func(), err error)
}

// Lease says how a name is claimed.
type Lease struct {
	Shared bool   // with other shared leases; false: exclusive
	Holder string // describes the holder in the errors of others; a host may cut it off after 200 bytes
}

// HeldError is an ErrBusy that names the holders of a lease.
type HeldError struct {
	Holders []string // Lease.Holder of each
}

func (e *HeldError) Error() string {
	return strings.Join(e.Holders, " and ") + " has it"
}

// Is makes it an ErrBusy.
func (e *HeldError) Is(target error) bool { return target == ErrBusy }
