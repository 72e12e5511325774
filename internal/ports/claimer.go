package ports

import (
	"context"
	"strings"
)

// Claimer is implemented by hosts on which processes can see each other's work.
// A claim keeps no call of anybody from the store: it only says that somebody
// lives who is at work, so that a second engine does not begin, and what a crash
// has left can be told from what is being made.
type Claimer interface {
	// Claim claims a name among all who reach the target or whatever it is that
	// the host's store is on, until release is called or the process ends,
	// however it ends. ErrBusy where somebody else, of this process or another
	// one, has claimed it. ErrUnsupported where this host cannot tell.
	Claim(ctx context.Context, name string) (release func(), err error)
}

// Leaser is a Claimer whose names can be shared, and that says who has one. A
// rebuild shares its sources with other readers; where a host is no Leaser,
// processes cannot see which replicas are being read.
type Leaser interface {
	Claimer

	// Lease is Claim, told more. Those who share a name exclude those who want it
	// alone, by Lease or by Claim, and are excluded by them. Where somebody else
	// has it the error is a *HeldError, as far as it is known who that is.
	Lease(ctx context.Context, name string, lease Lease) (release func(), err error)
}

// Lease says how a name is claimed.
type Lease struct {
	Shared bool   // with others who share it; false: alone
	Holder string // who has it, in words for the errors of others; a host may cut it off after 200 bytes
}

// HeldError is the ErrBusy that says who has a lease.
type HeldError struct {
	Holders []string // as their Lease calls them
}

func (e *HeldError) Error() string {
	return strings.Join(e.Holders, " and ") + " has it"
}

// Is makes it an ErrBusy.
func (e *HeldError) Is(target error) bool { return target == ErrBusy }
