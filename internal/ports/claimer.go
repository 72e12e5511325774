package ports

import "context"

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
